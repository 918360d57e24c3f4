import functools
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from folders import contents

from keras_landmarks.exporting import formats
from keras_landmarks.exporting.exporter import export
from keras_landmarks.inference.runtimes import load_for_splits
from keras_landmarks.layouts import layout, mirror
from keras_landmarks.models.keras_models import load_trained
from keras_landmarks.models.spec import read_spec
from keras_landmarks.models.weight_files import read_arrays
from keras_landmarks.utils.errors import InputError


@pytest.fixture(scope="session")
def workdir(tiny_run):
    settings, _ = tiny_run
    return Path(settings.files.workdir)


def skip_without_modules_of(format_name):
    for module in formats.FORMATS[format_name].modules:
        pytest.importorskip(module)


@pytest.fixture(scope="module")
def exported(workdir, faces, tmp_path_factory):
    """Exports the tiny run in a format and precision, once; returns the results and the folder."""

    @functools.cache
    def run(format_name, precision="float32"):
        skip_without_modules_of(format_name)
        out = tmp_path_factory.mktemp("exported") / "out"
        return export(workdir, out, format_name, precision, faces), out

    return run


# ── what is written ──


@pytest.mark.parametrize(
    "format_name",
    [
        *["onnx", "stablehlo", "keras", "safetensors", "saved_model"],
        pytest.param("litert", marks=pytest.mark.slow),
    ],
)
def test_file_predicts_what_the_model_does(exported, workdir, format_name):
    results, out = exported(format_name)
    assert results["max_difference_px"] < 0.01
    assert results["mean_difference_px"] <= results["max_difference_px"]
    assert results["bytes"] > 2_000_000  # half a million weights
    assert results["faces"] == 16
    output_format = formats.FORMATS[format_name]
    assert {path.name for path in out.iterdir()} == {output_format.file_name, "landmarks.json"}
    _, model = load_trained(workdir)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    predicted = output_format.read(out / output_format.file_name)(images)
    np.testing.assert_allclose(predicted, model.predict_on_batch(images), atol=0.01)


@pytest.mark.parametrize(
    ("format_name", "precision"),
    [
        *[("onnx", "float16"), ("onnx", "int8"), ("safetensors", "float16")],
        pytest.param("litert", "int8", marks=pytest.mark.slow),
    ],
)
def test_smaller_weights_predict_nearly_the_same(exported, format_name, precision):
    whole, _ = exported(format_name)
    small, _ = exported(format_name, precision)
    assert small["bytes"] < 0.65 * whole["bytes"]
    assert whole["max_difference_px"] < small["max_difference_px"] < 1
    assert small["faces"] == (3 if precision == "int8" else 16)  # of 24; int8 needs the others


def test_model_file_serves_as_a_work_directory(exported, workdir):
    results, _ = exported("safetensors", "float16")
    spec, weights = read_spec(results["file"]), read_arrays(results["file"])
    assert spec == read_spec(workdir)
    assert weights["conv1.weight"].dtype == np.float16
    assert weights["fc.bias"].dtype == np.float32
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    predicted = load_for_splits(results["file"])[1](images)
    expected = load_for_splits(workdir)[1](images)
    np.testing.assert_allclose(predicted, expected, atol=0.1)


def test_damaged_model_file_is_named(exported, tmp_path):
    content = Path(exported("safetensors", "float16")[0]["file"]).read_bytes()
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    read_arrays(path)
    header_end = 8 + int.from_bytes(content[:8], "little")
    for place in (-9, content.index(b"normalisation"), content.index(b"sha256"), header_end - 20):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(InputError, match=r"model\.safetensors: broken"):
            read_arrays(path)
    for damaged in (content[:-1], content[:9], b""):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"model\.safetensors: broken"):
            read_arrays(path)


@pytest.mark.slow
def test_output_is_called_landmarks(exported):
    skip_without_modules_of("litert")
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    signatures = tf.saved_model.load(str(exported("saved_model")[1] / "saved_model")).signatures
    assert list(signatures["serving_default"].structured_outputs) == ["landmarks"]
    path = exported("litert")[1] / "model.tflite"
    (signature,) = Interpreter(str(path)).get_signature_list().values()
    assert signature == {"inputs": ["image"], "outputs": ["landmarks"]}


def test_saved_model_stores_weights_once(exported):
    assert exported("saved_model")[0]["bytes"] < 1.2 * exported("keras")[0]["bytes"]


def test_keras_file_does_not_need_this_package(exported):
    _, out = exported("keras")
    config = zipfile.ZipFile(out / "model.keras").read("config.json")
    assert b'"Conv2D"' in config
    assert b"keras_landmarks" not in config


def test_description_is_complete(exported):
    results, out = exported("keras")
    described = json.loads((out / "landmarks.json").read_text())
    assert (described["width"], described["height"], described["points"]) == (32, 32, 971)
    assert (described["framing"], described["trim_bands"]) == ("crop", False)
    assert described["uncertainty"] is False
    assert (described["pixel_mean"], described["pixel_std"]) == (0.5, 0.5)
    assert described["mirror"] == layout.mirror_map().tolist()
    assert described["regions"]["pupil_right"] == [970, 970]
    assert described["max_difference_px"] == results["max_difference_px"]
    left, top, right, bottom = described["face_box"]
    assert left < right
    assert top < bottom
    keys = {"input", "framing", "output", "back_to_the_photo", "cropping"}
    assert set(described["how_to"]) >= keys
    assert described["cropping"]["points"] == [0.84, 0.92, 0.84, 0.91]
    assert described["made_by"].startswith("keras_landmarks ")


def test_description_is_a_layout(exported):
    _, out = exported("keras")
    assert layout.regions_of(971, out / "landmarks.json") == layout.REGIONS
    assert mirror.read_map(out / "landmarks.json", 971).tolist() == layout.mirror_map().tolist()


def test_onnx_file_contains_its_description(exported):
    _, out = exported("onnx")
    import onnxruntime

    session = onnxruntime.InferenceSession(out / "model.onnx")
    embedded = json.loads(session.get_modelmeta().custom_metadata_map["landmarks.json"])
    assert embedded.items() <= json.loads((out / "landmarks.json").read_text()).items()
    assert embedded["width"] == 32


# ── where it is written ──


def test_differing_file_is_not_left_behind(workdir, tmp_path, monkeypatch):
    output_format = formats.FORMATS["keras"]

    def read_wrongly(path):
        predict = output_format.read(path)
        return lambda images: predict(images) + np.float32(0.06)

    monkeypatch.setitem(formats.FORMATS, "keras", output_format._replace(read=read_wrongly))
    with pytest.raises(InputError, match=r"0\.06 px.*--format"):
        export(workdir, tmp_path / "out", "keras")
    assert contents(tmp_path) == {}


def test_folder_of_other_files_is_not_replaced(workdir, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"out exists .*--out"):
        export(workdir, out, "keras")
    assert contents(out) == {"mine.txt": b"mine"}
    with pytest.raises(InputError, match=r"mine\.txt exists .*--out"):
        export(workdir, out / "mine.txt", "keras")


@pytest.mark.parametrize("other_file", ["mine.txt", "landmarks.csv"])
def test_folder_of_landmarks_is_not_replaced(workdir, tmp_path, other_file):
    # The command `landmarks` writes a landmarks.json as well.
    (tmp_path / "landmarks.json").write_text("[]")
    (tmp_path / other_file).write_text("mine")
    with pytest.raises(InputError, match="--out"):
        export(workdir, tmp_path, "keras")
    assert set(contents(tmp_path)) == {other_file, "landmarks.json"}


def test_earlier_export_is_replaced(workdir, tmp_path):
    (tmp_path / "out").mkdir()
    export(workdir, tmp_path / "out", "keras")
    export(workdir, tmp_path / "out", "stablehlo")
    assert set(contents(tmp_path / "out")) == {"model.stablehlo", "landmarks.json"}


# ── invalid input ──


def test_int8_needs_data(workdir, tmp_path):
    skip_without_modules_of("onnx")
    with pytest.raises(InputError, match="--export_precision=int8 needs --data"):
        export(workdir, tmp_path / "out", "onnx", "int8")


def test_missing_modules_are_named(workdir, tmp_path, monkeypatch):
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda module: None)
    with pytest.raises(InputError, match=r'onnxruntime: pip install -e "\.\[export\]"'):
        export(workdir, tmp_path / "out", "onnx")
    export(workdir, tmp_path / "out", "keras")


def test_broken_training_images_are_replaced(workdir, own_faces, tmp_path):
    for number in range(20):
        (own_faces / "train" / "images" / f"face_{number:06d}.jpg").write_bytes(b"")
    results = export(workdir, tmp_path / "out", "keras", data=own_faces)
    assert (results["faces"], results["rejected"]) == (4, 20)
    for number in range(20, 24):
        (own_faces / "train" / "images" / f"face_{number:06d}.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="images: none of the 24"):
        export(workdir, tmp_path / "out", "keras", data=own_faces)


def test_too_few_images_for_int8_are_refused(workdir, own_faces, tmp_path):
    skip_without_modules_of("onnx")
    for path in sorted((own_faces / "train" / "images").iterdir())[10:]:
        path.write_bytes(b"")
    with pytest.raises(InputError, match="10 readable training images"):
        export(workdir, tmp_path / "out", "onnx", "int8", own_faces)


def test_data_of_other_landmarks_is_refused(workdir, own_faces, tmp_path):
    table = own_faces / "train" / "landmarks.csv"
    table.write_text("file_name,x,y\nface_000000.jpg,1,2\n")
    with pytest.raises(InputError, match=r"landmarks\.csv: 1 points.* 971"):
        export(workdir, tmp_path / "out", "keras", data=own_faces)


def test_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"model\.json.*--workdir"):
        export(tmp_path / "nowhere", tmp_path / "out", "keras")
