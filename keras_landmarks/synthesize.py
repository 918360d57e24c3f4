"""Writes a folder in the contest's form full of procedural faces, to try everything on.

Each test image is asked for 30 of its 971 points, as in the contest; the truth is beside it in
test/test_landmarks.csv. The same seed gives the same files, whatever the number of processes.

Example:

    python -m keras_landmarks.synthesize --data=faces --train_images=1500 --test_images=200
"""

import functools
from pathlib import Path

import numpy as np

from keras_landmarks import config
from keras_landmarks.contest import landmark_tables, requested_points
from keras_landmarks.images import decoding
from keras_landmarks.layouts import layout
from keras_landmarks.synthetic import faces
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import atomic_folder
from keras_landmarks.utils.parallel import parallel_map
from keras_landmarks.utils.progress import progress

FLAGS = config.use("data", "train_images", "test_images", "seed", "processes")

_ASKED_POINTS = 30


def main(_) -> dict:
    """Reads the flags, writes the faces, returns the figures."""
    config.require("data")
    return synthesize(
        Path(FLAGS.data), FLAGS.train_images, FLAGS.test_images, FLAGS.seed, FLAGS.processes
    )


def synthesize(
    data: Path, train_images: int, test_images: int, seed: int = 0, processes: int | None = None
) -> dict:
    """Writes `data` with train and test faces.

    Raises:
        InputError: the folder exists and is not empty.
    """
    if data.exists() and any(data.iterdir()):
        raise InputError(f"{data}: not empty; give --data a new folder for the faces")
    with atomic_folder(data) as partial:
        _write_faces(partial / "train", "landmarks.csv", train_images, (seed, 0), processes)
        _write_faces(partial / "test", "test_landmarks.csv", test_images, (seed, 1), processes)
        _write_asked_points(partial / "test" / "test_points.csv", test_images, seed)
    return {"data": str(data), "train_images": train_images, "test_images": test_images}


def _write_faces(
    folder: Path, table: str, count: int, seed: tuple[int, int], processes: int | None
) -> None:
    images = folder / "images"
    images.mkdir(parents=True)
    drawn = parallel_map(functools.partial(_draw_face, seed), range(count), processes)
    landmarks = []
    for jpeg, landmarks_px in progress(drawn, f"drawing {folder.name} faces", "images", count):
        (images / _file_name(len(landmarks))).write_bytes(jpeg)
        landmarks.append(landmarks_px)
    landmark_tables.write_landmarks(folder / table, _file_names(count), landmarks)


def _draw_face(seed: tuple[int, int], index: int) -> tuple[bytes, np.ndarray]:
    image, landmarks_px = faces.draw_face(np.random.default_rng([*seed, index]))
    # Whole pixels, as the contest has them.
    return decoding.encode_jpeg(image), np.rint(landmarks_px).astype(np.int16)


def _write_asked_points(path: Path, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    asked = [
        np.sort(rng.choice(layout.CONTEST_POINTS, _ASKED_POINTS, replace=False))
        for _ in range(count)
    ]
    requested_points.write_test_points(path, _file_names(count), asked)


def _file_names(count: int) -> list[str]:
    return [_file_name(index) for index in range(count)]


def _file_name(index: int) -> str:
    return f"face_{index:06d}.jpg"


if __name__ == "__main__":
    config.run(main)
