"""The same network in PyTorch, in a process of its own that idles until it is asked for steps.

Channels last and oneDNN on the CPU, float32, Adam with AMSGrad, mean squared error: what a PyTorch
user gets without compiling anything.
"""

import importlib.util
from concurrent.futures.process import BrokenProcessPool

import numpy as np

from keras_landmarks.benchmarks.timing import fresh_process, time_calls
from keras_landmarks.utils import huge_pages
from keras_landmarks.utils.errors import InputError

_trainer = None  # in the peer's process: what it was started for


def is_installed() -> bool:
    """Whether there is a PyTorch to compare with."""
    return importlib.util.find_spec("torch") is not None


class Peer:
    """A network of the family under PyTorch; a context manager that ends its process."""

    def __init__(self, model: str, batch: tuple[np.ndarray, np.ndarray], threads: int, device: str):
        """Starts it with random weights on a batch of images and landmarks.

        Raises:
            InputError: PyTorch is not installed.
        """
        if not is_installed():
            raise InputError('--peer=torch: PyTorch is missing: pip install -e ".[peer]"')
        arguments = (model, batch, threads, device)
        self._process = fresh_process(initializer=_start, initargs=arguments)
        with huge_pages.without():  # as it is for whoever uses PyTorch
            self._time("predict", 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.shutdown()

    def train(self, steps: int) -> list[float]:
        """Takes train steps; returns the seconds of each."""
        return self._time("train", steps)

    def predict(self, steps: int) -> list[float]:
        """Predicts the batch so many times; returns the seconds of each."""
        return self._time("predict", steps)

    def _time(self, what: str, steps: int) -> list[float]:
        try:
            return self._process.submit(_time, what, steps).result()
        except BrokenProcessPool:
            raise InputError(
                "the process with PyTorch ended; if memory ran out, try a smaller --batch_size"
            ) from None


def _start(model: str, batch: tuple[np.ndarray, np.ndarray], threads: int, device: str) -> None:
    global _trainer
    from keras_landmarks.benchmarks.torch_resnet import TorchTrainer
    from keras_landmarks.models import registry

    _trainer = TorchTrainer(registry.RESNETS[model], batch, threads, device)


def _time(what: str, steps: int) -> list[float]:
    return time_calls(getattr(_trainer, what), steps)
