import dataclasses
import json

import numpy as np
import pytest

from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.models import spec
from keras_landmarks.models.keras_models import build_model
from keras_landmarks.models.spec import ModelSpec
from keras_landmarks.utils.errors import InputError

SPEC = ModelSpec("tiny", 5, "48x64", "stretch", trim_bands=True, normalisation="imagenet")


def test_spec_round_trip(tmp_path):
    spec.claim_workdir(tmp_path, SPEC)
    assert spec.read_spec(tmp_path) == SPEC
    spec.claim_workdir(tmp_path, SPEC)


def test_file_keeps_the_names_of_points(tmp_path):
    names = ["nose", "left eye", "right eye", "chin", "brow"]
    spec.claim_workdir(tmp_path, SPEC)
    assert "point_names" not in json.loads((tmp_path / "model.json").read_text())
    assert spec.read_spec(tmp_path).point_names is None
    spec.claim_workdir(tmp_path, dataclasses.replace(SPEC, point_names=names))
    assert spec.read_spec(tmp_path).point_names == names


@pytest.mark.parametrize(
    "other",
    [
        ModelSpec("tiny", 5, "64x48", "stretch", True, "imagenet"),
        ModelSpec("tiny", 5, "48x64", "pad", True, "imagenet"),
        ModelSpec("tiny", 5, "48x64", "stretch", False, "imagenet"),
        ModelSpec("tiny", 5, "48x64", "stretch", True, "half"),
    ],
)
def test_workdir_of_another_model_is_refused(tmp_path, other):
    spec.claim_workdir(tmp_path, SPEC)
    with pytest.raises(InputError, match=f"{tmp_path.name} .*--workdir"):
        spec.claim_workdir(tmp_path, other)


def test_old_file_is_read_with_the_old_defaults(tmp_path):
    (tmp_path / "model.json").write_text('{"model": "tiny", "points": 5, "image_size": 128}')
    found = spec.read_spec(tmp_path)
    assert found == ModelSpec("tiny", 5, "128x128", "crop", False, "half")
    assert found.crop_spec == CropSpec(128, 128)


@pytest.mark.parametrize(
    "wrong",
    [
        {"image_size": "48x"},
        {"image_size": None},
        {"framing": "squeeze"},
        {"trim_bands": "no"},
        {"normalisation": "unit"},
        {"normalisation": []},
        {"points": "5"},
        {"points": 0},
        {"head": "none"},
        {"head": "shape"},
        {"head": "shape", "shape_components": 11},
        {"head": "linear", "shape_components": 3},
        {"colour": "grey"},
        {"point_names": "nose"},
        {"point_names": ["nose", "eye"]},
        {"point_names": ["nose", "eye", "eye", "chin", "brow"]},
        {"point_names": [1, 2, 3, 4, 5]},
    ],
)
def test_damaged_file_is_refused(tmp_path, wrong):
    spec.claim_workdir(tmp_path, SPEC)
    path = tmp_path / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | wrong))
    with pytest.raises(InputError, match=r"model\.json"):
        spec.read_spec(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "3", '"a"', "null", "{}"])
def test_file_without_a_spec_is_refused(tmp_path, content):
    (tmp_path / "model.json").write_text(content)
    with pytest.raises(InputError, match=r"model\.json"):
        spec.read_spec(tmp_path)


def test_model_has_input_and_pixels_of_the_spec():
    model = build_model(SPEC)
    assert model.input_shape == (None, 64, 48, 3)
    mean = np.array([0.485, 0.456, 0.406])
    deviation = np.array([0.229, 0.224, 0.225])
    pixel = (255 * (mean + deviation)).astype(np.float32).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(np.ravel(model.get_layer("normalise")(pixel)), 1, atol=1e-5)


def test_file_has_num_landmarks_as_points(tmp_path):
    spec.claim_workdir(tmp_path, SPEC)
    values = json.loads((tmp_path / "model.json").read_text())
    assert list(values)[:3] == ["model", "points", "image_size"]
    assert values["points"] == 5


def test_normalisation_adds_no_weight():
    def shapes(normalisation):
        model = build_model(ModelSpec("tiny", 5, "32x32", normalisation=normalisation))
        return {weight.path: weight.shape for weight in model.weights}

    assert shapes("half") == shapes("imagenet")
