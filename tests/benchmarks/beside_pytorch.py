"""Measures a ResNet beside the same network in PyTorch: images per second and their ratio.

Both take the same batch in turns, in float32 by the original recipe (mean squared error, Adam with
AMSGrad). PyTorch runs in a process of its own, channels last, with oneDNN on the CPU: what its
users get without compiling anything. The JSON line is the last on standard output.

Needs PyTorch: .venv/bin/pip install "torch>=2.4,<3"

Examples:

    .venv/bin/python tests/benchmarks/beside_pytorch.py --batch_size=16 --seconds=20
    .venv/bin/python tests/benchmarks/beside_pytorch.py --model=resnet18 --stages=train
"""

import functools
import importlib.util
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np

from keras_landmarks import flags
from keras_landmarks.benchmark import describe_machine, describe_training, open_workload
from keras_landmarks.benchmarks import stages
from keras_landmarks.benchmarks.timing import fresh_process, time_calls
from keras_landmarks.benchmarks.workload import Workload
from keras_landmarks.models import registry
from keras_landmarks.settings import BenchmarkSettings, TrainSettings
from keras_landmarks.utils import cores, process, runtime
from keras_landmarks.utils.errors import InputError

FLAGS = flags.use("data", "model", "image_size", "batch_size", "stages", "seconds")

RECIPE = {
    "precision": "float32",
    "loss": "mse",
    "head": "linear",
    "optimizer": "adam",
    "grad_clip_norm": 0.0,
    "grad_accum_steps": 1,
    "ema_momentum": 0.0,
    "average_last_epochs": 0,
}
# By the name of a stage: a function that runs one step of ours.
OUR_STEPS = {"predict": stages.predict_step, "train": stages.train_step}

_MIN_ROUNDS, _ROUND_S, _MIN_STEPS_PER_ROUND = 3, 1.0, 5

_trainer = None  # in the PyTorch process: the `TorchTrainer`


def main(_) -> dict[str, Any]:
    """Reads the flags, prints a table, returns the results."""
    results = compare(flags.read(TrainSettings), FLAGS.stages or list(OUR_STEPS), FLAGS.seconds)
    for name, value in results.items():
        print(f"{name:<30} {value}")
    return results


def compare(
    settings: TrainSettings, names: Sequence[str], seconds: float = BenchmarkSettings.seconds
) -> dict[str, Any]:
    """Measures our network and PyTorch's in turns.

    Args:
        settings: data, model, image size and batch size; the rest is the recipe's.
        names: of the stages: predict, train.
        seconds: how long to measure each rate.

    Returns:
        <stage>_images_per_s of ours, peer_<stage>_images_per_s of PyTorch, <stage>_to_peer (ours
        over PyTorch's), and what was measured on which machine.

    Raises:
        InputError: PyTorch is not installed, or has no such model; there is no such stage.
    """
    if importlib.util.find_spec("torch") is None:
        raise InputError('PyTorch is missing: .venv/bin/pip install "torch>=2.4,<3"')
    if settings.network.model not in registry.RESNETS:
        model = settings.network.model
        raise InputError(f"--model={model}: choose from {', '.join(registry.RESNETS)}")
    if unknown := [name for name in names if name not in OUR_STEPS]:
        raise InputError(f"--stages={unknown[0]}: choose from {','.join(OUR_STEPS)}")
    settings = settings.replace(**RECIPE)
    with open_workload(settings, seconds) as workload:
        results = measure(workload, names)
    results = {name: float(f"{value:.4g}") for name, value in results.items()}
    return results | describe_training(settings) | describe_machine()


def measure(workload: Workload, names: Sequence[str]) -> dict[str, float]:
    """Returns the rates and ratios of `compare`."""
    import jax

    device = "cuda" if jax.default_backend() == "gpu" else "cpu"
    model, results = workload.settings.network.model, {}
    with TorchProcess(model, workload.batch[:2], cores.usable(), device) as pytorch:
        for name in names:
            ours = functools.partial(time_calls, OUR_STEPS[name](workload))
            theirs = functools.partial(pytorch.time_steps, name)
            rounds = take_turns([ours, theirs], workload.seconds)
            rates = workload.settings.run.batch_size / np.median(rounds, axis=0)
            results[f"{name}_images_per_s"], results[f"peer_{name}_images_per_s"] = rates
            results[f"{name}_to_peer"] = np.median(rounds[:, 1] / rounds[:, 0])
    return results


def take_turns(runners: Sequence[Callable[[int], list[float]]], seconds: float) -> np.ndarray:
    """Measures runners in turns, round by round, for at least `seconds` and three rounds.

    Whatever slows the machine down for a while then slows all the runners alike. A turn has several
    steps, as the first after a pause is slow: memory has to come back from the system, data to the
    caches.

    Args:
        runners: each takes a number of steps and returns the seconds that each step took.
        seconds: for all of them together, not counting the warm-up.

    Returns:
        (rounds, runners) median duration of a step, in seconds.
    """
    for runner in runners:
        runner(1)
    steps = max(_MIN_STEPS_PER_ROUND, round(_ROUND_S / max(*runners[0](2), 1e-6)))
    until, rounds = time.perf_counter() + seconds, []
    while len(rounds) < _MIN_ROUNDS or time.perf_counter() < until:
        rounds.append([np.median(runner(steps)) for runner in runners])
    return np.array(rounds)


class TorchProcess:
    """A process with a `TorchTrainer`, idle until it is asked for steps; ends with the context."""

    def __init__(self, model: str, batch: tuple[np.ndarray, np.ndarray], threads: int, device: str):
        """Starts the process, with random weights.

        Args:
            model: key of `registry.RESNETS`.
            batch: images (N, H, W, 3) uint8 and landmarks (N, points, 2) float32.
            threads: of PyTorch.
            device: PyTorch's name of it.
        """
        arguments = (model, batch, threads, device)
        self._process = fresh_process(initializer=_start, initargs=arguments)
        # PyTorch's users do not have the huge pages that our commands ask for.
        without = os.environ.get("GLIBC_TUNABLES", "").replace("glibc.malloc.hugetlb=1", "")
        with process.environment(GLIBC_TUNABLES=without.strip(":")):
            self.time_steps("predict", 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.shutdown()

    def time_steps(self, name: str, steps: int) -> list[float]:
        """Runs steps of "train" or "predict"; returns the duration of each, in seconds."""
        try:
            return self._process.submit(_time_steps, name, steps).result()
        except BrokenProcessPool:
            raise InputError(
                "the process with PyTorch ended; if memory ran out, try a smaller --batch_size"
            ) from None


def _start(model: str, batch: tuple[np.ndarray, np.ndarray], threads: int, device: str) -> None:
    global _trainer
    from torch_resnet import TorchTrainer

    _trainer = TorchTrainer(registry.RESNETS[model], batch, threads, device)


def _time_steps(name: str, steps: int) -> list[float]:
    return time_calls(getattr(_trainer, name), steps)


if __name__ == "__main__":
    # As a command of the package does.
    process.set_up()
    runtime.set_xla_cpu_flags()
    runtime.use_huge_pages()
    flags.run(main)
