import cv2
import numpy as np
import pytest

from keras_landmarks.images import decoding, geometry
from keras_landmarks.images.geometry import FRAMINGS, CropSpec, Region, whole_image

FRAMES = [CropSpec(*size, way) for size in [(128, 128), (128, 160), (97, 61)] for way in FRAMINGS]


def test_a_centre_crop_by_hand():
    # 100 x 150 to 50 x 75; 12 rows are cut off above. Photo x = 0 is the middle of the first pixel,
    # which the scaled image has at 0.25 - 0.5 = -0.25.
    framing = CropSpec(50, 50).framing_of(whole_image((100, 150)))
    np.testing.assert_allclose(framing.scale, [0.5, 0.5])
    np.testing.assert_allclose(framing.offset, [-0.25, -0.25 - 12])
    crop_px = geometry.to_crop(np.array([[10, 20], [99, 149]]), framing)
    np.testing.assert_allclose(crop_px, [[4.75, -2.25], [49.25, 62.25]])


@pytest.mark.parametrize(
    ("way", "region", "scale", "offset"),
    [
        # To 48 x 60: the wider frame is full at 48 x 72, 6 rows are cut off above.
        ("crop", (0, 0, 100, 150), (0.48, 0.48), (-0.26, -6.26)),
        ("stretch", (0, 0, 100, 150), (0.48, 0.4), (-0.26, -0.3)),
        # To 40 x 60, with 4 black columns on the left.
        ("pad", (0, 0, 100, 150), (0.4, 0.4), (3.7, -0.3)),
        # A rectangle of 80 x 100, the frame's own proportions, that begins at 20, 30.
        ("crop", (20, 30, 100, 130), (0.6, 0.6), (-12.2, -18.2)),
        ("stretch", (20, 30, 100, 130), (0.6, 0.6), (-12.2, -18.2)),
        ("pad", (20, 30, 100, 130), (0.6, 0.6), (-12.2, -18.2)),
    ],
)
def test_every_framing_by_hand(way, region, scale, offset):
    framing = CropSpec(48, 60, way).framing_of(Region(*region))
    np.testing.assert_allclose(framing.scale, scale)
    np.testing.assert_allclose(framing.offset, offset, atol=1e-12)


@pytest.mark.parametrize("frame", FRAMES, ids=str)
@pytest.mark.parametrize(("longest", "tolerance"), [(500, 1e-4), (2000, 1e-3)])
def test_there_and_back_is_exact_for_every_size_and_region(frame, longest, tolerance):
    rng = np.random.default_rng(0)
    for width, height in [*rng.integers(40, longest, (500, 2)), (40, longest), (longest, 40)]:
        left, top = rng.integers(0, [width // 2, height // 2])
        for region in [
            whole_image((width, height)),
            Region(left, top, width - 3, height - left % 20),
        ]:
            framing = frame.framing_of(region)
            landmarks = rng.uniform(-0.1, 1.1, (30, 2)) * [width, height]
            back = geometry.to_photo(geometry.to_crop(landmarks, framing), framing)
            assert np.abs(back - landmarks).max() < tolerance


@pytest.mark.parametrize("frame", FRAMES, ids=str)
def test_a_framing_shows_what_its_name_says(frame):
    """The whole photo when it is stretched or padded; a full frame when it is cropped."""
    rng = np.random.default_rng(1)
    for width, height in rng.integers(40, 501, (200, 2)):
        edges = np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]])
        (left, top), (right, bottom) = geometry.to_crop(
            edges, frame.framing_of(whole_image((width, height)))
        )
        margins = np.array(
            [left + 0.5, top + 0.5, frame.width - 0.5 - right, frame.height - 0.5 - bottom]
        )
        one_axis = min(np.abs(margins[::2]).max(), np.abs(margins[1::2]).max())
        assert one_axis < 1e-3  # fits exactly
        if frame.framing == "stretch":
            assert np.abs(margins).max() < 1e-3
        else:  # in the middle
            assert np.abs(margins[:2] - margins[2:]).max() < 1.001
            assert np.all(margins * (1 if frame.framing == "pad" else -1) > -1e-3)


@pytest.mark.parametrize("frame", FRAMES, ids=str)
@pytest.mark.parametrize(("width", "height"), [(200, 317), (317, 200), (90, 90), (61, 100)])
def test_points_stay_on_what_they_mark(frame, width, height):
    """A bright spot drawn at a point is found at the mapped point in the crop."""
    point = np.array([width * 0.55, height * 0.45])
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    spot = np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * (width / 20) ** 2))
    crop, framing = frame.apply(np.repeat((255 * spot)[..., None], 3, axis=-1).astype(np.uint8))
    assert crop.shape == frame.shape

    crop = crop[..., 0].astype(float)
    x, y = np.meshgrid(np.arange(frame.width), np.arange(frame.height))
    found = np.array([(crop * x).sum(), (crop * y).sum()]) / crop.sum()
    # The recipe's interpolation is a blocky stretch when it enlarges.
    tolerance = 0.3 if frame.framing == "crop" and np.any(framing.scale > 1) else 0.05
    np.testing.assert_allclose(found, geometry.to_crop(point[None], framing)[0], atol=tolerance)


@pytest.mark.parametrize("way", FRAMINGS)
def test_the_crop_of_a_photo_of_that_size_is_the_photo(way):
    image = np.random.default_rng(0).integers(0, 256, (160, 128, 3), np.uint8)
    crop, framing = CropSpec(128, 160, way).apply(image)
    np.testing.assert_array_equal(crop, image)
    np.testing.assert_array_equal(framing.scale, 1)
    np.testing.assert_array_equal(framing.offset, 0)


def test_the_points_given_are_left_as_they_are():
    landmarks = np.array([[5, 7]], np.int16)
    geometry.to_crop(landmarks, CropSpec(128, 128).framing_of(whole_image((300, 400))))
    np.testing.assert_array_equal(landmarks, [[5, 7]])
    assert landmarks.dtype == np.int16


@pytest.mark.parametrize("way", FRAMINGS)
def test_area_interpolation_where_it_shrinks(way):
    image = cv2.resize(np.eye(256, dtype=np.uint8)[..., None].repeat(3, -1) * 200, (256, 256))
    crop, _ = CropSpec(128, 128, way).apply(image)
    area = cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(crop, area)


def test_stretching_is_linear_along_the_axis_that_grows_and_by_area_along_the_other():
    x, y = np.meshgrid(np.arange(64), np.arange(256))
    photo = np.repeat((3 * x + (y % 2) * 50)[..., None], 3, axis=-1).astype(np.uint8)
    crop, framing = CropSpec(96, 128, "stretch").apply(photo)
    # The stripes, a row each, become their mean; the ramp stays one, but for the outermost pixels.
    x = (np.arange(96) - framing.offset[0]) / framing.scale[0]
    np.testing.assert_allclose(crop[:, 1:-1, 0], np.tile(3 * x + 25, (128, 1))[:, 1:-1], atol=1.01)


def test_padding_is_black():
    crop, _ = CropSpec(128, 160, "pad").apply(np.full((300, 300, 3), 200, np.uint8))
    assert np.unique(crop[:16]).tolist() == np.unique(crop[144:]).tolist() == [0]
    assert np.unique(crop[16:144]).tolist() == [200]


# ── black bands ──


def banded_photo(left=0, top=0, right=0, bottom=0, size=(120, 160), seed=0):
    """Returns a photo of grey noise cut out beyond the edges of a larger one, by way of JPEG."""
    photo = np.random.default_rng(seed).integers(40, 200, (*size[::-1], 3), np.uint8)
    photo = cv2.GaussianBlur(photo, (5, 5), 0)
    photo = cv2.copyMakeBorder(photo, top, bottom, left, right, cv2.BORDER_CONSTANT)
    return cv2.imdecode(np.frombuffer(decoding.encode_jpeg(photo), np.uint8), cv2.IMREAD_COLOR)


def shown(photo):
    """Returns the corners of what a trimmed frame shows of a photo."""
    _, framing = CropSpec(96, 96, "stretch", trim_bands=True).apply(photo)
    (left, top), (right, bottom) = geometry.to_photo(np.array([[-0.5] * 2, [95.5] * 2]), framing)
    return np.add([left, top, right, bottom], 0.5)


@pytest.mark.parametrize(
    "bands", [{}, {"left": 30}, {"top": 17, "bottom": 40}, {"left": 9, "top": 8, "right": 21}]
)
def test_black_bands_are_trimmed(bands):
    photo = banded_photo(**bands)
    left, top = bands.get("left", 0), bands.get("top", 0)
    # JPEG smears the photo a little beyond its edge.
    np.testing.assert_allclose(shown(photo), [left, top, left + 120, top + 160], atol=2.01)


def test_a_trimmed_photo_is_framed_as_if_it_never_had_bands():
    photo = np.random.default_rng(0).integers(40, 200, (150, 111, 3), np.uint8)
    banded = cv2.copyMakeBorder(photo, 12, 7, 31, 0, cv2.BORDER_CONSTANT)
    for frame in FRAMES:
        crop, framing = CropSpec(frame.width, frame.height, frame.framing, True).apply(banded)
        expected, plain = frame.apply(photo)
        np.testing.assert_array_equal(crop, expected)
        np.testing.assert_allclose(framing.offset, plain.offset - [31, 12] * plain.scale)


def test_a_face_before_a_dark_background_is_not_cut():
    y, x = np.mgrid[:200, :150]
    face = ((x - 70) / 40) ** 2 + ((y - 110) / 60) ** 2 < 1
    photo = np.where(face, 120, 14)[..., None].repeat(3, -1).astype(np.uint8)
    np.testing.assert_allclose(shown(photo), [0, 0, 150, 200], atol=1e-3)


@pytest.mark.parametrize("brightest", [0, 12, 13, 200])
def test_a_photo_of_one_grey_is_not_cut(brightest):
    photo = np.full((90, 70, 3), brightest, np.uint8)
    np.testing.assert_allclose(shown(photo), [0, 0, 70, 90], atol=1e-3)


def test_no_more_than_half_of_a_side_is_trimmed():
    photo = banded_photo(left=50, right=69, top=80, bottom=82)
    left, top, right, bottom = shown(photo)
    np.testing.assert_allclose([left, right], [50, 170], atol=2.01)
    np.testing.assert_allclose([top, bottom], [0, 322], atol=1e-3)


# ── what the flags say ──


def test_sizes_are_read():
    assert geometry.parse_size("128") == (128, 128)
    assert geometry.parse_size("128x160") == (128, 160)


@pytest.mark.parametrize(
    "text",
    ["", "12", "abc", "128x", "x128", "128x16", "128X160", "-128", "128x160x3", "1e3", "12800"],
)
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match=f"^{text} is no size such as 128 or 128x160, sides of 32"):
        geometry.parse_size(text)


def test_a_framing_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="framing 'squeeze' is none of crop, stretch, pad"):
        CropSpec(128, 128, "squeeze")


@pytest.mark.parametrize("turn", range(4))
def test_points_of_a_turned_photo_are_turned_back(turn):
    photo = np.arange(15).reshape(3, 5)
    turned = np.rot90(photo, turn)
    rows, columns = np.indices(turned.shape)
    back = geometry.rotate_back(np.stack([columns, rows], axis=-1), turn, (5, 3))
    x, y = np.moveaxis(back.astype(int), -1, 0)
    np.testing.assert_array_equal(photo[y, x], turned)
    np.testing.assert_array_equal(back, np.stack([x, y], axis=-1))
