"""Data sets of synthetic faces, as folders in the contest's format."""

import functools
from pathlib import Path

import numpy as np

from keras_landmarks.contest import landmark_tables, requested_points
from keras_landmarks.images import decoding
from keras_landmarks.layouts import layout
from keras_landmarks.synthetic import faces
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.folders import atomic_folder
from keras_landmarks.utils.parallel import parallel_map
from keras_landmarks.utils.progress import progress

_REQUESTED_POINTS = 30  # of each test image, as in the contest


def synthesize_dataset(
    data: Path, train_images: int, test_images: int, seed: int = 0, processes: int | None = None
) -> dict:
    """Writes a folder of train and test faces; the same seed gives the same files.

    Args:
        data: the folder to write; it must be empty or not exist.
        train_images: number of training faces.
        test_images: number of test faces.
        seed: the random seed; each face has a generator of its own.
        processes: number of processes that draw faces; None for one per core.

    Returns:
        `data`, `train_images` and `test_images`.

    Raises:
        InputError: the folder exists and is not empty.
    """
    if data.exists() and any(data.iterdir()):
        raise InputError(f"{data}: not empty; give --data a new folder for the faces")
    with atomic_folder(data) as partial:
        _write_split(partial / "train", "landmarks.csv", train_images, (seed, 0), processes)
        _write_split(partial / "test", "test_landmarks.csv", test_images, (seed, 1), processes)
        _write_requested_points(partial / "test" / "test_points.csv", test_images, seed)
    return {"data": str(data), "train_images": train_images, "test_images": test_images}


def _write_split(
    folder: Path, table: str, count: int, seed: tuple[int, int], processes: int | None
) -> None:
    """Writes the images of a split and the table of their landmarks."""
    images = folder / "images"
    images.mkdir(parents=True)
    drawn = parallel_map(functools.partial(_draw_face, seed), range(count), processes)
    drawn = progress(drawn, f"drawing {folder.name} faces", "images", count)
    names, landmarks = _file_names(count), []
    for name, (jpeg, landmarks_px) in zip(names, drawn, strict=True):
        (images / name).write_bytes(jpeg)
        landmarks.append(landmarks_px)
    landmark_tables.write_landmarks(folder / table, names, landmarks)


def _draw_face(seed: tuple[int, int], index: int) -> tuple[bytes, np.ndarray]:
    """Returns a face as JPEG and its landmarks: (971, 2) int16 px, whole as in the contest."""
    image, landmarks_px = faces.draw_face(np.random.default_rng([*seed, index]))
    return decoding.encode_jpeg(image), np.rint(landmarks_px).astype(np.int16)


def _write_requested_points(path: Path, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    point_indices = [
        np.sort(rng.choice(layout.CONTEST_POINTS, _REQUESTED_POINTS, replace=False))
        for _ in range(count)
    ]
    requested_points.write_test_points(path, _file_names(count), point_indices)


def _file_names(count: int) -> list[str]:
    return [f"face_{index:06d}.jpg" for index in range(count)]
