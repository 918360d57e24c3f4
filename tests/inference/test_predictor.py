import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from keras_landmarks.images import geometry
from keras_landmarks.images.geometry import CropTransform
from keras_landmarks.inference.predictor import Predictor
from keras_landmarks.inference.runtimes import load_for_splits
from keras_landmarks.layouts import layout, mirror
from keras_landmarks.models import spec as model_spec
from keras_landmarks.models.keras_models import build_model
from keras_landmarks.models.spec import ModelSpec, claim_workdir
from keras_landmarks.models.weight_files import BEST_WEIGHTS
from keras_landmarks.utils.errors import InputError


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def transform():
    rng = np.random.default_rng(1)
    return CropTransform(rng.uniform(0.2, 0.8, (3, 2)), rng.uniform(-9, 9, (3, 2)))


@pytest.fixture
def workdir(tiny_run):
    """A work directory whose model was trained without a mirror map."""
    return Path(tiny_run[0].files.workdir)


@pytest.fixture
def workdir_with_map(workdir, tmp_path):
    """Returns a function that makes a work directory whose model has a mirror map."""

    def make(mirror_map):
        folder = tmp_path / "with_map"
        folder.mkdir(exist_ok=True)
        shutil.copy(workdir / BEST_WEIGHTS, folder)
        content = json.loads((workdir / model_spec.FILE_NAME).read_text())
        (folder / model_spec.FILE_NAME).write_text(json.dumps(content | {"mirror": mirror_map}))
        return folder

    return make


def test_mirroring_averages_with_the_mirrored_crop(workdir, crops, transform):
    plain = Predictor(*load_for_splits(workdir))
    in_crop = CropTransform(np.ones((3, 2)), np.zeros((3, 2)))
    mirrored = plain(crops[:, :, ::-1], in_crop)
    inverted = mirror.mirror_points(mirrored, layout.mirror_map(), 32)
    expected = geometry.to_photo((plain(crops, in_crop) + inverted) / 2, transform)
    both = Predictor(*load_for_splits(workdir), "mirror", "contest")(crops, transform)
    np.testing.assert_allclose(both, expected, atol=1e-3)
    assert np.abs(both - plain(crops, transform)).max() > 0.2


def test_crops_are_averaged_with_and_without_mirroring(workdir, crops, transform):
    plain = Predictor(*load_for_splits(workdir))(crops, transform)
    averaged = Predictor(*load_for_splits(workdir), "crops")(crops, transform)
    both = Predictor(*load_for_splits(workdir), "mirror,crops", "contest")(crops, transform)
    for result in (averaged, both):
        assert np.all(np.abs(result - plain).max(axis=(1, 2)) > 0.01)
    assert np.abs(both - averaged).max() > 0.01


def test_sigmas_are_mirrored_with_their_landmarks(tmp_path, crops, transform):
    spec = ModelSpec("tiny", 971, "32x32", uncertainty=True, mirror="contest")
    claim_workdir(tmp_path, spec)
    model = build_model(spec)
    model.save_weights(tmp_path / BEST_WEIGHTS)
    scale = np.sqrt(transform.scale.prod(axis=1))[:, None]
    log_variance = model.predict(crops, verbose=0)[..., 2]
    sigmas = Predictor(*load_for_splits(tmp_path))(crops, transform)[..., 2]
    np.testing.assert_allclose(sigmas, np.exp(log_variance / 2) / scale, rtol=1e-3)

    mirrored = model.predict(crops[:, :, ::-1], verbose=0)[:, layout.mirror_map(), 2]
    sigmas = Predictor(*load_for_splits(tmp_path), "mirror")(crops, transform)[..., 2]
    expected = np.exp((log_variance + mirrored) / 4) / scale
    np.testing.assert_allclose(sigmas, expected, rtol=1e-3)


def test_mirror_map_of_the_training_has_priority(workdir, workdir_with_map, tmp_path):
    identity = list(range(971))
    (tmp_path / "map.json").write_text(json.dumps(identity))
    contest_map = Predictor(*load_for_splits(workdir), "mirror", "contest").mirror_map
    np.testing.assert_array_equal(contest_map, layout.mirror_map())
    from_file = Predictor(
        *load_for_splits(workdir), "mirror", str(tmp_path / "map.json")
    ).mirror_map
    np.testing.assert_array_equal(from_file, identity)
    trained = Predictor(*load_for_splits(workdir_with_map("contest")), "mirror").mirror_map
    np.testing.assert_array_equal(trained, layout.mirror_map())
    trained = Predictor(
        *load_for_splits(workdir_with_map(identity)), "mirror", "contest"
    ).mirror_map
    np.testing.assert_array_equal(trained, identity)


@pytest.mark.parametrize("choice", [None, "none", "found", "auto"])
def test_missing_mirror_map_names_the_flag(workdir, choice):
    with pytest.raises(InputError, match=r"model\.json: .*--mirror="):
        Predictor(*load_for_splits(workdir), "mirror", choice)


@pytest.mark.parametrize("damaged", ["contests", [1, 0], [0] * 971, {}])
def test_damaged_mirror_map_is_rejected(workdir_with_map, damaged):
    with pytest.raises(InputError, match=r"model\.json: "):
        Predictor(*load_for_splits(workdir_with_map(damaged)), "mirror")


def test_unknown_tta_mode_is_rejected(workdir):
    with pytest.raises(ValueError, match="tta='flip'"):
        Predictor(*load_for_splits(workdir), "flip")
