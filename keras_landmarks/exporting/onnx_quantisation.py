"""Quantises ONNX models to int8 by ONNX Runtime's tools."""

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnxruntime import quantization

from keras_landmarks.models.onnx.graph import INPUT


def quantise(model: onnx.ModelProto, images: np.ndarray) -> onnx.ModelProto:
    """Returns the model with its convolutions in int8.

    The head stays float32: 256 steps over an image would be half a pixel each.

    Args:
        model: made by `keras_to_onnx`.
        images: (N, height, width, 3) float32, from which the ranges of activations are taken.
    """
    with tempfile.TemporaryDirectory() as folder, _no_warnings():
        path = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            model,
            path,
            _CalibrationImages(images),
            op_types_to_quantize=["Add", "Conv", "MaxPool", "Mul", "Relu"],
            activation_type=quantization.QuantType.QUInt8,
            per_channel=True,
        )
        return onnx.load(path)


@contextlib.contextmanager
def _no_warnings() -> Iterator[None]:
    """Within, ONNX Runtime does not recommend to preprocess the model, which is not needed here."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


class _CalibrationImages(quantization.CalibrationDataReader):
    """Feeds images to ONNX Runtime's calibration, one by one."""

    def __init__(self, images: np.ndarray):
        self._remaining = iter(images)

    def get_next(self) -> dict | None:
        image = next(self._remaining, None)
        return None if image is None else {INPUT: image[None]}
