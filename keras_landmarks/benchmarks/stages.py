"""The stages of a training, each measured alone.

A stage takes the workload, and perhaps a peer, to figures by the keys of the JSON line.
"""

import contextlib
import dataclasses
import functools
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from keras_landmarks.benchmarks.peer import Peer
from keras_landmarks.benchmarks.timing import (
    calls_per_second,
    in_fresh_process,
    take_turns,
    time_calls,
)
from keras_landmarks.benchmarks.workload import (
    BenchmarkSettings,
    Workload,
    new_network,
    new_objective,
)
from keras_landmarks.contest import landmark_tables, listed_images, locations
from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.input.augment_pool import AugmentPool
from keras_landmarks.input.augmentation_config import AugmentationConfig
from keras_landmarks.layouts import layout
from keras_landmarks.utils import compilation_cache

Figures = dict[str, float]
_TABLE_ROWS = 4000


# ── data ──


def parse(workload: Workload, _peer: Peer | None) -> Figures:
    """Reads landmarks.csv, its rows repeated to some thousands if it is shorter, on one core."""
    table = workload.scratch / "landmarks.csv"
    source = locations.find_landmarks(workload.data, "train")
    rows = _repeat_rows(source, table, _TABLE_ROWS)

    def read():
        for _ in landmark_tables.iterate_landmarks(table):
            pass

    return {"parse_rows_per_s": rows * calls_per_second(read, workload.settings.seconds)}


def _repeat_rows(source: Path, target: Path, count: int) -> int:
    """Writes the first `count` rows of a table, over and over if it has fewer; returns `count`."""
    with source.open("rb") as table, target.open("wb") as repeated:
        repeated.write(table.readline())
        rows = [row.rstrip(b"\r\n") + b"\n" for row in itertools.islice(table, count)]
        repeated.writelines(itertools.islice(itertools.cycle(rows), count))
    return count


def decode(workload: Workload, _peer: Peer | None) -> Figures:
    """Decodes image files and frames them, on one core."""
    samples = workload.samples
    names, frame = itertools.cycle(samples.file_names), CropSpec.of(workload.settings)

    def decode_next():
        frame.apply(listed_images.read_image(samples.image_folder, next(names)))

    with _one_opencv_thread():
        return {"decode_images_per_s": calls_per_second(decode_next, workload.settings.seconds)}


def prepare(workload: Workload, _peer: Peer | None) -> Figures:
    """Decodes, frames and writes all images into a prepared store, on all cores."""
    from keras_landmarks.input import cache  # noqa: F401 -- before the clock runs: it takes seconds

    images = len(workload.samples)
    with tempfile.TemporaryDirectory(dir=workload.scratch) as prepared:
        started = time.perf_counter()
        workload.prepare(Path(prepared))
        return {"prepare_images_per_s": images / (time.perf_counter() - started)}


def read(workload: Workload, _peer: Peer | None) -> Figures:
    """Reads whole batches from the prepared store, without variation."""
    return {"read_images_per_s": _batches_rate(workload)}


def augment(workload: Workload, _peer: Peer | None) -> Figures:
    """Varies images and points online: whole batches with all cores, and one process alone."""
    from keras_landmarks.input.augmentation import online_augmenter

    settings, points = workload.settings, workload.samples.points
    mirror_map = layout.mirror_map() if points == layout.CONTEST_POINTS else None
    how = AugmentationConfig.of(settings) if settings.augment_online else AugmentationConfig()
    make = functools.partial(online_augmenter, how, mirror_map)
    seeds, pairs = itertools.count(), itertools.cycle(zip(*workload.batch[:2], strict=True))
    augmenter = make()

    def vary_next():
        augmenter(*next(pairs), next(seeds))

    with _one_opencv_thread():
        alone = calls_per_second(vary_next, settings.seconds)
    sizes = (CropSpec.of(settings), points, settings.batch_size, settings.processes)
    with AugmentPool(make, *sizes) as pool:
        together = _batches_rate(workload, pool)
    return {"augment_images_per_s": together, "augment_one_process_images_per_s": alone}


def _batches_rate(workload: Workload, augment_pool: AugmentPool | None = None) -> float:
    """Images a second that come in batches."""
    settings = workload.settings
    batches = workload.batches(augment_pool).as_numpy_iterator()
    return settings.batch_size * calls_per_second(lambda: next(batches), settings.seconds)


@contextlib.contextmanager
def _one_opencv_thread() -> Iterator[None]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


# ── model ──


def predict(workload: Workload, peer: Peer | None) -> Figures:
    """Predicts a batch from memory to memory, as `predict` does."""
    from keras_landmarks.models.folding import fold_batch_norm

    network = new_network(workload.settings, workload.samples.points)
    model, images = fold_batch_norm(network), workload.batch[0]

    def predict_once():
        model.predict_on_batch(images)

    return _beside_peer("predict", predict_once, peer and peer.predict, workload)


def train(workload: Workload, peer: Peer | None) -> Figures:
    """Takes train steps on a batch in memory: forward, backward, and the optimiser's update."""
    import jax

    from keras_landmarks.training.step import train_step

    step, state = train_step(new_objective(workload.settings, workload.samples.points))
    compiled, batch = jax.jit(step, donate_argnums=0), workload.batch

    def train_once():
        nonlocal state
        _, state = compiled(state, batch)
        jax.block_until_ready(state)

    return _beside_peer("train", train_once, peer and peer.train, workload)


def _beside_peer(
    name: str,
    ours: Callable[[], None],
    theirs: Callable[[int], list[float]] | None,
    workload: Workload,
) -> Figures:
    """Measures in turns; the ratio is the median of the rounds'."""
    runners = [lambda steps: time_calls(ours, steps)] + ([theirs] if theirs else [])
    rounds = take_turns(runners, workload.settings.seconds)
    rates = workload.settings.batch_size / np.median(rounds, axis=0)
    figures = {f"{name}_images_per_s": rates[0]}
    if theirs:
        figures[f"peer_{name}_images_per_s"] = rates[1]
        figures[f"{name}_to_peer"] = np.median(rounds[:, 1] / rounds[:, 0])
    return figures


def compile_step(workload: Workload, _peer: Peer | None) -> Figures:
    """Traces and compiles the train step in a process that has compiled nothing yet."""
    return {"compile_s": in_fresh_process(_compile_seconds, workload.settings, workload.batch)}


def _compile_seconds(settings: BenchmarkSettings, batch: tuple[np.ndarray, ...]) -> float:
    import jax

    from keras_landmarks.training.step import train_step

    compilation_cache.use("")
    step, state = train_step(new_objective(settings, batch[1].shape[1]))
    started = time.perf_counter()
    jax.jit(step, donate_argnums=0).lower(state, batch).compile()
    return time.perf_counter() - started


def first_step(workload: Workload, _peer: Peer | None) -> Figures:
    """Starts a process and trains one step, imports and a batch's images included; then once more.

    The second process finds what the first has checked and compiled.
    """
    figures = {}
    with tempfile.TemporaryDirectory(dir=workload.scratch) as scratch:
        batch_size = workload.settings.batch_size
        small = dataclasses.replace(workload, scratch=Path(scratch), most_images=batch_size)
        for key in ("first_step_s", "first_step_warm_s"):
            started = time.time()
            figures[key] = in_fresh_process(_train_first_step, small) - started
    return figures


def _train_first_step(workload: Workload) -> float:
    """Trains one step with `fit`, compilations kept in `scratch`; returns the time it ended."""
    from keras_landmarks.models.keras_on_jax import keras

    compilation_cache.use(str(workload.scratch / "compiled"))
    ends = []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda *_, **__: ends.append(time.time())
    )
    objective = new_objective(workload.settings, workload.samples.points)
    objective.fit(workload.batches(), steps_per_epoch=1, shuffle=False, verbose=0, callbacks=[note])
    return ends[0]


STAGES = {
    "parse": parse,
    "decode": decode,
    "prepare": prepare,
    "read": read,
    "augment": augment,
    "predict": predict,
    "train": train,
    "compile": compile_step,
    "first_step": first_step,
}
