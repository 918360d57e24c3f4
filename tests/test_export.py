import functools
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from folders import contents

from keras_landmarks.export import export
from keras_landmarks.exporting import description, formats
from keras_landmarks.layouts import layout, mirror
from keras_landmarks.models.spec import ModelSpec, load_trained
from keras_landmarks.utils.errors import InputError


@pytest.fixture(scope="session")
def workdir(tiny_run):
    settings, _ = tiny_run
    return Path(settings.workdir)


def needs(format_name):
    for module in formats.FORMATS[format_name].modules:
        pytest.importorskip(module)


# ── every format ──


@pytest.fixture(scope="module")
def exported(workdir, faces, tmp_path_factory):
    """Exports the tiny run in a format and precision, once; returns the figures and the folder."""

    @functools.cache
    def run(format_name, precision="float32"):
        needs(format_name)
        out = tmp_path_factory.mktemp("exported") / "out"
        return export(workdir, out, format_name, precision, faces), out

    return run


@pytest.mark.parametrize("format_name", ["onnx", "stablehlo", "keras", "litert", "saved_model"])
def test_a_file_predicts_what_the_model_does_by_its_own_runtime(exported, workdir, format_name):
    figures, out = exported(format_name)
    assert figures["max_difference_px"] < 0.01
    assert figures["mean_difference_px"] <= figures["max_difference_px"]
    assert figures["bytes"] > 2_000_000  # half a million weights
    assert figures["faces"] == 16
    chosen = formats.FORMATS[format_name]
    assert {path.name for path in out.iterdir()} == {chosen.file_name, "landmarks.json"}
    # Read once more, by images of our own.
    _, model = load_trained(workdir)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    predicted = chosen.read(out / chosen.file_name)(images)
    np.testing.assert_allclose(predicted, model.predict_on_batch(images), atol=0.01)


@pytest.mark.parametrize(
    ("format_name", "precision"), [("onnx", "float16"), ("onnx", "int8"), ("litert", "int8")]
)
def test_smaller_weights_make_a_smaller_file_that_predicts_nearly_the_same(
    exported, format_name, precision
):
    whole, _ = exported(format_name)
    small, _ = exported(format_name, precision)
    assert small["bytes"] < 0.65 * whole["bytes"]
    assert whole["max_difference_px"] < small["max_difference_px"] < 1
    assert small["faces"] == (3 if precision == "int8" else 16)  # of 24; the others calibrate


def test_what_comes_out_is_called_landmarks(exported):
    needs("litert")
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    signatures = tf.saved_model.load(str(exported("saved_model")[1] / "saved_model")).signatures
    assert list(signatures["serving_default"].structured_outputs) == ["landmarks"]
    path = exported("litert")[1] / "model.tflite"
    (signature,) = Interpreter(str(path)).get_signature_list().values()
    assert signature == {"inputs": ["image"], "outputs": ["landmarks"]}


def test_a_saved_model_stores_its_weights_once(exported):
    assert exported("saved_model")[0]["bytes"] < 1.2 * exported("keras")[0]["bytes"]


def test_a_keras_file_needs_nothing_of_this_package(exported):
    _, out = exported("keras")
    config = zipfile.ZipFile(out / "model.keras").read("config.json")
    assert b'"Conv2D"' in config
    assert b"keras_landmarks" not in config


# ── the description ──


def test_the_description_says_all_that_a_program_needs(exported):
    figures, out = exported("keras")
    told = json.loads((out / "landmarks.json").read_text())
    assert (told["width"], told["height"], told["points"]) == (32, 32, 971)
    assert (told["framing"], told["trim_bands"], told["uncertainty"]) == ("crop", False, False)
    assert (told["pixel_mean"], told["pixel_std"]) == (0.5, 0.5)
    assert told["mirror"] == layout.mirror_map().tolist()
    assert told["regions"]["pupil_right"] == [970, 970]
    assert told["max_difference_px"] == figures["max_difference_px"]
    left, top, right, bottom = told["face_box"]
    assert left < right
    assert top < bottom
    assert set(told["how_to"]) >= {"input", "framing", "output", "back_to_the_photo", "cropping"}
    assert told["cropping"]["points"] == [0.84, 0.92, 0.84, 0.91]
    assert told["made_by"].startswith("keras_landmarks ")


def test_an_onnx_file_tells_it_itself(exported):
    _, out = exported("onnx")
    import onnxruntime

    session = onnxruntime.InferenceSession(out / "model.onnx")
    within = json.loads(session.get_modelmeta().custom_metadata_map["landmarks.json"])
    assert within.items() <= json.loads((out / "landmarks.json").read_text()).items()
    assert within["width"] == 32


def test_other_points_have_the_regions_and_the_mirror_map_of_their_layout(tmp_path):
    path = tmp_path / "layout.json"
    path.write_text('{"regions": {"eyes": [0, 1]}, "mirror": [1, 0, 2]}')
    told = description.describe(ModelSpec("tiny", 3, "64x32"), np.zeros((1, 3, 2)), path)
    assert (told["regions"], told["mirror"]) == ({"eyes": [0, 1]}, [1, 0, 2])
    path.write_text('{"regions": {"eyes": [0, 3]}}')
    with pytest.raises(InputError, match=r"layout\.json: 'eyes': 0 to 3 are no points of 0 to 2"):
        description.describe(ModelSpec("tiny", 3, "64x32"), np.zeros((1, 3, 2)), path)


def test_the_description_is_a_layout(exported):
    _, out = exported("keras")
    assert layout.regions_of(971, out / "landmarks.json") == layout.REGIONS
    assert mirror.read_map(out / "landmarks.json", 971).tolist() == layout.mirror_map().tolist()


def test_the_face_box_is_the_mean_of_the_faces_boxes():
    faces = np.array([[[-0.5, 1.5], [15.5, 31.5]], [[15.5, 1.5], [31.5, 15.5]]])
    told = description.describe(ModelSpec("tiny", 2, "64x32"), faces)
    # Edges of pixels: from 0 and 16 to 16 and 32 of 64; from 2 and 2 to 32 and 16 of 32.
    assert told["face_box"] == [0.125, 0.0625, 0.375, 0.75]
    assert (told["mirror"], told["regions"]) == (None, {})


# ── mistakes ──


@pytest.mark.parametrize("format_name", ["keras", "stablehlo", "saved_model"])
def test_a_precision_that_a_format_lacks_is_refused(workdir, tmp_path, format_name):
    with pytest.raises(InputError, match=f"--format={format_name} has no int8: leave it out or"):
        export(workdir, tmp_path / "out", format_name, "int8")


def test_int8_needs_images_of_the_users_own(workdir, tmp_path):
    needs("onnx")
    with pytest.raises(InputError, match="--export_precision=int8 needs --data"):
        export(workdir, tmp_path / "out", "onnx", "int8")


def test_what_is_not_installed_is_told_with_what_to_do(workdir, tmp_path, monkeypatch):
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda module: None)
    with pytest.raises(InputError, match=r'onnx and onnxruntime: pip install -e "\.\[export\]"'):
        export(workdir, tmp_path / "out", "onnx")
    export(workdir, tmp_path / "out", "keras")


def test_a_file_that_predicts_something_else_is_not_left_behind(workdir, tmp_path, monkeypatch):
    chosen = formats.FORMATS["keras"]

    def read_wrongly(path):
        predict = chosen.read(path)
        return lambda images: predict(images) + np.float32(0.06)

    monkeypatch.setitem(formats.FORMATS, "keras", chosen._replace(read=read_wrongly))
    with pytest.raises(InputError, match=r"predicts something else: off by up to 0\.06 px"):
        export(workdir, tmp_path / "out", "keras")
    assert contents(tmp_path) == {}


def test_only_an_earlier_export_is_replaced(workdir, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="out is there and no earlier export: give --out a new"):
        export(workdir, out, "keras")
    assert contents(out) == {"mine.txt": b"mine"}
    with pytest.raises(InputError, match=r"mine\.txt is there and no earlier export"):
        export(workdir, out / "mine.txt", "keras")
    # What `landmarks` writes has a landmarks.json as well.
    (out / "landmarks.json").write_text("[]")
    with pytest.raises(InputError, match="out is there and no earlier export"):
        export(workdir, out, "keras")
    (out / "mine.txt").rename(out / "landmarks.csv")
    with pytest.raises(InputError, match="out is there and no earlier export"):
        export(workdir, out, "keras")
    assert set(contents(out)) == {"landmarks.csv", "landmarks.json"}
    (tmp_path / "again").mkdir()
    export(workdir, tmp_path / "again", "keras")
    export(workdir, tmp_path / "again", "stablehlo")
    assert set(contents(tmp_path / "again")) == {"model.stablehlo", "landmarks.json"}


def test_faces_come_from_the_training_images_without_the_broken_ones(workdir, own_faces, tmp_path):
    for number in range(20):
        (own_faces / "train" / "images" / f"face_{number:06d}.jpg").write_bytes(b"")
    figures = export(workdir, tmp_path / "out", "keras", data=own_faces)
    assert (figures["faces"], figures["rejected"]) == (4, 20)
    for number in range(20, 24):
        (own_faces / "train" / "images" / f"face_{number:06d}.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="none of the 24 images of the table can be read"):
        export(workdir, tmp_path / "out", "keras", data=own_faces)


def test_other_points_or_too_few_images_for_int8_are_refused(workdir, own_faces, tmp_path):
    needs("onnx")
    for path in sorted((own_faces / "train" / "images").iterdir())[10:]:
        path.write_bytes(b"")
    with pytest.raises(InputError, match="10 training images are too few to take int8's ranges"):
        export(workdir, tmp_path / "out", "onnx", "int8", own_faces)
    table = own_faces / "train" / "landmarks.csv"
    table.write_text("file_name,x,y\nface_000000.jpg,1,2\n")
    with pytest.raises(InputError, match=r"landmarks\.csv: 1 points; --data must be the model's"):
        export(workdir, tmp_path / "out", "keras", data=own_faces)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"model\.json: no such file; --workdir"):
        export(tmp_path / "nowhere", tmp_path / "out", "keras")
