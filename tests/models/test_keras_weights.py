import keras
import numpy as np
import pytest
import safetensors.numpy
from small_networks import NUM_LANDMARKS, assert_equal_values, build, values

from keras_landmarks.models import keras_weights
from keras_landmarks.models.registry import ResNetConfig
from keras_landmarks.models.weight_files import BEST_WEIGHTS
from keras_landmarks.utils.errors import InputError


def test_safetensors_round_trip(source, safetensors_file):
    model = build()
    assert keras_weights.load_weights(model, safetensors_file) == []
    assert_equal_values(model, source)
    assert [path.name for path in safetensors_file.parent.iterdir()] == [safetensors_file.name]


def test_safetensors_are_in_torchvision_layout(safetensors_file):
    arrays = safetensors.numpy.load_file(safetensors_file)
    shapes = {name: array.shape for name, array in arrays.items()}
    assert shapes["conv1.weight"] == (8, 3, 7, 7)
    assert shapes["layer1.0.conv2.weight"] == (16, 8, 3, 3)
    assert shapes["layer1.0.downsample.1.running_var"] == (32,)
    assert shapes["fc.weight"] == (2 * NUM_LANDMARKS, 32)


def test_work_directory_loads_its_best_weights(source, work_directory):
    model = build()
    keras_weights.load_weights(model, work_directory)
    assert_equal_values(model, source)


@pytest.mark.parametrize("suffix", [".safetensors", ".weights.h5"])
def test_mismatched_head_is_skipped_on_request(
    suffix, source, safetensors_file, work_directory, caplog
):
    path = safetensors_file if suffix == ".safetensors" else work_directory / "best.weights.h5"
    model, untouched = build(num_landmarks=3), build(num_landmarks=3)
    untouched.set_weights(model.get_weights())
    with pytest.raises(InputError, match=r"fc.weight \(32, 10\), not \(32, 6\)"):
        keras_weights.load_weights(model, path)
    assert_equal_values(model, untouched)

    with caplog.at_level("INFO", logger="absl"):
        skipped = keras_weights.load_weights(model, path, skip_mismatched_head=True)
    assert skipped == ["fc.weight", "fc.bias"]
    assert str(path) in caplog.text
    np.testing.assert_array_equal(model.get_layer("fc").kernel, untouched.get_layer("fc").kernel)
    np.testing.assert_array_equal(model.get_layer("conv1").kernel, source.get_layer("conv1").kernel)


@pytest.mark.parametrize("suffix", [".safetensors", ".weights.h5"])
def test_weights_of_another_model_are_refused(suffix, source, tmp_path):
    path = tmp_path / f"other{suffix}"
    save = keras_weights.save_safetensors if suffix == ".safetensors" else type(source).save_weights
    save(source, path)
    model = build(ResNetConfig("basic", (1, 1), stem_width=8))
    before = values(model)
    with pytest.raises(InputError) as refusal:
        keras_weights.load_weights(model, path)
    message = str(refusal.value)
    assert message.startswith(f"{path}: ")
    assert "missing: layer2.0.conv1.weight" in message
    assert "unexpected: layer1.0." in message
    assert "layer1.0.conv1.weight (1, 1, 8, 16), not (3, 3, 8, 8)" in message
    assert "\n" not in message
    np.testing.assert_equal(values(model), before)


def test_keras_file_of_a_deeper_model_is_refused(tmp_path):
    build(ResNetConfig("basic", (2,), stem_width=8)).save_weights(tmp_path / "best.weights.h5")
    with pytest.raises(InputError, match=r"unexpected: layer1\.1\."):
        keras_weights.load_weights(build(ResNetConfig("basic", (1,), stem_width=8)), tmp_path)


@pytest.mark.parametrize("name", ["weights.pth", "weights.pt", "weights.bin", "weights.ckpt"])
def test_pickle_is_refused_unread(name, source):
    with pytest.raises(InputError, match=rf"{name}: .*\.safetensors"):
        keras_weights.load_weights(source, name)


@pytest.mark.parametrize("name", ["weights.safetensors", "best.weights.h5"])
@pytest.mark.parametrize("end", [0, 100, -100])
def test_truncated_file_is_refused(name, end, source, safetensors_file, work_directory):
    path = work_directory / name
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(InputError, match=rf"{name}: broken"):
        keras_weights.load_weights(source, path)


def test_missing_file_is_refused(source, tmp_path):
    with pytest.raises(InputError, match=r"none.safetensors: no such file"):
        keras_weights.load_weights(source, tmp_path / "none.safetensors")
    with pytest.raises(InputError, match=r"best.weights.h5: no such file"):
        keras_weights.load_weights(source, tmp_path)


def test_unknown_file_format_is_refused(source, tmp_path):
    (tmp_path / "table.csv").touch()
    with pytest.raises(InputError, match=r"table.csv: "):
        keras_weights.load_weights(source, tmp_path / "table.csv")


def test_dropout_state_is_not_a_weight(tmp_path):
    def build_with_dropout():
        image = keras.Input((3,))
        dense = keras.layers.Dense(4, name="fc")(image)
        return keras.Model(image, keras.layers.Dropout(0.5, name="drop")(dense))

    model, again = build_with_dropout(), build_with_dropout()
    model.save_weights(tmp_path / BEST_WEIGHTS)
    assert keras_weights.load_weights(again, tmp_path) == []
    for saved, loaded in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(loaded, saved)
