import cv2
import numpy as np
import pytest

from keras_landmarks.images import drawing
from keras_landmarks.layouts import layout

RED = np.uint8([[255, 0, 0]])


def test_every_region_has_a_colour_of_its_own():
    assert list(drawing.REGION_COLOURS) == list(layout.REGIONS)
    assert len(set(drawing.REGION_COLOURS.values())) == len(layout.REGIONS)


def test_point_colours_follow_the_regions_of_the_contest_points():
    colours = drawing.point_colours(971)
    assert colours.shape == (971, 3)
    assert tuple(colours[0]) == drawing.REGION_COLOURS["jaw_left"]
    assert tuple(colours[970]) == drawing.REGION_COLOURS["pupil_right"]


def test_few_points_without_regions_have_colours_in_turn():
    colours = [tuple(colour) for colour in drawing.point_colours(98).tolist()]
    assert set(colours[:7]) == set(colours) == set(drawing.CYCLE)
    assert colours[7:14] == colours[:7]
    assert set(drawing.CYCLE) <= set(drawing.REGION_COLOURS.values())


def test_many_points_without_regions_have_one_colour():
    assert np.unique(drawing.point_colours(200), axis=0).tolist() == [list(drawing.PLAIN_COLOUR)]


def test_dots_are_the_larger_the_fewer_they_are_and_the_contests_stay():
    radii = [drawing.dot_radius(points) for points in (0, 5, 68, 98, 300, 971, 5000)]
    assert radii == sorted(radii, reverse=True)
    assert radii[:3] == [3, 3, 3]
    assert radii[5:] == [0.9, 0.9]
    image, point = np.zeros((90, 90, 3), np.uint8), np.array([[45.0, 45.0]])
    of_one = drawing.draw_tile(image, point, colours=RED)
    of_many = drawing.draw_tile(image, point.repeat(971, axis=0), colours=RED.repeat(971, axis=0))
    large, small = ((tile[..., 0] == 255).sum() for tile in (of_one, of_many))
    assert large > 2 * small


def test_a_dot_covers_its_pixel_and_little_more():
    image = np.zeros((20, 30, 3), np.uint8)
    drawn = drawing.draw_landmarks(image, np.array([[12, 7]]), RED)
    assert drawn[7, 12].tolist() == [255, 0, 0]
    rows, columns = np.nonzero(drawn.any(axis=2))
    assert np.ptp(rows) <= 4
    assert np.ptp(columns) <= 4
    assert not image.any(), "the photo itself was drawn on"


def test_dots_are_placed_between_pixels():
    drawn = drawing.draw_landmarks(
        np.zeros((20, 30, 3), np.uint8), np.array([[12.5, 7.0]], np.float32), RED
    )
    left, right = drawn[..., :13, 0].astype(int), drawn[..., 13:26, 0].astype(int)
    np.testing.assert_allclose(left, right[:, ::-1], atol=5)
    assert left[7, 12] > 100


def test_points_outside_the_image_are_left_out():
    image = np.full((20, 30, 3), 9, np.uint8)
    outside = np.array([[-1, 5], [30, 5], [5, 20], [1e9, -1e9], [np.nan, 5], [np.inf, 5]])
    np.testing.assert_array_equal(drawing.draw_landmarks(image, outside), image)


def test_int16_points_of_a_large_photo():
    image = np.zeros((10, 4000, 3), np.uint8)
    drawn = drawing.draw_landmarks(image, np.array([[3900, 5]], np.int16), RED)
    assert drawn[5, 3900].tolist() == [255, 0, 0]


@pytest.mark.parametrize("height", [160, 173, 20])
def test_enlarged_points_stay_on_their_pixels(height):
    image = np.zeros((40, 30, 3), np.uint8)
    image[18:20, 9:11] = 200  # its middle is (9.5, 18.5)
    enlarged, landmarks_px = drawing.enlarge(image, np.array([[9.5, 18.5]]), height)
    assert enlarged.shape == (height, round(height * 30 / 40), 3)
    light = enlarged[..., 0].astype(float)
    rows, columns = np.indices(light.shape)
    middle = [np.average(columns, weights=light), np.average(rows, weights=light)]
    np.testing.assert_allclose(landmarks_px[0], middle, atol=0.05)


def test_wide_photos_are_limited_in_width():
    enlarged, _ = drawing.enlarge(np.zeros((10, 1000, 3), np.uint8), np.zeros((1, 2)), height=100)
    assert enlarged.shape == (2, 150, 3)


def test_tile_shows_points_just_outside_the_photo():
    image = np.full((50, 40, 3), 200, np.uint8)
    tile = drawing.draw_tile(image, np.array([[20.0, 51.0]]), height=100)
    margin = drawing.MARGIN
    assert tile.shape == (100 + 2 * margin, 80 + 2 * margin, 3)
    below = tile[-margin:]
    assert (below == drawing.PLAIN_COLOUR).all(axis=2).any()


def test_regions_of_other_names_take_the_hues_in_turn():
    regions = {"pupil_left": slice(0, 1), "wing": slice(1, 2), "tail": slice(3, 4)}
    colours = drawing.point_colours(4, regions).tolist()
    assert colours[0] == [213, 94, 0]
    assert colours[1:] == [[0, 114, 210], list(drawing.PLAIN_COLOUR), [86, 180, 233]]


def test_a_tile_in_given_colours():
    image, red = np.zeros((50, 40, 3), np.uint8), np.uint8([[255, 0, 0]])
    tile = drawing.draw_tile(image, np.array([[20.0, 25.0]]), colours=red)
    assert (tile == red).all(axis=2).any()


def test_jpeg_is_the_picture():
    picture = np.full((40, 60, 3), (200, 100, 50), np.uint8)
    content = np.frombuffer(drawing.as_jpeg(picture), np.uint8)
    decoded = cv2.imdecode(content, cv2.IMREAD_COLOR_RGB)
    np.testing.assert_allclose(decoded, picture, atol=4)


def test_label_is_written_on_the_photo():
    image, landmarks_px = np.zeros((50, 40, 3), np.uint8), np.zeros((0, 2))
    plain = drawing.draw_tile(image, landmarks_px)
    labelled = drawing.draw_tile(image, landmarks_px, "truth")
    assert (plain != labelled).any()


def test_a_long_label_has_lines_that_can_be_read():
    image, landmarks_px = np.zeros((50, 20, 3), np.uint8), np.zeros((0, 2))
    tile = drawing.draw_tile(image, landmarks_px, "misplaced: fits better 17% of the face away")
    written = (tile[drawing.MARGIN : -drawing.MARGIN] > 200).any(axis=(1, 2))
    assert np.count_nonzero(np.diff(written.astype(int)) == 1) == 3  # as far as lines have gaps
    assert written.nonzero()[0].max() < 4 * 17


def test_how_wide_a_tile_is_at_most():
    image, landmarks_px = np.zeros((20, 90, 3), np.uint8), np.zeros((0, 2))
    shapes = [drawing.draw_tile(image, landmarks_px, widest=w).shape[1] for w in (1, 1.5)]
    assert shapes == [drawing.TILE_HEIGHT * w + 2 * drawing.MARGIN for w in (1, 1.5)]


def test_contact_sheet_lays_tiles_out_in_rows():
    tiles = [np.full((30, width, 3), grey, np.uint8) for width, grey in ((40, 50), (60, 150))]
    sheet = drawing.contact_sheet([*tiles, tiles[0]], ["", "", ""], columns=2)
    cell_height = 30 + drawing.CAPTION_HEIGHT
    assert sheet.shape == (2 * cell_height, 2 * 60, 3)
    np.testing.assert_array_equal(sheet[:30, :40], tiles[0])
    np.testing.assert_array_equal(sheet[:30, 60:], tiles[1])
    np.testing.assert_array_equal(sheet[cell_height : cell_height + 30, :40], tiles[0])
    assert (sheet[cell_height:, 60:] == drawing.BACKGROUND).all(), "the fourth cell is empty"


def test_tiles_side_by_side_stand_on_one_line():
    both = drawing.side_by_side([np.full((h, 20, 3), h, np.uint8) for h in (30, 50)])
    assert both.shape == (50, 40, 3)
    assert (both[20:, :20] == 30).all()
    assert (both[:20, :20] == drawing.BACKGROUND).all()
    assert (both[:, 20:] == 50).all()


def test_contact_sheet_is_no_wider_than_its_tiles():
    tile = np.zeros((30, 40, 3), np.uint8)
    assert drawing.contact_sheet([tile], ["title"], columns=8).shape[1] == 40


def test_long_titles_stay_in_their_cell():
    tile = np.zeros((30, 200, 3), np.uint8)
    sheet = drawing.contact_sheet([tile, tile], ["a-long-name-" * 5, ""], columns=2)
    assert (sheet[30:, 200:] == drawing.BACKGROUND).all()


@pytest.mark.parametrize("width", [30, 500, 3000])
def test_legend_shows_every_region_colour(width):
    legend = drawing.region_legend(width, list(drawing.REGION_COLOURS))
    assert legend.shape[1] == width
    shown = {tuple(colour) for colour in np.unique(legend.reshape(-1, 3), axis=0).tolist()}
    assert shown >= set(drawing.REGION_COLOURS.values())


def test_contact_sheet_with_legend_is_taller():
    tile = np.zeros((30, 400, 3), np.uint8)
    plain = drawing.contact_sheet([tile], ["a"], columns=1)
    with_legend = drawing.contact_sheet([tile], ["a"], columns=1, legend=["nose", "ears"])
    np.testing.assert_array_equal(with_legend[: len(plain)], plain)
    legend = drawing.region_legend(400, ["nose", "ears"])
    np.testing.assert_array_equal(with_legend[len(plain) :], legend)
