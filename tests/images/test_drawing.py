import numpy as np

from keras_landmarks.images import contact_sheet, drawing
from keras_landmarks.layouts import layout

RED = np.uint8([[255, 0, 0]])


def test_each_region_has_its_own_colour():
    assert list(drawing.REGION_COLOURS) == list(layout.REGIONS)
    assert len(set(drawing.REGION_COLOURS.values())) == len(layout.REGIONS)


def test_points_are_coloured_by_region():
    colours = drawing.point_colours(971)
    assert colours.shape == (971, 3)
    assert tuple(colours[0]) == drawing.REGION_COLOURS["jaw_left"]
    assert tuple(colours[970]) == drawing.REGION_COLOURS["pupil_right"]


def test_small_layouts_cycle_through_colours():
    colours = [tuple(colour) for colour in drawing.point_colours(98).tolist()]
    assert set(colours[:7]) == set(colours) == set(drawing.COLOUR_CYCLE)
    assert colours[7:14] == colours[:7]
    assert set(drawing.COLOUR_CYCLE) <= set(drawing.REGION_COLOURS.values())


def test_large_layouts_have_one_colour():
    assert np.unique(drawing.point_colours(200), axis=0).tolist() == [list(drawing.PLAIN_COLOUR)]


def test_fewer_points_have_larger_dots():
    radii = [drawing.dot_radius(points) for points in (0, 5, 68, 98, 300, 971, 5000)]
    assert radii == sorted(radii, reverse=True)
    assert radii[:3] == [3, 3, 3]
    assert radii[5:] == [0.9, 0.9]
    image, point = np.zeros((90, 90, 3), np.uint8), np.array([[45.0, 45.0]])
    of_one = contact_sheet.draw_tile(image, point, colours=RED)
    of_many = contact_sheet.draw_tile(
        image, point.repeat(971, axis=0), colours=RED.repeat(971, axis=0)
    )
    large, small = ((tile[..., 0] == 255).sum() for tile in (of_one, of_many))
    assert large > 2 * small


def test_dot_covers_its_pixel():
    image = np.zeros((20, 30, 3), np.uint8)
    drawn = drawing.draw_landmarks(image, np.array([[12, 7]]), RED)
    assert drawn[7, 12].tolist() == [255, 0, 0]
    rows, columns = np.nonzero(drawn.any(axis=2))
    assert np.ptp(rows) <= 4
    assert np.ptp(columns) <= 4
    assert not image.any(), "the photo itself was drawn on"


def test_dots_have_subpixel_positions():
    drawn = drawing.draw_landmarks(
        np.zeros((20, 30, 3), np.uint8), np.array([[12.5, 7.0]], np.float32), RED
    )
    left, right = drawn[..., :13, 0].astype(int), drawn[..., 13:26, 0].astype(int)
    np.testing.assert_allclose(left, right[:, ::-1], atol=5)
    assert left[7, 12] > 100


def test_points_outside_are_not_drawn():
    image = np.full((20, 30, 3), 9, np.uint8)
    outside = np.array([[-1, 5], [30, 5], [5, 20], [1e9, -1e9], [np.nan, 5], [np.inf, 5]])
    np.testing.assert_array_equal(drawing.draw_landmarks(image, outside), image)


def test_int16_points_do_not_overflow():
    image = np.zeros((10, 4000, 3), np.uint8)
    drawn = drawing.draw_landmarks(image, np.array([[3900, 5]], np.int16), RED)
    assert drawn[5, 3900].tolist() == [255, 0, 0]


def test_unknown_regions_take_hues_in_turn():
    regions = {"pupil_left": slice(0, 1), "wing": slice(1, 2), "tail": slice(3, 4)}
    colours = drawing.point_colours(4, regions).tolist()
    assert colours[0] == [213, 94, 0]
    assert colours[1:] == [[0, 114, 210], list(drawing.PLAIN_COLOUR), [86, 180, 233]]
