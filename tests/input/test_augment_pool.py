import multiprocessing
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.input.augment_pool import BATCHES_AT_ONCE, AugmentPool
from keras_landmarks.utils.errors import InputError

CROP_SPEC, POINTS, BATCH = CropSpec(32, 40), 971, 40
FAILS, KILLS = 10**6, 10**6 + 1  # seeds


def invert(image, landmarks_px, seed):
    """Stands in for the real augmenter, which takes seconds to import."""
    if seed == FAILS:
        raise ValueError("no such colour")
    if seed == KILLS:
        os.kill(os.getpid(), signal.SIGKILL)
    return 255 - image, landmarks_px + seed


def make_invert():
    return invert


def make_online_augmenter():
    from keras_landmarks.input.augmentation import online_augmenter
    from keras_landmarks.settings import AUGMENTATIONS, AugmentationSettings

    head = np.random.default_rng(0).normal(size=(POINTS, 3))
    return online_augmenter(AugmentationSettings(AUGMENTATIONS), np.arange(POINTS)[::-1], head)


def batch_of(count, seed=0):
    """Returns random images, landmarks and seeds."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *CROP_SPEC.shape), np.uint8)
    landmarks_px = rng.uniform(0, CROP_SPEC.width, (count, POINTS, 2)).astype(np.float32)
    return images, landmarks_px, rng.integers(0, 1000, count)


def assert_augmented(results, batch, augmenter=invert):
    samples = zip(*batch, strict=True)
    expected = [augmenter(image, points, int(seed)) for image, points, seed in samples]
    for arrays, expected_arrays in zip(results, zip(*expected, strict=True), strict=True):
        np.testing.assert_array_equal(arrays, expected_arrays)
        assert arrays.dtype == expected_arrays[0].dtype


@pytest.fixture
def pool():
    with AugmentPool(make_invert, CROP_SPEC, POINTS, BATCH, processes=2) as pool:
        yield pool


@pytest.mark.parametrize(
    ("make", "processes"),
    [(make_invert, 1), (make_invert, 2), (make_invert, 3), (make_online_augmenter, 2)],
)
def test_results_do_not_depend_on_workers(make, processes):
    with AugmentPool(make, CROP_SPEC, POINTS, BATCH, processes) as pool:
        for count in (BATCH, BATCH, 17, 1):
            batch = batch_of(count)
            assert_augmented(pool(*batch), batch, augmenter=make())


def test_inputs_are_not_changed(pool):
    images, landmarks_px, seeds = batch_of(BATCH)
    pool(images, landmarks_px, seeds)
    for array, before in zip((images, landmarks_px, seeds), batch_of(BATCH), strict=True):
        np.testing.assert_array_equal(array, before)


def test_many_threads_share_a_pool(pool):
    batches = [batch_of(BATCH - number, seed=number) for number in range(24)]
    with ThreadPoolExecutor(BATCHES_AT_ONCE + 5) as threads:
        results = list(threads.map(lambda batch: pool(*batch), batches))
    for result, batch in zip(results, batches, strict=True):
        assert_augmented(result, batch)


def test_pool_survives_an_error_in_a_worker(pool):
    images, landmarks_px, seeds = batch_of(BATCH)
    failing = np.append(seeds[1:], FAILS)
    for _ in range(2 * BATCHES_AT_ONCE):
        with pytest.raises(RuntimeError, match="ValueError: no such colour"):
            pool(images, landmarks_px, failing)
    assert_augmented(pool(images, landmarks_px, seeds), (images, landmarks_px, seeds))


def test_killed_worker_is_reported_every_time(pool):
    images, landmarks_px, seeds = batch_of(BATCH)
    killing = np.append(seeds[1:], KILLS)
    for _ in range(2 * BATCHES_AT_ONCE):
        with pytest.raises(InputError, match="--processes"):
            pool(images, landmarks_px, killing)


def test_killed_idle_worker_is_reported(pool):
    pool(*batch_of(BATCH))
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(InputError, match="--processes"):
        pool(*batch_of(BATCH))


def test_workers_do_not_exceed_the_tasks():
    before = len(multiprocessing.active_children())
    with AugmentPool(make_invert, CROP_SPEC, POINTS, 8, processes=32) as pool:
        assert len(multiprocessing.active_children()) == before + BATCHES_AT_ONCE
        batch = batch_of(8)
        assert_augmented(pool(*batch), batch)


def test_closing_ends_the_workers(pool):
    before = len(multiprocessing.active_children())
    pool.close()
    assert len(multiprocessing.active_children()) == before - 2
    with pytest.raises(RuntimeError):
        pool(*batch_of(BATCH))


# ── the ways in which the process that holds a pool may end ──


def end(how):
    """Uses a pool, prints its files in shared memory, leaves it open and ends by calling `how`."""
    pool = AugmentPool(make_invert, CROP_SPEC, POINTS, BATCH, processes=2)
    pool(*batch_of(BATCH))
    print(*shared_memory_files(), flush=True)
    how()
    return pool


def fail():
    raise SystemExit("failed")


def leave_at_once():
    os._exit(3)


def be_killed():
    os.kill(os.getpid(), signal.SIGKILL)


def shared_memory_files():
    """Returns the files in shared memory that this process maps, even if they are removed."""
    return set(re.findall(r"/dev/shm/\S+", Path("/proc/self/maps").read_text()))


def run_in_new_process(code):
    """Runs code that may use this module in a new process; waits for its child processes as well.

    They inherit its standard output, which ends once the last of them has ended.
    """
    own = "import sys; sys.path[1:1] = ['tests', 'tests/input']; from test_augment_pool import *"
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-c", f"{own}; {code}"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=600,
        start_new_session=True,
    )


@pytest.mark.parametrize(
    ("how", "status"),
    [("int", 0), ("fail", 1), ("leave_at_once", 3), ("be_killed", -9)],
)
def test_shared_memory_is_always_removed(how, status):
    done = run_in_new_process(f"held = end({how})")
    assert done.returncode == status
    files = done.stdout.split()
    assert files
    assert not any(Path(file).exists() for file in files)


def interrupt_and_reuse():
    """Sends Ctrl-C to every process of the group, and uses the pool again."""
    # The tests may run in the background, where shells have processes ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with AugmentPool(make_invert, CROP_SPEC, POINTS, BATCH, processes=2) as pool:
        for _ in range(2):  # the first time the workers are still starting
            try:
                os.killpg(0, signal.SIGINT)
                signal.pause()
            except KeyboardInterrupt:
                batch = batch_of(BATCH)
                assert_augmented(pool(*batch), batch)


def test_workers_ignore_ctrl_c():
    done = run_in_new_process("interrupt_and_reuse()")
    assert (done.returncode, done.stderr) == (0, "")
