"""Measures each stage of a training on this machine, and names the bottleneck.

    parse       landmarks.csv to points
    decode      image files to crops, on one core
    prepare     everything that is done once with the images before training
    read        batches of cached crops, as they are
    augment     batches augmented online, and what one process does alone
    predict     a batch through the network
    train       a train step: forward, backward, update
    compile     XLA compiles the train step
    first_step  a process starts and has trained one step; without and with earlier compilations

The bottleneck is the slowest of the stages that every train step needs: read, train and, with
--augment_online, augment. Without --data synthetic faces are used, otherwise the first images of
--data. The flags of the training mean the same as for `train`. --stages selects stages; --seconds
is the minimum time for each measurement.

Examples:

    make benchmark                  # synthetic faces, ResNeXt50; 5 minutes
    python -m keras_landmarks.benchmark --data=contest --stages=read,augment,train
    python -m keras_landmarks.benchmark --data=faces --model=resnet18 --batch_size=64

For comparison, 2 cores of a shared AMD EPYC (Zen 4, AVX-512), 128 px, float32:

    ResNeXt50 32x4d, batch 16        train 13.9, predict 48.6 images/s
    ResNet18, batch 16               train 43.9, predict 182 images/s
    parse                            19,830 rows/s on one core; the contest's baseline 571
    prepare                          1,816 images/s
    read, batches of 256             65,450 images/s; decoding every time 2,916 on one core
    augment, batches of 256          4,475 images/s with 2 workers; one process alone 2,667
    first_step                       40 s; 14 s with the compilation cache

Other work on the machine changes such rates by a tenth.
"""

import contextlib
import os
import platform
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from keras_landmarks import flags
from keras_landmarks.benchmarks.stages import STAGES
from keras_landmarks.benchmarks.workload import Workload
from keras_landmarks.contest import locations
from keras_landmarks.settings import BenchmarkSettings, TrainSettings
from keras_landmarks.synthetic.dataset import synthesize_dataset
from keras_landmarks.utils import cores
from keras_landmarks.utils.errors import InputError

FLAGS = flags.use(TrainSettings, BenchmarkSettings)

_SYNTHETIC_FACES = 512

# Result -> unit and meaning, in the order of the table.
_MEANINGS = {
    "parse_rows_per_s": ("rows/s", "landmarks.csv to points, one core"),
    "decode_images_per_s": ("images/s", "image file to crop, one core"),
    "prepare_images_per_s": ("images/s", "done once, before training"),
    "read_images_per_s": ("images/s", "in batches for the model"),
    "augment_images_per_s": ("images/s", "augmented online, in batches, all cores"),
    "augment_one_process_images_per_s": ("images/s", "augmented online, one process alone"),
    "predict_images_per_s": ("images/s", "through the network"),
    "train_images_per_s": ("images/s", "forward, backward, update"),
    "compile_s": ("s", "XLA on the train step, nothing cached"),
    "first_step_s": ("s", "from the start of the process, nothing cached"),
    "first_step_warm_s": ("s", "the same with the compilation cache"),
}


def main(_) -> dict[str, Any]:
    """Reads the flags, prints the table, returns the results."""
    flags.use_huge_pages()
    results = benchmark(flags.read(TrainSettings), FLAGS.stages or list(STAGES), FLAGS.seconds)
    print(table(results))
    return results


def benchmark(
    settings: TrainSettings, stages: Sequence[str], seconds: float = BenchmarkSettings.seconds
) -> dict[str, Any]:
    """Measures stages, on synthetic faces if the settings name no data.

    Args:
        settings: the training to measure.
        stages: keys of `STAGES`.
        seconds: how long to measure each rate.

    Returns:
        Results by the keys of the table, `bottleneck`, and what was measured on which machine.

    Raises:
        InputError: there is no such stage or model, or the data is not right.
    """
    if unknown := [name for name in stages if name not in STAGES]:
        raise InputError(f"--stages={unknown[0]}: choose from {','.join(STAGES)}")
    measured = {}
    with open_workload(settings, seconds) as workload:
        for name in stages:
            logging.info("measuring %s", name)
            measured |= STAGES[name](workload)
    results = {name: float(f"{measured[name]:.4g}") for name in _MEANINGS if name in measured}
    results["bottleneck"] = bottleneck(results, settings.augmentation.augment_online)
    return results | describe_training(settings) | describe_machine()


def bottleneck(results: dict[str, float], augment_online: Sequence[str]) -> str | None:
    """Returns the slowest measured stage of those that every train step needs."""
    needed = ["read", "augment", "train"] if augment_online else ["read", "train"]
    rates = {name: results.get(f"{name}_images_per_s") for name in needed}
    return min((name for name in needed if rates[name]), key=rates.get, default=None)


def table(results: dict[str, Any]) -> str:
    """Returns the results as text: key, value, unit and meaning."""
    rows = [
        f"{name:<34}{_format(results[name]):>8} {unit:<9} {meaning}"
        for name, (unit, meaning) in _MEANINGS.items()
        if name in results
    ]
    return "\n".join([*rows, f"bottleneck: {results['bottleneck'] or 'not measured'}"])


def _format(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


@contextlib.contextmanager
def open_workload(settings: TrainSettings, seconds: float) -> Iterator[Workload]:
    """Yields what the stages measure, synthetic faces if the settings name no data.

    Logs a warning if the machine is busy. The workload's temporary files are removed at the end.
    """
    load = os.getloadavg()[0]  # before this process adds to it
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        data = _contest_folder(settings, Path(scratch))
        workload = Workload(settings, data, Path(scratch), seconds)
        _warn_if_busy(load)
        yield workload


def _contest_folder(settings: TrainSettings, scratch: Path) -> Path:
    """Returns the folder of the data, synthetic faces if the settings name none."""
    if settings.files.data:
        locations.find_image_folder(Path(settings.files.data), "train")
        return Path(settings.files.data)
    faces = scratch / "faces"
    synthesize_dataset(faces, _SYNTHETIC_FACES, test_images=1, processes=settings.run.processes)
    return faces


def _warn_if_busy(load: float) -> None:
    if load > cores.usable() / 2:
        logging.warning(
            "the machine is busy (load %.1f on %d cores): rates will be low and ratios unfair",
            load,
            cores.usable(),
        )


def describe_training(settings: TrainSettings) -> dict[str, Any]:
    """Returns the settings on which the results depend most, for the JSON line."""
    names = ("model", "image_size", "batch_size", "precision", "loss", "head", "optimizer")
    values = settings.by_name()
    return {name: values[name] for name in names}


def describe_machine() -> dict[str, Any]:
    """Returns the processor, the number of cores and the devices, for the JSON line."""
    import jax

    device = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    return {"processor": _processor(), "cores": cores.usable(), "device": device}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    flags.run(main)
