"""Commands that are killed at random moments and started again end with the same files.

`make torture` runs these tests: some 110 kills take about 15 minutes on two free cores.
"""

import random
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import pytest
from folders import contents

from keras_landmarks.contest import requested_points
from keras_landmarks.input.extra_images import ExtraImageSpec, make_extra_images
from keras_landmarks.input.samples import load_samples

pytestmark = pytest.mark.torture

IMAGES = 1500

PREPARE = """
import sys
from pathlib import Path
from keras_landmarks.input import cache
from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.input.photos import Photos
from keras_landmarks.input.samples import load_samples

cache._SHARD_BYTES = 2_000_000
data, prepared = map(Path, sys.argv[1:])
photos = Photos(load_samples(data, "train", prepared), CropSpec(64, 64))
cache.build_cache(photos, prepared)
"""


class Job(NamedTuple):
    """A command that is killed at least `kills` times, and which files must come out the same.

    The arguments may name folders to read, {faces}, {many} and {run}, and one to write to, {out}.
    """

    arguments: list[str]
    kills: int
    must_match: Callable[[str], bool] = lambda name: True


JOBS = {
    "augment": Job(
        [
            "-m",
            "keras_landmarks.augment",
            "--data={faces}",
            "--prepared={out}",
            f"--augment_count={IMAGES}",
        ],
        30,
    ),
    "prepare": Job(["-c", PREPARE, "{many}", "{out}"], 30),
    "predict": Job(
        [
            "-m",
            "keras_landmarks.predict",
            "--workdir={run}",
            "--data={many}",
            "--split=train",
            "--batch_size=16",
            "--submission={out}/submission.csv",
            "--predictions={out}/predictions.npz",
        ],
        30,
    ),
    "train": Job(
        [
            "-m",
            "keras_landmarks.train",
            "--data={faces}",
            "--prepared={out}/prepared",
            "--workdir={out}/work",
            "--model=tiny",
            "--init_weights=none",
            "--image_size=32",
            "--batch_size=8",
            "--epochs=40",
            "--augment_count=24",
            "--train_fraction=0.9",
        ],
        20,
        # The other files contain times.
        lambda name: name in ("work/best.weights.h5", "work/last.safetensors"),
    ),
}


@pytest.fixture(scope="session")
def folders(faces, tiny_run, tmp_path_factory):
    """The folders to read from; `many` has two broken images."""
    folder = tmp_path_factory.mktemp("many")
    settings = ExtraImageSpec(IMAGES, refill=True)
    make_extra_images(load_samples(faces, "train", folder), folder, settings)
    (many,) = folder.glob("augmented-*")
    images = sorted((many / "train" / "images").iterdir())
    for image in (images[100], images[-3]):
        image.write_bytes(image.read_bytes()[:600])
    names = [image.name for image in images]
    requested_points.write_test_points(
        many / "train" / "test_points.csv", names, [[0, 5, 970]] * len(names)
    )
    return {"faces": faces, "many": many, "run": tiny_run[0].files.workdir}


def start(job, folders, out):
    arguments = [argument.format(**folders, out=out) for argument in job.arguments]
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def is_killed(process, seconds):
    """Kills the process after some seconds; False if it had ended before."""
    try:
        _, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return True
    assert process.returncode == 0, errors
    return False


def result(out, job):
    return {name: content for name, content in contents(out).items() if job.must_match(name)}


@pytest.mark.parametrize("name", JOBS)
def test_random_kills_do_not_change_the_result(name, folders, tmp_path):
    job, rng = JOBS[name], random.Random(name)
    started = time.monotonic()
    assert not is_killed(start(job, folders, tmp_path / "straight"), None)
    seconds = time.monotonic() - started
    expected = result(tmp_path / "straight", job)
    assert expected
    kills = runs = 0
    while kills < job.kills:
        out = tmp_path / f"killed-{runs}"
        before, started = kills, time.monotonic()
        while is_killed(start(job, folders, out), rng.uniform(0, seconds)):
            kills += 1
        if kills == before:  # the command has become faster
            seconds = time.monotonic() - started
        runs += 1
        assert result(out, job) == expected
    print(f"\n{name}: {kills} kills in {runs} runs of {seconds:.1f} s; all wrote the same bytes")
