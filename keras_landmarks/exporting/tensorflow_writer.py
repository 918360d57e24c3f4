"""Writes a .keras file of stock layers as a SavedModel or for LiteRT; run as a script, by its path.

Keras takes one backend a process, and these two formats come from TensorFlow's: what JAX hands
over to TensorFlow is one opaque call, which LiteRT does not take. So this file imports nothing of
the package, whose import chooses JAX.

    python tensorflow_writer.py model.keras saved_model FOLDER
    python tensorflow_writer.py model.keras float32 FILE.tflite    (or float16, int8)
"""

import os
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import tensorflow as tf


class Conv2D(keras.layers.Conv2D):
    """A convolution in the form that LiteRT has one of; Keras has XLA compile grouped ones."""

    def call(self, inputs):
        y = tf.nn.conv2d(inputs, self.kernel, self.strides, self.padding.upper())
        return y + self.bias if self.use_bias else y


def _write_litert(model: keras.Model, precision: str, path: str) -> None:
    """Writes a file that takes one image at a time."""
    options = {
        "float32": {},
        "float16": {"target_spec": {"supported_types": [tf.float16]}},
        "int8": {},  # the weights: sums and what lies between layers stay float32
    }
    if precision != "float32":
        options[precision]["optimizations"] = [tf.lite.Optimize.DEFAULT]
    image = keras.InputSpec(shape=(1, *model.input_shape[1:]), dtype="float32", name="image")
    model.export(path, "litert", verbose=False, input_signature=[image], **options[precision])


def main(source: str, target: str, path: str) -> None:
    """Reads the .keras file `source` and writes `path`."""
    if target == "saved_model":
        keras.saving.load_model(source).export(path, "tf_saved_model", verbose=False)
    else:
        model = keras.saving.load_model(source, custom_objects={"Conv2D": Conv2D})
        _write_litert(model, target, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
