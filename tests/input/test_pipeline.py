import functools
import itertools
import shutil

import numpy as np
import pytest

from keras_landmarks.images import geometry, image_header
from keras_landmarks.images.geometry import CropSpec, CropTransform, whole_image
from keras_landmarks.input import cache, pipeline
from keras_landmarks.input.augment_pool import AugmentPool
from keras_landmarks.input.augmentation import online_augmenter
from keras_landmarks.input.photos import Photos
from keras_landmarks.input.pipeline import ImageSet
from keras_landmarks.input.samples import load_samples
from keras_landmarks.settings import AUGMENTATIONS, AugmentationSettings
from keras_landmarks.synthetic.faces import FaceParameters, head_points
from keras_landmarks.utils.errors import InputError

CROP_SPEC, BATCH = CropSpec(48, 40, "stretch"), 5
BATCHES = 24 // BATCH  # an epoch of training


@pytest.fixture(scope="module")
def samples(faces, tmp_path_factory):
    return load_samples(faces, "train", tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="module")
def photos(samples):
    return Photos(samples, CROP_SPEC)


@pytest.fixture(scope="module")
def prepared(photos, tmp_path_factory):
    return cache.build_cache(photos, tmp_path_factory.mktemp("prepared"))


@pytest.fixture(params=["photos", "prepared"])
def source(request):
    """The same crops from the image files and from the cache."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def images(source):
    return ImageSet([(source, np.arange(24))])


def load_one(images, index):
    """Returns one image, its landmarks and scale."""
    return [array[0] for array in images.load([index])]


@pytest.fixture(scope="module")
def augment_pool(samples):
    make = functools.partial(
        online_augmenter,
        AugmentationSettings(AUGMENTATIONS),
        np.arange(samples.num_landmarks)[::-1],
        head_points(FaceParameters()),
    )
    with AugmentPool(make, CROP_SPEC, samples.num_landmarks, BATCH, processes=1) as pool:
        yield pool


def train_arrays(images, epochs=1, seed=0, **options):
    """Returns images, landmarks and scales of the epochs, with the batches joined."""
    batches = pipeline.train_batches(images, BATCH, seed, **options)
    arrays = itertools.islice(batches.as_numpy_iterator(), epochs * BATCHES)
    return [np.concatenate(parts) for parts in zip(*arrays, strict=True)]


def indices_of(landmarks, images):
    """Returns the index of the image that each row of landmarks belongs to."""
    of_landmarks = {row.tobytes(): i for i, row in enumerate(images.load(range(24))[1])}
    return [of_landmarks[row.tobytes()] for row in landmarks]


def test_shapes_and_types_are_static(images):
    batches = pipeline.train_batches(images, BATCH, seed=0)
    assert [tuple(spec.shape) for spec in batches.element_spec] == [
        (BATCH, 40, 48, 3),
        (BATCH, 971, 2),
        (BATCH, 2),
    ]
    assert [spec.dtype for spec in batches.element_spec] == [np.uint8, np.float32, np.float32]


def test_first_epoch_starts_at_any_step(images):
    two_epochs = train_arrays(images, epochs=2)
    rest = train_arrays(images, epochs=1, first_step=3)
    for all_rows, rows in zip(two_epochs, rest, strict=True):
        np.testing.assert_array_equal(rows, all_rows[3 * BATCH : (3 + BATCHES) * BATCH])


def test_images_and_landmarks_stay_together(images):
    arrays, landmarks, scales = train_arrays(images)
    for image, scale, index in zip(arrays, scales, indices_of(landmarks, images), strict=True):
        np.testing.assert_array_equal(image, load_one(images, index)[0])
        np.testing.assert_array_equal(scale, load_one(images, index)[2])


def test_batches_hold_the_scale_of_the_crops(samples, images, augment_pool):
    expected = (np.array([48, 40]) / samples.sizes_px).astype(np.float32)
    (batch,) = pipeline.validation_batches(images, 24)
    np.testing.assert_array_equal(batch[2], expected)
    plain = train_arrays(images)[2]
    varied = train_arrays(images, augment_pool=augment_pool)[2]
    np.testing.assert_array_equal(varied, plain)


def test_epoch_has_no_image_twice(images):
    shown = indices_of(train_arrays(images, epochs=3)[1], images)
    epochs = np.reshape(shown, (3, BATCHES * BATCH))
    assert all(len(set(epoch)) == BATCHES * BATCH for epoch in epochs.tolist())
    assert not np.array_equal(epochs[0], epochs[1])


def test_order_depends_only_on_seed_and_epoch(images, augment_pool):
    two = train_arrays(images, epochs=2, augment_pool=augment_pool)
    second = train_arrays(images, first_epoch=1, augment_pool=augment_pool)
    for arrays, later in zip(two, second, strict=True):
        np.testing.assert_array_equal(arrays[BATCHES * BATCH :], later)
    assert np.any(train_arrays(images, seed=1)[1] != train_arrays(images)[1])


def test_pool_augments_every_image(images, augment_pool):
    plain = {row.tobytes() for row in train_arrays(images, epochs=2)[1]}
    varied = train_arrays(images, epochs=2, augment_pool=augment_pool)[1]
    varied = {row.tobytes() for row in varied}
    assert len(varied) == 2 * BATCHES * BATCH
    assert not varied & plain


def test_validation_has_every_image_in_order(images):
    batches = list(pipeline.validation_batches(images, BATCH).as_numpy_iterator())
    assert [len(landmarks) for _, landmarks, _ in batches] == [5, 5, 5, 5, 4]
    shown = indices_of(np.concatenate([landmarks for _, landmarks, _ in batches]), images)
    assert shown == list(range(24))


def test_image_set_joins_its_parts(photos, source, images):
    both = ImageSet([(source, np.array([3, 1])), (photos, np.array([], int)), (photos, [7])])
    assert len(both) == 3
    for mine, expected in zip(both.load([0, 1, 2]), images.load([3, 1, 7]), strict=True):
        np.testing.assert_array_equal(mine, expected)


@pytest.mark.parametrize(("min_images", "expected"), [(0, 3), (3, 3), (4, 6), (7, 9)])
def test_few_images_are_repeated(source, min_images, expected):
    photos = ImageSet([(source, np.array([4, 5, 6]))], min_images)
    assert len(photos) == expected
    assert len(photos.first_part()) == 3
    np.testing.assert_array_equal(photos.load([0])[1], photos.load([expected - 3])[1])


def test_cached_batches_equal_uncached_ones(photos, prepared, augment_pool):
    sets = [ImageSet([(source, np.arange(23))]) for source in (photos, prepared)]
    pairs = [[train_arrays(images, epochs=2, augment_pool=augment_pool) for images in sets]]
    pairs.append([next(iter(pipeline.validation_batches(images, 23))) for images in sets])
    for of_files, of_cache in pairs:
        for expected, mine in zip(of_files, of_cache, strict=True):
            np.testing.assert_array_equal(mine, expected)


def test_landmarks_are_in_crop_px(samples, images):
    transform = CROP_SPEC.transform_for(whole_image(samples.sizes_px[5]))
    back = geometry.to_photo(load_one(images, 5)[1], transform)
    np.testing.assert_allclose(back, samples.landmarks_photo_px[5], atol=1e-3)


def test_image_broken_since_is_named(own_faces, tmp_path):
    samples = load_samples(own_faces, "train", tmp_path)
    (own_faces / "train" / "images" / samples.file_names[8]).write_bytes(b"")
    images = ImageSet([(Photos(samples, CROP_SPEC), np.arange(24))])
    batches = pipeline.validation_batches(images, BATCH)
    message = rf"^{own_faces}\S*{samples.file_names[8]}: [^\n]*empty$"
    with pytest.raises(InputError, match=message), pipeline.input_errors():
        list(batches)


# ── prediction ──


def predict_arrays(folder, names, on_reject=pytest.fail):
    """Returns images, scales and offsets, with the batches joined."""
    batches = pipeline.prediction_batches(folder, names, CROP_SPEC, BATCH, on_reject)
    arrays = list(batches.as_numpy_iterator())
    assert {len(images) for images, *_ in arrays} == {BATCH}
    return [np.concatenate(parts) for parts in zip(*arrays, strict=True)]


def test_prediction_fills_the_last_batch(samples, photos):
    arrays, scale, offset = predict_arrays(samples.image_folder, samples.file_names)
    assert len(arrays) == len(scale) == len(offset) == 25
    expected = [photos.read(min(index, 23))[0] for index in range(25)]
    np.testing.assert_array_equal(arrays, expected)


def test_transform_maps_points_back(samples, photos):
    _, scale, offset = predict_arrays(samples.image_folder, samples.file_names)
    landmarks_crop_px = np.stack([photos.read(index)[1] for index in range(24)])
    back = geometry.to_photo(landmarks_crop_px, CropTransform(scale[:24], offset[:24]))
    np.testing.assert_allclose(back, samples.landmarks_photo_px, atol=1e-3)


def test_broken_image_is_black_and_reported(samples, tmp_path):
    names = [*samples.file_names[:7], "missing.jpg"]
    for name in names[:7]:
        shutil.copy(samples.image_folder / name, tmp_path)
    (tmp_path / names[1]).write_bytes(b"text")
    rejects = []
    arrays, _, _ = predict_arrays(tmp_path, names, lambda *reject: rejects.append(reject))
    expected = [(1, image_header.NO_PHOTO), (7, "there is no such image")]
    assert sorted(rejects) == expected
    assert [not image.any() for image in arrays] == [False, True] + [False] * 5 + [True] * 3
