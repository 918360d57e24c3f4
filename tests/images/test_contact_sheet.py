import numpy as np
import pytest

from keras_landmarks.images import contact_sheet, drawing
from keras_landmarks.utils.errors import InputError


@pytest.mark.parametrize("height", [160, 173, 20])
def test_scaled_points_stay_on_their_pixels(height):
    image = np.zeros((40, 30, 3), np.uint8)
    image[18:20, 9:11] = 200  # centred on (9.5, 18.5)
    scaled, landmarks_px = contact_sheet.scale_to_fit(image, np.array([[9.5, 18.5]]), height)
    assert scaled.shape == (height, round(height * 30 / 40), 3)
    light = scaled[..., 0].astype(float)
    rows, columns = np.indices(light.shape)
    centre = [np.average(columns, weights=light), np.average(rows, weights=light)]
    np.testing.assert_allclose(landmarks_px[0], centre, atol=0.05)


def test_wide_photos_fit_the_width():
    scaled, _ = contact_sheet.scale_to_fit(
        np.zeros((10, 1000, 3), np.uint8), np.zeros((1, 2)), height=100
    )
    assert scaled.shape == (2, 150, 3)


def test_margin_shows_points_outside_the_photo():
    image = np.full((50, 40, 3), 200, np.uint8)
    tile = contact_sheet.draw_tile(image, np.array([[20.0, 51.0]]), height=100)
    margin = drawing.MARGIN
    assert tile.shape == (100 + 2 * margin, 80 + 2 * margin, 3)
    below = tile[-margin:]
    assert (below == drawing.PLAIN_COLOUR).all(axis=2).any()


def test_missing_points_are_not_drawn():
    image, red = np.zeros((50, 40, 3), np.uint8), np.uint8([[255, 0, 0], [0, 255, 0]])
    points = np.array([[20.0, 25.0], [np.nan, np.nan]])
    tile = contact_sheet.draw_tile(image, points, colours=red)
    assert (tile == red[0]).all(axis=2).any()
    assert not tile[..., 1][(tile != drawing.BACKGROUND).any(axis=2)].any()


def test_tile_uses_given_colours():
    image, red = np.zeros((50, 40, 3), np.uint8), np.uint8([[255, 0, 0]])
    tile = contact_sheet.draw_tile(image, np.array([[20.0, 25.0]]), colours=red)
    assert (tile == red).all(axis=2).any()


def test_label_is_drawn():
    image, landmarks_px = np.zeros((50, 40, 3), np.uint8), np.zeros((0, 2))
    plain = contact_sheet.draw_tile(image, landmarks_px)
    labelled = contact_sheet.draw_tile(image, landmarks_px, "truth")
    assert (plain != labelled).any()


def test_long_label_is_wrapped():
    image, landmarks_px = np.zeros((50, 20, 3), np.uint8), np.zeros((0, 2))
    tile = contact_sheet.draw_tile(
        image, landmarks_px, "misplaced: fits better 17% of the face away"
    )
    written = (tile[drawing.MARGIN : -drawing.MARGIN] > 200).any(axis=(1, 2))
    assert np.count_nonzero(np.diff(written.astype(int)) == 1) == 3  # as far as lines have gaps
    assert written.nonzero()[0].max() < 4 * 17


def test_tile_width_is_limited():
    image, landmarks_px = np.zeros((20, 90, 3), np.uint8), np.zeros((0, 2))
    shapes = [contact_sheet.draw_tile(image, landmarks_px, max_aspect=w).shape[1] for w in (1, 1.5)]
    assert shapes == [contact_sheet.TILE_HEIGHT * w + 2 * drawing.MARGIN for w in (1, 1.5)]


def test_tiles_are_laid_out_in_rows():
    tiles = [np.full((30, width, 3), grey, np.uint8) for width, grey in ((40, 50), (60, 150))]
    sheet = contact_sheet.assemble([*tiles, tiles[0]], ["", "", ""], columns=2)
    cell_height = 30 + contact_sheet.CAPTION_HEIGHT
    assert sheet.shape == (2 * cell_height, 2 * 60, 3)
    np.testing.assert_array_equal(sheet[:30, :40], tiles[0])
    np.testing.assert_array_equal(sheet[:30, 60:], tiles[1])
    np.testing.assert_array_equal(sheet[cell_height : cell_height + 30, :40], tiles[0])
    assert (sheet[cell_height:, 60:] == drawing.BACKGROUND).all(), "the fourth cell is empty"


def test_side_by_side_aligns_lower_edges():
    both = contact_sheet.side_by_side([np.full((h, 20, 3), h, np.uint8) for h in (30, 50)])
    assert both.shape == (50, 40, 3)
    assert (both[20:, :20] == 30).all()
    assert (both[:20, :20] == drawing.BACKGROUND).all()
    assert (both[:, 20:] == 50).all()


def test_sheet_is_no_wider_than_its_tiles():
    tile = np.zeros((30, 40, 3), np.uint8)
    assert contact_sheet.assemble([tile], ["title"], columns=8).shape[1] == 40


def test_long_title_stays_in_its_cell():
    tile = np.zeros((30, 200, 3), np.uint8)
    sheet = contact_sheet.assemble([tile, tile], ["a-long-name-" * 5, ""], columns=2)
    assert (sheet[30:, 200:] == drawing.BACKGROUND).all()


@pytest.mark.parametrize("width", [30, 500, 3000])
def test_legend_shows_every_colour(width):
    legend = contact_sheet.region_legend(width, list(drawing.REGION_COLOURS))
    assert legend.shape[1] == width
    colours = {tuple(colour) for colour in np.unique(legend.reshape(-1, 3), axis=0).tolist()}
    assert colours >= set(drawing.REGION_COLOURS.values())


def test_legend_is_added_below():
    tile = np.zeros((30, 400, 3), np.uint8)
    plain = contact_sheet.assemble([tile], ["a"], columns=1)
    with_legend = contact_sheet.assemble([tile], ["a"], columns=1, legend=["nose", "ears"])
    np.testing.assert_array_equal(with_legend[: len(plain)], plain)
    legend = contact_sheet.region_legend(400, ["nose", "ears"])
    np.testing.assert_array_equal(with_legend[len(plain) :], legend)


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.JPG", b"\xff\xd8")])
def test_suffix_chooses_the_format(tmp_path, name, start):
    contact_sheet.validate_path(tmp_path / name)
    contact_sheet.write(tmp_path / name, np.zeros((30, 40, 3), np.uint8))
    assert (tmp_path / name).read_bytes().startswith(start)


def test_other_suffixes_are_rejected(tmp_path):
    with pytest.raises(InputError, match=r"--out=.*sheet\.webp"):
        contact_sheet.validate_path(tmp_path / "sheet.webp")
