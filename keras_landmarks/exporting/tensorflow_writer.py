"""Writes a .keras file of stock layers as a SavedModel or for LiteRT; run as a script, by its path.

Both formats are written by Keras on TensorFlow; a SavedModel by JAX's jax2tf holds one opaque call,
which LiteRT's converter refuses. A process has one backend, so this is a process of its own, and
the file imports nothing of the package, which would choose JAX.

    python tensorflow_writer.py model.keras saved_model FOLDER
    python tensorflow_writer.py model.keras float32 FILE.tflite    (or float16, int8)
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import tensorflow as tf


class Conv2D(keras.layers.Conv2D):
    """A convolution that LiteRT has an operation for; Keras has XLA compile grouped ones."""

    def call(self, inputs):
        y = tf.nn.conv2d(inputs, self.kernel, self.strides, self.padding.upper())
        return y + self.bias if self.use_bias else y


def _write_saved_model(model: keras.Model, path: str, batch: int | None = None) -> None:
    """Writes a SavedModel whose signature takes `image` and returns `landmarks`.

    Keras's own export would call the output output_0, and store each weight twice. Without `batch`
    any number of images can be predicted at once.
    """
    image = tf.TensorSpec((batch, *model.input_shape[1:]), tf.float32, name="image")
    module = tf.Module()
    module.weights = [variable.value for variable in model.variables]
    module.serve = tf.function(lambda image: {"landmarks": model(image)}, input_signature=[image])
    tf.saved_model.save(module, path, signatures=module.serve)


def _write_litert(model: keras.Model, precision: str, path: str) -> None:
    """Writes a file that takes one image at a time."""
    with tempfile.TemporaryDirectory() as folder:
        _write_saved_model(model, folder, batch=1)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        # int8 is for the weights; LiteRT's runtime quantises activations by itself. With everything
        # in int8, the last layer's 256 steps over an image would be half a pixel each, and the
        # converter, unlike ONNX Runtime's, cannot leave single layers alone.
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        Path(path).write_bytes(converter.convert())


def main(source: str, target: str, path: str) -> None:
    """Reads the .keras file `source` and writes `path`."""
    if target == "saved_model":
        _write_saved_model(keras.saving.load_model(source), path)
    else:
        model = keras.saving.load_model(source, custom_objects={"Conv2D": Conv2D})
        _write_litert(model, target, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
