from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from keras_landmarks.inference.runtimes import load_for_photos, load_for_splits
from keras_landmarks.models.keras_models import build_model
from keras_landmarks.models.keras_weights import save_safetensors
from keras_landmarks.models.spec import ModelSpec, claim_workdir
from keras_landmarks.models.weight_files import BEST_WEIGHTS
from keras_landmarks.utils.errors import InputError


def random_crops(count, spec):
    size = spec.crop_spec.height, spec.crop_spec.width
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3), np.uint8)


@pytest.mark.parametrize("count", [1, 5, 8])
def test_runtimes_predict_alike(tiny_run, count):
    workdir = Path(tiny_run[0].files.workdir)
    spec, in_xla = load_for_splits(workdir)
    same_spec, in_opencv = load_for_photos(workdir)
    assert same_spec == spec
    crops, expected = random_crops(count, spec), in_xla(random_crops(count, spec))
    np.testing.assert_allclose(in_opencv(crops), expected, atol=1e-3)
    assert count == 1 or np.ptp(expected, axis=0).max() > 0.01  # rows in their order


def test_threads_do_not_interfere(tiny_run):
    spec, network = load_for_photos(tiny_run[0].files.workdir)
    crops = random_crops(8, spec)
    expected = np.concatenate([network(crop[None]) for crop in crops])
    with ThreadPoolExecutor(4) as pool:
        predicted = list(pool.map(lambda row: network(crops[[row % 8]]), range(200)))
    np.testing.assert_allclose(np.concatenate(predicted), np.tile(expected, (25, 1, 1)), atol=1e-4)


def test_weights_of_another_network_are_refused(tmp_path):
    claim_workdir(tmp_path, ModelSpec("tiny", 5, "32x32"))
    build_model(ModelSpec("resnet18_half", 5, "32x32")).save_weights(tmp_path / BEST_WEIGHTS)
    for load in (load_for_photos, load_for_splits):
        with pytest.raises(InputError, match=r"not weights of this model: unexpected: layer"):
            load(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mobilenet_v3_large", "efficientnet_v2_b0", "resnext50_32x4d"])
def test_other_networks_predict_alike(model, tmp_path):
    spec = ModelSpec(model, 5, "48x32", head="shape", shape_components=4, uncertainty=True)
    claim_workdir(tmp_path, spec)
    build_model(spec).save_weights(tmp_path / BEST_WEIGHTS)
    crops = random_crops(3, spec)
    predicted, expected = (load(tmp_path)[1](crops) for load in (load_for_photos, load_for_splits))
    assert expected.shape == (3, 5, 3)
    np.testing.assert_allclose(predicted, expected, atol=1e-3)


@pytest.mark.parametrize("load", [load_for_photos, load_for_splits])
def test_missing_model_is_named(load, tmp_path):
    with pytest.raises(InputError, match=r"model\.json"):
        load(tmp_path)
    with pytest.raises(InputError, match="@nobody"):
        load("@nobody")


def test_weights_without_a_description_are_refused(tmp_path):
    save_safetensors(build_model(ModelSpec("tiny", 5, "32x32")), tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"w\.safetensors: .*--format=safetensors"):
        load_for_photos(tmp_path / "w.safetensors")
