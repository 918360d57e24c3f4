"""The formats: how a network is written in each, and how its own runtime reads that back.

A network here is of stock Keras layers (`models.stock`); what is written takes images (N, height,
width, 3) float32 of 0 to 255 and gives what the network gives. Modules of the extra `export` are
imported where they are used: whoever has not got them can use the other formats.
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

from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.utils.errors import InputError

Predictor = Callable[[np.ndarray], np.ndarray]
_PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
_TENSORFLOW_WRITER = Path(__file__).with_name("tensorflow_writer.py")


class Format(NamedTuple):
    """A format.

    Attributes:
        file_name: of what is written.
        write: writes a model to a path with a precision; images are there to calibrate int8 by.
        read: returns what predicts, one core where the runtime can be told.
        precisions: of the weights, that it has.
        modules: that must be installed besides what the package needs anyway.
        describe: puts a text under a name into the file itself, where the format has a place.
    """

    file_name: str
    write: Callable[[keras.Model, Path, str, np.ndarray], None]
    read: Callable[[Path], Predictor]
    precisions: Sequence[str] = ("float32",)
    modules: Sequence[str] = ()
    describe: Callable[[Path, str, str], None] | None = None


def check(name: str, precision: str) -> Format:
    """Returns the format of a name.

    Raises:
        InputError: it has no such precision, or what it needs is not installed.
    """
    chosen = FORMATS[name]
    if precision not in chosen.precisions:
        having = ", ".join(other for other, f in FORMATS.items() if precision in f.precisions)
        raise InputError(f"--format={name} has no {precision}: leave it out or choose {having}")
    if missing := [module for module in chosen.modules if not importlib.util.find_spec(module)]:
        raise InputError(
            f'--format={name} needs {" and ".join(missing)}: pip install -e ".[export]"'
        )
    return chosen


# ── ONNX ──


def _write_onnx(model: keras.Model, path: Path, precision: str, images: np.ndarray) -> None:
    import onnx

    from keras_landmarks.exporting import onnx_graph

    halved = {"float32": [], "float16": ["Conv", "Gemm"], "int8": ["Gemm"]}[precision]
    made = onnx_graph.onnx_model(model, halved)
    onnx.save(onnx_graph.quantised(made, images) if precision == "int8" else made, path)


def _describe_onnx(path: Path, name: str, text: str) -> None:
    import onnx

    model = onnx.load(path)
    onnx.helper.set_model_props(model, {name: text})
    onnx.save(model, path)


def _read_onnx(path: Path) -> Predictor:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    return lambda images: session.run(None, {image.name: images})[0]


# ── TensorFlow's ──


def _write_by_tensorflow(model: keras.Model, path: Path, target: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "stock.keras"
        model.save(source)
        command = [sys.executable, _TENSORFLOW_WRITER, source, target, path]
        # Keras reads its user's keras.json there: in a new folder it makes one of defaults.
        environment = os.environ | {"KERAS_HOME": folder}
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=environment
        )
    if done.returncode:
        raise RuntimeError(f"TensorFlow could not write {path.name}: {done.stderr[-2000:]}")


def _write_litert(model: keras.Model, path: Path, precision: str, images: np.ndarray) -> None:
    _write_by_tensorflow(model, path, precision)


def _read_litert(path: Path) -> Predictor:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    run = interpreter.get_signature_runner()
    (name,) = run.get_input_details()

    def predict(images: np.ndarray) -> np.ndarray:
        outputs = [run(**{name: image[None]}) for image in images]
        return np.concatenate([landmarks for output in outputs for landmarks in output.values()])

    return predict


def _write_saved_model(model: keras.Model, path: Path, precision: str, images: np.ndarray) -> None:
    _write_by_tensorflow(model, path, "saved_model")


def _read_saved_model(path: Path) -> Predictor:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return lambda images: loaded.serve(images)["landmarks"].numpy()


# ── JAX's and Keras's own ──


def _write_stablehlo(model: keras.Model, path: Path, precision: str, images: np.ndarray) -> None:
    import jax.export

    (batch,) = jax.export.symbolic_shape("batch")
    image = jax.ShapeDtypeStruct((batch, *model.input_shape[1:]), np.float32)
    predict = jax.jit(lambda image: model(image, training=False))
    path.write_bytes(jax.export.export(predict, platforms=_PLATFORMS)(image).serialize())


def _read_stablehlo(path: Path) -> Predictor:
    import jax.export

    exported = jax.export.deserialize(bytearray(path.read_bytes()))
    return lambda images: np.asarray(exported.call(images))


def _write_keras(model: keras.Model, path: Path, precision: str, images: np.ndarray) -> None:
    model.save(path)


def _read_keras(path: Path) -> Predictor:
    return keras.saving.load_model(path, compile=False).predict_on_batch


FORMATS = {
    "onnx": Format(
        *("model.onnx", _write_onnx, _read_onnx),
        precisions=("float32", "float16", "int8"),
        modules=("onnx", "onnxruntime"),
        describe=_describe_onnx,
    ),
    "litert": Format(
        *("model.tflite", _write_litert, _read_litert),
        precisions=("float32", "float16", "int8"),
        modules=("ai_edge_litert",),
    ),
    "stablehlo": Format("model.stablehlo", _write_stablehlo, _read_stablehlo),
    "saved_model": Format("saved_model", _write_saved_model, _read_saved_model),
    "keras": Format("model.keras", _write_keras, _read_keras),
}
