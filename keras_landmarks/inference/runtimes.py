"""What runs a trained network: OpenCV for photos and videos, XLA for the images of a split.

OpenCV starts at once, on any CPU: the graph is made of the weights in a tenth of a second, and
Keras, JAX and a compiler are left out. XLA takes seconds to start, then predicts large batches
twice as fast on a CPU and uses accelerators. Their predictions are equal to 1e-3 px.
"""

import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from keras_landmarks.models import registry, weight_files
from keras_landmarks.models.onnx.resnet import resnet_to_onnx, weight_shapes
from keras_landmarks.models.spec import ModelSpec, read_spec
from keras_landmarks.utils.chunks import in_chunks

# From N > 0 crops, (N, height, width, 3), RGB from 0 to 255, to landmarks, (N, k, 2 or 3) float32,
# in pixels of the crop, the third value the log variance. Threads may share it.
Network = Callable[[np.ndarray], np.ndarray]

# More crops at once take more time for each, because their feature maps do not fit in the caches:
# 10 ms for each of 4, 17 ms for each of 64.
_OPENCV_BATCH = 4


def load_for_photos(workdir: str | Path) -> tuple[ModelSpec, Network]:
    """Loads a trained network to run in OpenCV.

    Args:
        workdir: a work directory, a model in one file, or the name of a packaged model.

    Raises:
        InputError: there is no model, or its weights are missing, broken or of another model.
    """
    spec = read_spec(workdir)
    if spec.model in registry.RESNETS:
        weights = weight_files.read_arrays(workdir)
        weight_files.check_shapes(weights, weight_shapes(spec), workdir)
        graph = resnet_to_onnx(spec, weights)
    else:  # Keras knows the structure of its own networks.
        from keras_landmarks.models.keras_models import load_trained
        from keras_landmarks.models.onnx.keras_layers import keras_to_onnx
        from keras_landmarks.models.stock_layers import stock_model

        graph = keras_to_onnx(stock_model(load_trained(workdir)[1]))
    return spec, _OpenCVNetwork(graph.SerializeToString())


def load_for_splits(workdir: str | Path) -> tuple[ModelSpec, Network]:
    """Loads a trained network to run in XLA, on an accelerator if there is one.

    Args:
        workdir: as `load_for_photos` takes it.

    Raises:
        InputError: as `load_for_photos`; or Keras runs on a backend other than JAX.
    """
    from keras_landmarks.models.folding import fold_batch_norm
    from keras_landmarks.models.keras_models import load_trained
    from keras_landmarks.models.keras_settings import pinned_settings

    spec, model = load_trained(workdir)
    return spec, pinned_settings()(fold_batch_norm(model).predict_on_batch)


class _OpenCVNetwork:
    def __init__(self, onnx_model: bytes):
        self._network = cv2.dnn.readNetFromONNX(np.frombuffer(onnx_model, np.uint8))
        self._lock = threading.Lock()  # a network holds its input and its output

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Predicts crops in small batches."""
        predicted = []
        for chunk in in_chunks(crops, _OPENCV_BATCH):
            with self._lock:
                self._network.setInput(chunk.astype(np.float32))
                predicted.append(self._network.forward())
        return np.concatenate(predicted)
