import functools

import numpy as np
import pytest
from folders import with_gaps

from keras_landmarks.contest import prediction_files
from keras_landmarks.input.samples import load_samples
from keras_landmarks.input.teacher import teach
from keras_landmarks.train import train
from keras_landmarks.utils.errors import InputError


@pytest.fixture
def samples(own_faces, tmp_path):
    with_gaps(own_faces, {2: [5]})
    return load_samples(own_faces, "train", tmp_path / "prepared")


@pytest.fixture
def write_predictions(samples, tmp_path):
    """Writes predictions 2 px to the right of the labels, in another order."""

    def write(file_names=samples.file_names[::-1], num_landmarks=971):
        path = tmp_path / "teacher.npz"
        rows = [samples.file_names.index(name) for name in file_names]
        labels = np.nan_to_num(samples.landmarks_photo_px[rows], nan=7)
        landmarks = labels + np.array([2, 0])
        prediction_files.write(path, file_names, landmarks[:, :num_landmarks])
        return path

    return write


def test_labels_are_averaged_with_predictions(samples, write_predictions):
    taught = teach(samples, np.arange(20), write_predictions())
    moved = taught.landmarks_photo_px - samples.landmarks_photo_px
    present = ~np.isnan(samples.landmarks_photo_px[..., 0])
    np.testing.assert_array_equal(moved[:20][present[:20]], [[1, 0]] * present[:20].sum())
    np.testing.assert_array_equal(moved[20:], 0)  # held out


def test_gaps_are_filled_by_predictions(samples, write_predictions):
    taught = teach(samples, np.arange(20), write_predictions())
    np.testing.assert_array_equal(taught.landmarks_photo_px[2, 5], [9, 7])
    assert (samples.num_missing, taught.num_missing) == (1, 0)


def test_taught_samples_have_a_cache_of_their_own(samples, write_predictions):
    taught = teach(samples, np.arange(20), write_predictions())
    assert taught.key != samples.key
    assert taught.fingerprint != samples.fingerprint


def test_predictions_of_other_images_or_points_are_refused(samples, write_predictions):
    with pytest.raises(InputError, match=r"teacher\.npz: 1 of 24 training images are missing"):
        teach(samples, np.arange(24), write_predictions(samples.file_names[1:]))
    with pytest.raises(InputError, match=r"teacher\.npz: 5 points, but the labels have 971"):
        teach(samples, np.arange(24), write_predictions(num_landmarks=5))


def test_teacher_must_look_like_the_labels(samples, tmp_path):
    path, rows = tmp_path / "teacher.npz", np.arange(24)
    labels = np.nan_to_num(samples.landmarks_photo_px, nan=7)
    of_neighbours, reversed_points = np.roll(labels, 1, axis=0), labels[:, ::-1]
    for landmarks in (of_neighbours, reversed_points):
        prediction_files.write(path, samples.file_names, landmarks)
        with pytest.raises(InputError, match=r"teacher\.npz: it is off by .* px"):
            teach(samples, rows, path)
    prediction_files.write(path, samples.file_names, np.where(labels == 7, np.inf, labels))
    with pytest.raises(InputError, match=r"teacher\.npz: a coordinate is not finite"):
        teach(samples, rows, path)
    prediction_files.write(path, [*samples.file_names, samples.file_names[0]], labels[[*rows, 0]])
    with pytest.raises(InputError, match=r"teacher\.npz: it has an image twice"):
        teach(samples, rows, path)


def test_training_follows_its_teacher(own_faces, settings, write_predictions):
    own = functools.partial(settings.replace, data=str(own_faces), epochs=1)
    alone = train(own())
    teacher = str(write_predictions())
    taught = train(own(teacher=teacher, workdir=settings.files.workdir + "2"))
    assert taught["missing_points"] == 0
    assert taught["best_loss"] != alone["best_loss"]
    with pytest.raises(InputError, match="other images"):
        train(own(epochs=2, workdir=settings.files.workdir + "2"))
