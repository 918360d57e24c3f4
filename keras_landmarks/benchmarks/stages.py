"""The stages of a training, each measured alone.

Each stage takes the workload and returns its results by their keys in the JSON line.
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

from keras_landmarks.benchmarks.timing import calls_per_second, in_fresh_process, median_call_time
from keras_landmarks.benchmarks.workload import Workload, new_network, new_training_model
from keras_landmarks.contest import landmark_tables, listed_images, locations
from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.input.augment_pool import AugmentPool
from keras_landmarks.input.head_turning import CHECKED_FACES, find_head
from keras_landmarks.layouts import layout
from keras_landmarks.settings import AUGMENTATIONS, TrainSettings
from keras_landmarks.utils import runtime
from keras_landmarks.utils.chunks import evenly_spread

Results = dict[str, float]
_TABLE_ROWS = 4000


# ── data ──


def parse(workload: Workload) -> Results:
    """Reads landmarks.csv on one core, its rows repeated until there are 4,000."""
    table = workload.scratch / "landmarks.csv"
    source = locations.find_landmarks(workload.data, "train")
    rows = _repeat_rows(source, table, _TABLE_ROWS)

    def read():
        for _ in landmark_tables.iterate_landmarks(table):
            pass

    return {"parse_rows_per_s": rows * calls_per_second(read, workload.seconds)}


def _repeat_rows(source: Path, target: Path, count: int) -> int:
    """Writes a table of `count` rows, those of `source` in turn; returns `count`."""
    with source.open("rb") as table, target.open("wb") as repeated:
        repeated.write(table.readline())
        rows = [row.rstrip(b"\r\n") + b"\n" for row in itertools.islice(table, count)]
        repeated.writelines(itertools.islice(itertools.cycle(rows), count))
    return count


def decode(workload: Workload) -> Results:
    """Decodes image files and crops them, on one core."""
    samples = workload.samples
    names, crop_spec = itertools.cycle(samples.file_names), CropSpec.of(workload.settings.crop)

    def decode_next():
        crop_spec.apply(listed_images.read_image(samples.image_folder, next(names)))

    with _one_opencv_thread():
        return {"decode_images_per_s": calls_per_second(decode_next, workload.seconds)}


def prepare(workload: Workload) -> Results:
    """Decodes and crops all images and writes the cache of crops, on all cores."""
    # Imported before the measurement starts, because the import takes seconds.
    from keras_landmarks.input import cache  # noqa: F401

    images = len(workload.samples)
    with tempfile.TemporaryDirectory(dir=workload.scratch) as prepared:
        started = time.perf_counter()
        workload.prepare(Path(prepared))
        return {"prepare_images_per_s": images / (time.perf_counter() - started)}


def read(workload: Workload) -> Results:
    """Reads whole batches from the cache of crops, without augmentation."""
    return {"read_images_per_s": _batches_rate(workload)}


def augment(workload: Workload) -> Results:
    """Augments images and points online: whole batches on all cores, then in one process alone."""
    from keras_landmarks.input.augmentation import online_augmenter

    settings, points = workload.settings, workload.samples.num_landmarks
    is_contest = points == layout.CONTEST_POINTS
    mirror_map = layout.mirror_map() if is_contest else None
    augmentation, head = settings.augmentation, None
    if not augmentation.augment_online:  # then all kinds, to show what they cost
        kinds = [kind for kind in AUGMENTATIONS if is_contest or kind != "turn"]
        augmentation = dataclasses.replace(augmentation, augment_online=tuple(kinds))
    if "turn" in augmentation.augment_online:
        rows = evenly_spread(len(workload.samples), CHECKED_FACES)
        faces = workload.samples.landmarks_photo_px[rows]
        head = find_head(points, workload.data / layout.FILE_NAME, faces)
    make_augmenter = functools.partial(online_augmenter, augmentation, mirror_map, head)
    seeds, pairs = itertools.count(), itertools.cycle(zip(*workload.batch[:2], strict=True))
    augmenter = make_augmenter()

    def augment_next():
        augmenter(*next(pairs), next(seeds))

    with _one_opencv_thread():
        alone = calls_per_second(augment_next, workload.seconds)
    sizes = (CropSpec.of(settings.crop), points, settings.run.batch_size, settings.run.processes)
    with AugmentPool(make_augmenter, *sizes) as pool:
        together = _batches_rate(workload, pool)
    return {"augment_images_per_s": together, "augment_one_process_images_per_s": alone}


def _batches_rate(workload: Workload, augment_pool: AugmentPool | None = None) -> float:
    """Returns the images per second that arrive in batches."""
    batches = workload.batches(augment_pool).as_numpy_iterator()
    rate = calls_per_second(lambda: next(batches), workload.seconds)
    return workload.settings.run.batch_size * rate


@contextlib.contextmanager
def _one_opencv_thread() -> Iterator[None]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


# ── model ──


def predict(workload: Workload) -> Results:
    """Predicts a batch from memory to memory, as `predict` does."""
    return {"predict_images_per_s": _step_rate(predict_step(workload), workload)}


def train(workload: Workload) -> Results:
    """Takes train steps on a batch in memory: forward, backward, and the optimiser's update."""
    return {"train_images_per_s": _step_rate(train_step(workload), workload)}


def predict_step(workload: Workload) -> Callable[[], None]:
    """Returns a function that predicts the workload's batch."""
    from keras_landmarks.models.folding import fold_batch_norm

    network = new_network(workload.settings, workload.samples.num_landmarks)
    model, images = fold_batch_norm(network), workload.batch[0]

    def step():
        model.predict_on_batch(images)

    return step


def train_step(workload: Workload) -> Callable[[], None]:
    """Returns a function that takes one train step on the workload's batch."""
    import jax

    from keras_landmarks.training import training_model

    model = new_training_model(workload.settings, workload.samples.num_landmarks)
    function, state = training_model.train_step(model)
    compiled, batch = jax.jit(function, donate_argnums=0), workload.batch

    def step():
        nonlocal state
        _, state = compiled(state, batch)
        jax.block_until_ready(state)

    return step


def _step_rate(step: Callable[[], None], workload: Workload) -> float:
    """Returns images per second."""
    return workload.settings.run.batch_size / median_call_time(step, workload.seconds)


def compile_step(workload: Workload) -> Results:
    """Traces and compiles the train step in a process that has compiled nothing yet."""
    return {"compile_s": in_fresh_process(_compile_seconds, workload.settings, workload.batch)}


def _compile_seconds(settings: TrainSettings, batch: tuple[np.ndarray, ...]) -> float:
    import jax

    from keras_landmarks.training import training_model

    runtime.use_compilation_cache("")
    function, state = training_model.train_step(new_training_model(settings, batch[1].shape[1]))
    started = time.perf_counter()
    jax.jit(function, donate_argnums=0).lower(state, batch).compile()
    return time.perf_counter() - started


def first_step(workload: Workload) -> Results:
    """Starts a process that trains one step, then another that finds what the first has cached.

    The time includes imports, and checking and preparing the images of a batch.
    """
    results = {}
    with tempfile.TemporaryDirectory(dir=workload.scratch) as scratch:
        batch_size = workload.settings.run.batch_size
        small = dataclasses.replace(workload, scratch=Path(scratch), max_images=batch_size)
        for key in ("first_step_s", "first_step_warm_s"):
            started = time.time()
            results[key] = in_fresh_process(_train_first_step, small) - started
    return results


def _train_first_step(workload: Workload) -> float:
    """Trains one step with `fit`, compilations kept in `scratch`; returns the time of its end."""
    from keras_landmarks.models.keras_on_jax import keras

    runtime.use_compilation_cache(str(workload.scratch / "compiled"))
    ends = []
    note_time = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda *_, **__: ends.append(time.time())
    )
    model = new_training_model(workload.settings, workload.samples.num_landmarks)
    batches = workload.batches()
    model.fit(batches, steps_per_epoch=1, shuffle=False, verbose=0, callbacks=[note_time])
    return ends[0]


STAGES: dict[str, Callable[[Workload], Results]] = {
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
