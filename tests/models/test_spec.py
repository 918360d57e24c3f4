import json

import numpy as np
import pytest

from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.models import spec
from keras_landmarks.models.spec import ModelSpec
from keras_landmarks.utils.errors import InputError

SPEC = ModelSpec("tiny", 5, "48x64", "stretch", trim_bands=True, normalisation="imagenet")


def test_what_a_work_directory_is_claimed_for_is_read_back(tmp_path):
    spec.claim_workdir(tmp_path, SPEC)
    assert spec.read_spec(tmp_path) == SPEC
    spec.claim_workdir(tmp_path, SPEC)


@pytest.mark.parametrize(
    "other",
    [
        ModelSpec("tiny", 5, "64x48", "stretch", True, "imagenet"),
        ModelSpec("tiny", 5, "48x64", "pad", True, "imagenet"),
        ModelSpec("tiny", 5, "48x64", "stretch", False, "imagenet"),
        ModelSpec("tiny", 5, "48x64", "stretch", True, "half"),
    ],
)
def test_a_model_that_is_shown_other_images_is_another(tmp_path, other):
    spec.claim_workdir(tmp_path, SPEC)
    with pytest.raises(InputError, match=r"holds a run with .*, not .*; give another --workdir"):
        spec.claim_workdir(tmp_path, other)


def test_a_file_from_before_there_was_a_choice_is_read_with_what_there_was(tmp_path):
    (tmp_path / "model.json").write_text('{"model": "tiny", "points": 5, "image_size": 128}')
    found = spec.read_spec(tmp_path)
    assert found == ModelSpec("tiny", 5, "128x128", "crop", False, "half")
    assert found.frame == CropSpec(128, 128)


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
    ],
)
def test_a_damaged_file_is_told(tmp_path, wrong):
    spec.claim_workdir(tmp_path, SPEC)
    path = tmp_path / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | wrong))
    with pytest.raises(InputError, match=r"model\.json: damaged \("):
        spec.read_spec(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "3", '"a"', "null", "{}"])
def test_what_is_no_spec_at_all_is_told(tmp_path, content):
    (tmp_path / "model.json").write_text(content)
    with pytest.raises(InputError, match=r"model\.json: damaged \("):
        spec.read_spec(tmp_path)


def test_the_model_takes_images_of_its_size_and_normalises_them_as_the_spec_says():
    model = SPEC.build()
    assert model.input_shape == (None, 64, 48, 3)
    mean = np.array([0.485, 0.456, 0.406])
    deviation = np.array([0.229, 0.224, 0.225])
    pixel = (255 * (mean + deviation)).astype(np.float32).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(np.ravel(model.get_layer("normalise")(pixel)), 1, atol=1e-5)


def test_a_normalisation_changes_no_weight():
    def shapes(normalisation):
        model = ModelSpec("tiny", 5, "32x32", normalisation=normalisation).build()
        return {weight.path: weight.shape for weight in model.weights}

    assert shapes("half") == shapes("imagenet")
