"""Measures each stage of a training on this machine, and names the bottleneck.

    parse       landmarks.csv to points
    decode      image files to crops, on one core
    prepare     everything that is done once with the images before training
    read        batches of images that come to the model as they are
    augment     batches varied online, and what one process does alone
    predict     a batch through the network
    train       a train step: forward, backward, update
    compile     XLA compiles the train step
    first_step  a process starts and has trained one step; without and with earlier compilations

Works on the first images of --data, or else on procedural faces, and trains as `train` does with
the same flags. With --peer=torch the same network runs under PyTorch beside ours, in turns, by the
recipe. With --aot the train step is compiled for a TPU topology, --batch_size images on each chip,
and nothing is timed.

Examples:

    python -m keras_landmarks.benchmark --batch_size=16 --peer=torch
    python -m keras_landmarks.benchmark --data=contest --stages=read,augment,train
    python -m keras_landmarks.benchmark --aot=v5e:2x2 --precision=mixed_bfloat16
"""

import contextlib
import os
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import logging

from keras_landmarks import config
from keras_landmarks.benchmarks import peer
from keras_landmarks.benchmarks.aot import compile_ahead
from keras_landmarks.benchmarks.stages import STAGES
from keras_landmarks.benchmarks.workload import BenchmarkSettings, Workload
from keras_landmarks.contest import locations
from keras_landmarks.models import registry
from keras_landmarks.synthesize import synthesize
from keras_landmarks.utils import cores
from keras_landmarks.utils.errors import InputError

FLAGS = config.use(BenchmarkSettings, "stages", "peer", "aot")

_BUILT_IN_FACES = 512

# What makes a train step, as the peer takes it.
_RECIPE = {
    "precision": "float32",
    "loss": "mse",
    "head": "linear",
    "optimizer": "adam",
    "clip_norm": 0.0,
    "accumulate": 1,
    "ema_momentum": 0.0,
    "average_last_epochs": 0,
}

# Figure -> unit and meaning, in the order of the table.
_MEANINGS = {
    "parse_rows_per_s": ("rows/s", "landmarks.csv to points, one core"),
    "decode_images_per_s": ("images/s", "image file to crop, one core"),
    "prepare_images_per_s": ("images/s", "done once, before training"),
    "read_images_per_s": ("images/s", "in batches for the model"),
    "augment_images_per_s": ("images/s", "varied online, in batches, all cores"),
    "augment_one_process_images_per_s": ("images/s", "varied online, one process alone"),
    "predict_images_per_s": ("images/s", "through the network"),
    "peer_predict_images_per_s": ("images/s", "the same with PyTorch"),
    "predict_to_peer": ("times", "as fast as PyTorch"),
    "train_images_per_s": ("images/s", "forward, backward, update"),
    "peer_train_images_per_s": ("images/s", "the same with PyTorch"),
    "train_to_peer": ("times", "as fast as PyTorch"),
    "compile_s": ("s", "XLA on the train step, nothing cached"),
    "first_step_s": ("s", "from the start of the process, nothing cached"),
    "first_step_warm_s": ("s", "the same with the compilation cache"),
}


def main(_) -> dict[str, Any]:
    """Reads the flags, prints the table, returns the figures."""
    config.use_huge_pages()
    settings = config.read(BenchmarkSettings)
    if FLAGS.aot:
        figures = compile_ahead(FLAGS.aot, settings) | _model(settings)
        print(aot_table(figures))
    else:
        figures = benchmark(settings, FLAGS.stages or list(STAGES), FLAGS.peer)
        print(table(figures))
    return figures


def benchmark(
    settings: BenchmarkSettings, stages: Sequence[str], peer_name: str | None = None
) -> dict[str, Any]:
    """Measures the stages of these names, on procedural faces if the settings name no data.

    Args:
        settings: what to measure, and for how long.
        stages: keys of `STAGES`.
        peer_name: "torch", "auto" (PyTorch if it is installed) or None.

    Returns:
        Figures by the keys of the table, `bottleneck`, and what was measured on which machine.

    Raises:
        InputError: there is no such stage or model, the data is not right, or PyTorch is missing.
    """
    if unknown := [name for name in stages if name not in STAGES]:
        raise InputError(f"--stages={unknown[0]}: choose from {','.join(STAGES)}")
    registry.check_model_name(settings.model)
    if peer_name and settings.model not in registry.RESNETS:
        raise InputError(f"--peer={peer_name} has {', '.join(registry.RESNETS)} only")
    load = os.getloadavg()[0]  # before this command adds to it
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        workload = Workload(settings, _data(settings, Path(scratch)), Path(scratch))
        _warn_if_busy(load)
        figures = _measure(workload, stages, peer_name)
    figures = {name: float(f"{figures[name]:.4g}") for name in _MEANINGS if name in figures}
    figures["bottleneck"] = bottleneck(figures, settings.augment_online)
    return figures | _model(settings) | _machine()


def bottleneck(figures: dict[str, float], augment_online: list[str]) -> str | None:
    """Returns the slowest measured stage of those that every train step needs."""
    needed = ["read", "augment", "train"] if augment_online else ["read", "train"]
    rates = {name: figures.get(f"{name}_images_per_s") for name in needed}
    return min((name for name in needed if rates[name]), key=rates.get, default=None)


def table(figures: dict[str, Any]) -> str:
    """Returns the figures for reading: key, value, unit, and what it means."""
    rows = [
        f"{name:<34}{_readable(figures[name]):>8} {unit:<9} {meaning}"
        for name, (unit, meaning) in _MEANINGS.items()
        if name in figures
    ]
    return "\n".join([*rows, f"bottleneck: {figures['bottleneck'] or 'not measured'}"])


def _readable(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def aot_table(figures: dict[str, Any]) -> str:
    """Returns what `compile_ahead` found for reading."""
    rows = [
        f"a chip of {figures['aot_topology']}, one train step:",
        f"{figures['aot_flops']:14,.0f} FLOP",
        f"{figures['aot_bytes']:14,.0f} bytes to and from memory",
        f"{figures['aot_memory_bytes_per_chip']:14,.0f} bytes of memory",
        "between chips:",
    ]
    return "\n".join(
        rows + [f"{c['count']:4} x {c['op']} {c['shape'][:70]}" for c in figures["aot_collectives"]]
    )


def _data(settings: BenchmarkSettings, scratch: Path) -> Path:
    """Returns the contest folder to measure on, drawn if the settings name none."""
    if settings.data:
        locations.find_image_folder(Path(settings.data), "train")
        return Path(settings.data)
    synthesize(scratch / "faces", _BUILT_IN_FACES, test_images=1, processes=settings.processes)
    return scratch / "faces"


def _measure(workload: Workload, stages: Sequence[str], peer_name: str | None) -> dict[str, float]:
    figures = {}
    with _open_peer(workload, stages, peer_name) as opened:
        for name in stages:
            logging.info("measuring %s", name)
            figures |= STAGES[name](workload, opened)
    return figures


def _open_peer(workload: Workload, stages: Sequence[str], peer_name: str | None):
    """Returns a context manager with the peer, or with None where none is asked for."""
    wanted = peer_name == "torch" or (peer_name == "auto" and peer.is_installed())
    if not wanted or not {"train", "predict"} & set(stages):
        return contextlib.nullcontext()
    settings = workload.settings
    for name, value in _RECIPE.items():
        if getattr(settings, name) != value:
            raise InputError(f"--peer compares the recipe, in float32: leave --{name} as it is")
    import jax

    device = "cuda" if jax.default_backend() == "gpu" else "cpu"
    return peer.Peer(settings.model, workload.batch[:2], cores.usable(), device)


def _warn_if_busy(load: float) -> None:
    if load > cores.usable() / 2:
        logging.warning(
            "the machine is busy (load %.1f on %d cores): rates will be low and ratios unfair",
            load,
            cores.usable(),
        )


def _model(settings: BenchmarkSettings) -> dict[str, Any]:
    """What was measured."""
    names = ("model", "image_size", "batch_size", "precision", "loss", "head", "optimizer")
    return {name: getattr(settings, name) for name in names}


def _machine() -> dict[str, Any]:
    """What it was measured on."""
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
    config.run(main)
