"""Writes a .keras file of stock layers as a SavedModel or for LiteRT; run as a script, by its path.

Keras takes one backend a process, and these two formats come from TensorFlow's: what JAX hands
over to TensorFlow is one opaque call, which LiteRT does not take. So this file imports nothing of
the package, whose import chooses JAX.

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
    """A convolution in the form that LiteRT has one of; Keras has XLA compile grouped ones."""

    def call(self, inputs):
        y = tf.nn.conv2d(inputs, self.kernel, self.strides, self.padding.upper())
        return y + self.bias if self.use_bias else y


def _write_saved_model(model: keras.Model, path: str, batch: int | None = None) -> None:
    """Writes a folder whose signature takes `image` and gives `landmarks`, any batch unless told.

    Not by Keras's own export, which names what comes out output_0 and stores each weight twice.
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
        if precision != "float32":  # of int8 the weights: sums and what lies between stay float32
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
