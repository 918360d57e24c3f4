import numpy as np
import pytest
from folders import contents

from keras_landmarks.contest import landmark_tables, locations, requested_points
from keras_landmarks.input.samples import load_samples
from keras_landmarks.layouts import layout
from keras_landmarks.synthetic.dataset import synthesize_dataset
from keras_landmarks.utils.errors import InputError


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Three training and two test faces."""
    data = tmp_path_factory.mktemp("few") / "faces"
    synthesize_dataset(data, train_images=3, test_images=2, processes=1)
    return data


def test_training_split_is_valid(faces, tmp_path):
    samples = load_samples(faces, "train", tmp_path)
    assert len(samples) == 24
    assert samples.num_landmarks == layout.CONTEST_POINTS
    assert samples.invalid_samples == []


def test_30_points_are_requested(faces):
    requested = requested_points.read_test_points(locations.find_test_points(faces, "test"))
    truth = landmark_tables.read_landmarks(locations.find_landmarks(faces, "test"))
    assert requested.file_names == truth.file_names
    assert {path.name for path in (faces / "test" / "images").iterdir()} == set(truth.file_names)
    for indices in requested.point_indices:
        assert len(np.unique(indices)) == 30
        assert indices.max() < layout.CONTEST_POINTS


@pytest.mark.parametrize("processes", [1, 2])
def test_same_seed_gives_same_files(few, tmp_path, processes):
    synthesize_dataset(tmp_path / "faces", train_images=3, test_images=2, processes=processes)
    assert contents(tmp_path / "faces") == contents(few)


def test_more_faces_begin_with_the_same(few, tmp_path):
    synthesize_dataset(tmp_path / "faces", train_images=4, test_images=2, processes=1)
    more, fewer = (contents(data / "train" / "images") for data in (tmp_path / "faces", few))
    assert more.items() > fewer.items()


def test_all_faces_differ(few, tmp_path):
    synthesize_dataset(tmp_path / "faces", train_images=3, test_images=2, seed=1, processes=1)
    images = [
        image
        for data in (few, tmp_path / "faces")
        for split in ("train", "test")
        for image in contents(data / split / "images").values()
    ]
    assert len(set(images)) == len(images) == 10


def test_non_empty_folder_is_rejected(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=f"{tmp_path}: "):
        synthesize_dataset(tmp_path, train_images=1, test_images=1, processes=1)
    assert contents(tmp_path) == {"notes.txt": b"mine"}


def test_empty_folder_is_filled(tmp_path):
    results = synthesize_dataset(tmp_path, train_images=1, test_images=1, processes=1)
    assert results == {"data": str(tmp_path), "train_images": 1, "test_images": 1}
    assert len(contents(tmp_path)) == 5


def test_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(requested_points, "write_test_points", interrupt)
    with pytest.raises(KeyboardInterrupt):
        synthesize_dataset(tmp_path / "faces", train_images=1, test_images=1, processes=1)
    assert list(tmp_path.iterdir()) == []
