"""Writes a trained model in a format that other programs run, and proves that they run it alike.

--out becomes a folder with the network, batch normalisation folded, and landmarks.json, which says
how to make its input from a photo and what its output means. The written file is run by the
format's own runtime on some faces, and its points are compared with the model's; where a float32
file is off by more than 0.05 px, nothing is left behind.

    onnx         model.onnx       ONNX Runtime, OpenCV, browsers; float16, int8
    litert       model.tflite     LiteRT (TensorFlow Lite): phones, small boards; float16, int8
    stablehlo    model.stablehlo  JAX without Keras: jax.export, for CPU, CUDA, ROCm and TPU
    saved_model  saved_model/     TensorFlow, TF Serving
    keras        model.keras      Keras on any backend, without this package

The faces are of --data's training images, which int8 needs, or procedural ones.

Example:

    python -m keras_landmarks.export --workdir=work --format=onnx --out=exported
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_landmarks import config
from keras_landmarks.contest import landmark_tables, locations, table_files
from keras_landmarks.draw import read_spread
from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.synthetic import faces
from keras_landmarks.utils import compilation_cache
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import atomic_folder, write_json

FLAGS = config.use(
    *("workdir", "out", "format", "export_precision", "data", "layout", "compilation_cache")
)

_TOLERANCE_PX = 0.05
_FACES, _CALIBRATION_FACES = 16, 128
_FEWEST_CALIBRATION_FACES = 9


def main(_) -> dict:
    """Reads the flags, exports, returns the figures."""
    compilation_cache.use(FLAGS.compilation_cache)
    workdir = Path(FLAGS.workdir)
    return export(
        workdir,
        Path(FLAGS.out or workdir / _default_name(FLAGS.format, FLAGS.export_precision)),
        FLAGS.format,
        FLAGS.export_precision,
        Path(FLAGS.data) if FLAGS.data else None,
        Path(FLAGS.layout) if FLAGS.layout else None,
    )


def export(
    workdir: Path,
    out: Path,
    format_name: str = "onnx",
    precision: str = "float32",
    data: Path | None = None,
    layout: Path | None = None,
) -> dict:
    """Writes a work directory's model to the folder `out`, in place of an earlier export there.

    Returns:
        Figures: format, precision, file, its bytes, the largest and the mean distance from the
        model's points in pixels of its input over how many faces, how many of `data`'s images were
        `rejected` as broken and replaced by others, milliseconds an image.

    Raises:
        InputError: there is no model; the format has no such precision or is not installed; int8
            without `data`, or with too few images; `data` has other points; `out` holds something
            else; the file predicts something else; `layout` is wrong.
    """
    # Not at the top: --help does without Keras.
    from keras_landmarks.exporting import description, formats
    from keras_landmarks.models.keras_settings import own_settings
    from keras_landmarks.models.spec import load_trained
    from keras_landmarks.models.stock_layers import stock_model

    chosen = formats.check(format_name, precision)
    if precision == "int8" and data is None:
        raise InputError("--export_precision=int8 needs --data: its images give the ranges")
    _check_is_own(out, {f.file_name for f in formats.FORMATS.values()}, description.FILE_NAME)
    spec, model = load_trained(workdir)
    if data:
        _check_points(locations.find_landmarks(data, "train"), spec.points)
    if precision == "int8":
        images, calibration, rejected = _calibration_apart(spec.frame, data)
    else:
        images, rejected = _face_images(spec.frame, data, _FACES)
        calibration = images
    with own_settings():
        expected = model.predict_on_batch(images)
    described = description.describe(spec, expected[..., :2], layout)
    with own_settings(), atomic_folder(out) as partial:
        file = partial / chosen.file_name
        chosen.write(stock_model(model), file, precision, calibration)
        if chosen.describe:
            chosen.describe(file, description.FILE_NAME, json.dumps(described))
        predicted, ms_per_image = _predict(chosen.read(file), images)
        figures = {
            "format": format_name,
            "precision": precision,
            "file": str(out / chosen.file_name),
            "bytes": _bytes_of(file),
            **_differences(predicted, expected, precision),
            "faces": len(images),
            "rejected": rejected,
            "ms_per_image": ms_per_image and round(ms_per_image, 2),
        }
        known = {n: value for n, value in figures.items() if n not in ("file", "rejected")}
        write_json(partial / description.FILE_NAME, known | described)
    return figures


def _default_name(format_name: str, precision: str) -> str:
    return format_name if precision == "float32" else f"{format_name}_{precision}"


def _check_is_own(out: Path, networks: set[str], described: str) -> None:
    """Raises InputError if `out` is anything but an empty folder or an earlier export.

    That has the description and the networks' files alone: `landmarks` writes a file of that name.
    """
    if not out.exists():
        return
    names = {path.name for path in out.iterdir()} if out.is_dir() else {out.name}
    if names and (described not in names or not names & networks or names - networks - {described}):
        raise InputError(f"{out} is there and no earlier export: give --out a new folder")


def _check_points(table: Path, points: int) -> None:
    others = landmark_tables.count_points(table)
    if others != points:
        raise InputError(f"{table}: {others} points; --data must be the model's own, of {points}")


def _calibration_apart(frame: CropSpec, data: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns framed training images: some to compare predictions of, others to calibrate by.

    Besides, how many images were broken.
    """
    images, rejected = _face_images(frame, data, _FACES + _CALIBRATION_FACES)
    step = 1 + _CALIBRATION_FACES // _FACES
    calibration = np.delete(images, slice(None, None, step), axis=0)
    if len(calibration) < _FEWEST_CALIBRATION_FACES:
        raise InputError(
            f"{data}: {len(images)} training images are too few to take int8's ranges from"
        )
    return images[::step], calibration, rejected


def _face_images(frame: CropSpec, data: Path | None, count: int) -> tuple[np.ndarray, int]:
    """Returns framed faces, (count, height, width, 3) float32: of the training images, or drawn.

    Besides, how many images were broken.
    """
    photos, rejected = _read_photos(data, count) if data else (_draw_faces(count), 0)
    return np.stack([frame.apply(photo)[0] for photo in photos]).astype(np.float32), rejected


def _draw_faces(count: int) -> list[np.ndarray]:
    return [faces.draw_face(np.random.default_rng(seed))[0] for seed in range(count)]


def _read_photos(data: Path, count: int) -> tuple[list[np.ndarray], int]:
    """Reads photos that the training table names, evenly spaced, without the broken ones.

    Besides, how many were broken.
    """
    folder = locations.find_image_folder(data, "train")
    names = table_files.read_names(locations.find_landmarks(data, "train"))
    photos, rejected = read_spread(folder, names, count)
    if not photos:
        raise InputError(f"{folder}: none of the {len(names)} images of the table can be read")
    return list(photos.values()), rejected


def _predict(predict: Callable, images: np.ndarray) -> tuple[np.ndarray, float | None]:
    """Predicts the images one by one; returns that and the usual time for one after the first."""
    predictions, times = [predict(images[:1])], []
    for row in range(1, len(images)):
        started = time.perf_counter()
        predictions.append(predict(images[row : row + 1]))
        times.append(time.perf_counter() - started)
    return np.concatenate(predictions), 1000 * float(np.median(times)) if times else None


def _differences(predicted: np.ndarray, expected: np.ndarray, precision: str) -> dict[str, float]:
    """Returns how far apart points are; InputError where they should not be."""
    off_px = np.hypot(*np.moveaxis((predicted - expected)[..., :2], -1, 0))
    largest = np.abs(predicted - expected).max()
    if not np.isfinite(largest) or (precision == "float32" and largest > _TOLERANCE_PX):
        raise InputError(
            f"the exported file predicts something else: off by up to {largest:.3g} px; choose"
            " another --format, and tell us about the model"
        )
    return {
        "max_difference_px": float(f"{off_px.max():.3g}"),
        "mean_difference_px": float(f"{off_px.mean():.3g}"),
    }


def _bytes_of(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(os.path.getsize(file) for file in path.rglob("*") if file.is_file())


if __name__ == "__main__":
    config.run(main)
