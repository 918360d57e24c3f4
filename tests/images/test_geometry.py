import cv2
import numpy as np
import pytest

from keras_landmarks import settings
from keras_landmarks.images import decoding, geometry
from keras_landmarks.images.geometry import CropSpec, Region, whole_image
from keras_landmarks.settings import FRAMINGS

SIZES = [(128, 128), (128, 160), (97, 61)]
CROP_SPECS = [CropSpec(*size, framing) for size in SIZES for framing in FRAMINGS]


def test_centre_crop_by_hand():
    # 100 x 150 is scaled to 50 x 75, and 12 rows are cut off at the top. x = 0 is the centre of the
    # photo's first pixel; in the scaled image it is at 0.25 - 0.5 = -0.25.
    transform = CropSpec(50, 50).transform_for(whole_image((100, 150)))
    np.testing.assert_allclose(transform.scale, [0.5, 0.5])
    np.testing.assert_allclose(transform.offset, [-0.25, -0.25 - 12])
    crop_px = geometry.to_crop(np.array([[10, 20], [99, 149]]), transform)
    np.testing.assert_allclose(crop_px, [[4.75, -2.25], [49.25, 62.25]])


@pytest.mark.parametrize(
    ("framing", "region", "scale", "offset"),
    [
        # Scaled to 48 x 72, which covers 48 x 60; 6 rows are cut off at the top.
        ("crop", (0, 0, 100, 150), (0.48, 0.48), (-0.26, -6.26)),
        ("stretch", (0, 0, 100, 150), (0.48, 0.4), (-0.26, -0.3)),
        # Scaled to 40 x 60, with 4 black columns on the left.
        ("pad", (0, 0, 100, 150), (0.4, 0.4), (3.7, -0.3)),
        # A region of 80 x 100 that begins at 20, 30 and has the crop's aspect ratio.
        ("crop", (20, 30, 100, 130), (0.6, 0.6), (-12.2, -18.2)),
        ("stretch", (20, 30, 100, 130), (0.6, 0.6), (-12.2, -18.2)),
        ("pad", (20, 30, 100, 130), (0.6, 0.6), (-12.2, -18.2)),
    ],
)
def test_transform_by_hand(framing, region, scale, offset):
    transform = CropSpec(48, 60, framing).transform_for(Region(*region))
    np.testing.assert_allclose(transform.scale, scale)
    np.testing.assert_allclose(transform.offset, offset, atol=1e-12)


@pytest.mark.parametrize("crop_spec", CROP_SPECS, ids=str)
@pytest.mark.parametrize(("longest", "tolerance"), [(500, 1e-4), (2000, 1e-3)])
def test_round_trip_is_exact(crop_spec, longest, tolerance):
    rng = np.random.default_rng(0)
    for width, height in [*rng.integers(40, longest, (500, 2)), (40, longest), (longest, 40)]:
        left, top = rng.integers(0, [width // 2, height // 2])
        for region in [
            whole_image((width, height)),
            Region(left, top, width - 3, height - left % 20),
        ]:
            transform = crop_spec.transform_for(region)
            landmarks = rng.uniform(-0.1, 1.1, (30, 2)) * [width, height]
            back = geometry.to_photo(geometry.to_crop(landmarks, transform), transform)
            assert np.abs(back - landmarks).max() < tolerance


@pytest.mark.parametrize("crop_spec", CROP_SPECS, ids=str)
def test_framing_shows_what_its_name_says(crop_spec):
    """Stretch and pad show the whole photo; crop covers the whole crop."""
    rng = np.random.default_rng(1)
    for width, height in rng.integers(40, 501, (200, 2)):
        edges = np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]])
        (left, top), (right, bottom) = geometry.to_crop(
            edges, crop_spec.transform_for(whole_image((width, height)))
        )
        margins = np.array(
            [left + 0.5, top + 0.5, crop_spec.width - 0.5 - right, crop_spec.height - 0.5 - bottom]
        )
        one_axis = min(np.abs(margins[::2]).max(), np.abs(margins[1::2]).max())
        assert one_axis < 1e-3  # fits exactly
        if crop_spec.framing == "stretch":
            assert np.abs(margins).max() < 1e-3
        else:  # centred
            assert np.abs(margins[:2] - margins[2:]).max() < 1.001
            assert np.all(margins * (1 if crop_spec.framing == "pad" else -1) > -1e-3)


@pytest.mark.parametrize("crop_spec", CROP_SPECS, ids=str)
@pytest.mark.parametrize(("width", "height"), [(200, 317), (317, 200), (90, 90), (61, 100)])
def test_points_stay_on_their_features(crop_spec, width, height):
    """A bright spot drawn at a point is found at the mapped point in the crop."""
    point = np.array([width * 0.55, height * 0.45])
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    spot = np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * (width / 20) ** 2))
    crop, transform = crop_spec.apply(
        np.repeat((255 * spot)[..., None], 3, axis=-1).astype(np.uint8)
    )
    assert crop.shape == crop_spec.shape

    crop = crop[..., 0].astype(float)
    x, y = np.meshgrid(np.arange(crop_spec.width), np.arange(crop_spec.height))
    found = np.array([(crop * x).sum(), (crop * y).sum()]) / crop.sum()
    # The recipe's interpolation repeats pixels when it enlarges.
    tolerance = 0.3 if crop_spec.framing == "crop" and np.any(transform.scale > 1) else 0.05
    np.testing.assert_allclose(found, geometry.to_crop(point[None], transform)[0], atol=tolerance)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_photo_of_crop_size_is_unchanged(framing):
    image = np.random.default_rng(0).integers(0, 256, (160, 128, 3), np.uint8)
    crop, transform = CropSpec(128, 160, framing).apply(image)
    np.testing.assert_array_equal(crop, image)
    np.testing.assert_array_equal(transform.scale, 1)
    np.testing.assert_array_equal(transform.offset, 0)


def test_input_points_are_not_modified():
    landmarks = np.array([[5, 7]], np.int16)
    geometry.to_crop(landmarks, CropSpec(128, 128).transform_for(whole_image((300, 400))))
    np.testing.assert_array_equal(landmarks, [[5, 7]])
    assert landmarks.dtype == np.int16


@pytest.mark.parametrize("framing", FRAMINGS)
def test_shrinking_interpolates_by_area(framing):
    image = cv2.resize(np.eye(256, dtype=np.uint8)[..., None].repeat(3, -1) * 200, (256, 256))
    crop, _ = CropSpec(128, 128, framing).apply(image)
    area = cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(crop, area)


def test_stretch_interpolates_per_axis():
    x, y = np.meshgrid(np.arange(64), np.arange(256))
    photo = np.repeat((3 * x + (y % 2) * 50)[..., None], 3, axis=-1).astype(np.uint8)
    crop, transform = CropSpec(96, 128, "stretch").apply(photo)
    # The stripes, one row each, are averaged; the ramp is kept except at the outermost pixels.
    x = (np.arange(96) - transform.offset[0]) / transform.scale[0]
    np.testing.assert_allclose(crop[:, 1:-1, 0], np.tile(3 * x + 25, (128, 1))[:, 1:-1], atol=1.01)


def test_padding_is_black():
    crop, _ = CropSpec(128, 160, "pad").apply(np.full((300, 300, 3), 200, np.uint8))
    assert np.unique(crop[:16]).tolist() == np.unique(crop[144:]).tolist() == [0]
    assert np.unique(crop[16:144]).tolist() == [200]


# ── black bands ──


def banded_photo(left=0, top=0, right=0, bottom=0, size=(120, 160), seed=0):
    """Returns a photo of grey noise with black bands, JPEG-compressed and decoded."""
    photo = np.random.default_rng(seed).integers(40, 200, (*size[::-1], 3), np.uint8)
    photo = cv2.GaussianBlur(photo, (5, 5), 0)
    photo = cv2.copyMakeBorder(photo, top, bottom, left, right, cv2.BORDER_CONSTANT)
    return cv2.imdecode(np.frombuffer(decoding.encode_jpeg(photo), np.uint8), cv2.IMREAD_COLOR)


def shown_edges(photo):
    """Returns the edges of the part of a photo that a trimmed crop shows."""
    _, transform = CropSpec(96, 96, "stretch", trim_bands=True).apply(photo)
    (left, top), (right, bottom) = geometry.to_photo(np.array([[-0.5] * 2, [95.5] * 2]), transform)
    return np.add([left, top, right, bottom], 0.5)


@pytest.mark.parametrize(
    "bands", [{}, {"left": 30}, {"top": 17, "bottom": 40}, {"left": 9, "top": 8, "right": 21}]
)
def test_black_bands_are_trimmed(bands):
    photo = banded_photo(**bands)
    left, top = bands.get("left", 0), bands.get("top", 0)
    # JPEG smears the photo a little beyond its edge.
    np.testing.assert_allclose(shown_edges(photo), [left, top, left + 120, top + 160], atol=2.01)


def test_trimmed_photo_is_cropped_as_without_bands():
    photo = np.random.default_rng(0).integers(40, 200, (150, 111, 3), np.uint8)
    banded = cv2.copyMakeBorder(photo, 12, 7, 31, 0, cv2.BORDER_CONSTANT)
    for crop_spec in CROP_SPECS:
        crop, transform = CropSpec(
            crop_spec.width, crop_spec.height, crop_spec.framing, True
        ).apply(banded)
        expected, plain = crop_spec.apply(photo)
        np.testing.assert_array_equal(crop, expected)
        np.testing.assert_allclose(transform.offset, plain.offset - [31, 12] * plain.scale)


def test_dark_background_is_not_trimmed():
    y, x = np.mgrid[:200, :150]
    face = ((x - 70) / 40) ** 2 + ((y - 110) / 60) ** 2 < 1
    photo = np.where(face, 120, 14)[..., None].repeat(3, -1).astype(np.uint8)
    np.testing.assert_allclose(shown_edges(photo), [0, 0, 150, 200], atol=1e-3)


@pytest.mark.parametrize("brightest", [0, 12, 13, 200])
def test_uniform_photo_is_not_trimmed(brightest):
    photo = np.full((90, 70, 3), brightest, np.uint8)
    np.testing.assert_allclose(shown_edges(photo), [0, 0, 70, 90], atol=1e-3)


def test_at_most_half_a_side_is_trimmed():
    photo = banded_photo(left=50, right=69, top=80, bottom=82)
    left, top, right, bottom = shown_edges(photo)
    np.testing.assert_allclose([left, right], [50, 170], atol=2.01)
    np.testing.assert_allclose([top, bottom], [0, 322], atol=1e-3)


# ── flags ──


def test_sizes_are_parsed():
    assert settings.parse_size("128") == (128, 128)
    assert settings.parse_size("128x160") == (128, 160)


@pytest.mark.parametrize(
    "text",
    ["", "12", "abc", "128x", "x128", "128x16", "128X160", "-128", "128x160x3", "1e3", "12800"],
)
def test_invalid_sizes_are_rejected(text):
    with pytest.raises(ValueError, match=f"^{text} .*128x160"):
        settings.parse_size(text)


def test_unknown_framing_is_rejected():
    with pytest.raises(ValueError, match="squeeze"):
        CropSpec(128, 128, "squeeze")


@pytest.mark.parametrize("turn", range(4))
def test_points_of_rotated_photo_are_mapped_back(turn):
    photo = np.arange(15).reshape(3, 5)
    turned = np.rot90(photo, turn)
    rows, columns = np.indices(turned.shape)
    back = geometry.rotate_back(np.stack([columns, rows], axis=-1), turn, (5, 3))
    x, y = np.moveaxis(back.astype(int), -1, 0)
    np.testing.assert_array_equal(photo[y, x], turned)
    np.testing.assert_array_equal(back, np.stack([x, y], axis=-1))


def test_bounding_boxes_enclose_points():
    points = np.float32([[[1, 5], [3, 2], [2, 9]]])
    np.testing.assert_array_equal(geometry.bounding_boxes(points), [[1, 2, 3, 9]])


def test_bounding_boxes_leave_out_missing_points():
    points = np.float32([[[1, 5], [np.nan, np.nan], [2, 9]], np.full((3, 2), np.nan)])
    np.testing.assert_array_equal(geometry.bounding_boxes(points), [[1, 5, 2, 9], [np.nan] * 4])
