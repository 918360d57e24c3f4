"""The export formats: how to write a network in each, and how to run it in the format's runtime.

Other programs get the network of stock Keras layers, batch normalisation folded
(`models.stock_layers`). What is written takes images of (N, height, width, 3) float32 from 0 to 255
and returns what the network returns. Modules of the extra `export` are imported where they are
used, because the other formats do without them.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx

from keras_landmarks.inference.runtimes import load_for_photos
from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.models.keras_weights import save_safetensors
from keras_landmarks.models.onnx.keras_layers import keras_to_onnx
from keras_landmarks.models.stock_layers import stock_model
from keras_landmarks.utils.errors import InputError

PredictBatch = Callable[[np.ndarray], np.ndarray]
_PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
_TENSORFLOW_WRITER = Path(__file__).with_name("tensorflow_writer.py")


class Format(NamedTuple):
    """An export format.

    Attributes:
        file_name: of the file or folder that `write` makes.
        write: writes a model to a path with a precision; int8 is calibrated by the images, and the
            model's description goes into the file if the format has a place for it.
        read: returns a function that predicts in the format's own runtime, on one core if the
            runtime has such a setting.
        precisions: the precisions of weights that it supports.
        modules: modules of the extra `export` that it needs.
    """

    file_name: str
    write: Callable[[keras.Model, Path, str, np.ndarray, dict[str, str]], None]
    read: Callable[[Path], PredictBatch]
    precisions: Sequence[str] = ("float32",)
    modules: Sequence[str] = ()


def get_format(name: str, precision: str) -> Format:
    """Returns a format that supports a precision.

    Raises:
        InputError: there is no such format, it lacks the precision, or what it needs is not
            installed.
    """
    if name not in FORMATS:
        raise InputError(f"--format={name}: not of this command, which writes {', '.join(FORMATS)}")
    found = FORMATS[name]
    if precision not in found.precisions:
        others = ", ".join(other for other, f in FORMATS.items() if precision in f.precisions)
        raise InputError(
            f"--format={name} has no {precision}: leave --export_precision out, or choose {others}"
        )
    if missing := [module for module in found.modules if not importlib.util.find_spec(module)]:
        raise InputError(
            f'--format={name} needs {" and ".join(missing)}: pip install -e ".[export]"'
        )
    return found


# ── ONNX ──


def _write_onnx(model, path, precision, images, texts) -> None:
    float16_kinds = {"float32": [], "float16": ["Conv", "Gemm"], "int8": ["Gemm"]}[precision]
    converted = keras_to_onnx(stock_model(model), float16_kinds)
    if precision == "int8":
        from keras_landmarks.exporting.onnx_quantisation import quantise

        converted = quantise(converted, images)
    onnx.helper.set_model_props(converted, texts)
    onnx.save(converted, path)


def _read_onnx(path: Path) -> PredictBatch:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    return lambda images: session.run(None, {image.name: images})[0]


# ── SavedModel and LiteRT ──


def _write_by_tensorflow(model: keras.Model, path: Path, target: str) -> None:
    """Runs `tensorflow_writer` in a process of its own, with TensorFlow as Keras's backend."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "stock.keras"
        stock_model(model).save(source)
        command = [sys.executable, _TENSORFLOW_WRITER, source, target, path]
        # A new folder, so that Keras does not read the user's keras.json.
        environment = os.environ | {"KERAS_HOME": folder}
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=environment
        )
    if done.returncode:
        raise RuntimeError(f"TensorFlow could not write {path.name}: {done.stderr[-2000:]}")


def _write_litert(model, path, precision, images, texts) -> None:
    _write_by_tensorflow(model, path, precision)


def _read_litert(path: Path) -> PredictBatch:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    run = interpreter.get_signature_runner()
    (name,) = run.get_input_details()

    def predict(images: np.ndarray) -> np.ndarray:
        outputs = [run(**{name: image[None]}) for image in images]
        return np.concatenate([landmarks for output in outputs for landmarks in output.values()])

    return predict


def _write_saved_model(model, path, precision, images, texts) -> None:
    _write_by_tensorflow(model, path, "saved_model")


def _read_saved_model(path: Path) -> PredictBatch:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return lambda images: loaded.serve(images)["landmarks"].numpy()


# ── StableHLO and Keras ──


def _write_stablehlo(model, path, precision, images, texts) -> None:
    import jax.export

    (batch,) = jax.export.symbolic_shape("batch")
    image = jax.ShapeDtypeStruct((batch, *model.input_shape[1:]), np.float32)
    stock = stock_model(model)
    predict = jax.jit(lambda image: stock(image, training=False))
    path.write_bytes(jax.export.export(predict, platforms=_PLATFORMS)(image).serialize())


def _read_stablehlo(path: Path) -> PredictBatch:
    import jax.export

    exported = jax.export.deserialize(bytearray(path.read_bytes()))
    return lambda images: np.asarray(exported.call(images))


def _write_keras(model, path, precision, images, texts) -> None:
    stock_model(model).save(path)


def _read_keras(path: Path) -> PredictBatch:
    return keras.saving.load_model(path, compile=False).predict_on_batch


# ── this package's own ──


def _write_safetensors(model, path, precision, images, texts) -> None:
    save_safetensors(model, path, half_precision=precision == "float16", metadata=texts)


def _read_safetensors(path: Path) -> PredictBatch:
    return load_for_photos(path)[1]


FORMATS = {
    "onnx": Format(
        *("model.onnx", _write_onnx, _read_onnx),
        precisions=("float32", "float16", "int8"),
        modules=("onnxruntime",),
    ),
    "litert": Format(
        *("model.tflite", _write_litert, _read_litert),
        precisions=("float32", "float16", "int8"),
        modules=("ai_edge_litert",),
    ),
    "safetensors": Format(
        *("model.safetensors", _write_safetensors, _read_safetensors),
        precisions=("float32", "float16"),
    ),
    "stablehlo": Format("model.stablehlo", _write_stablehlo, _read_stablehlo),
    "saved_model": Format("saved_model", _write_saved_model, _read_saved_model),
    "keras": Format("model.keras", _write_keras, _read_keras),
}
