"""Exports a trained model: writes it in a format, and compares the file's predictions with it."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from keras_landmarks.contest import landmark_tables, locations
from keras_landmarks.exporting import description, example_faces, formats
from keras_landmarks.models.keras_models import load_trained
from keras_landmarks.models.keras_settings import pinned_settings
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import write_json
from keras_landmarks.utils.folders import atomic_folder

_TOLERANCE_PX = 0.05


def export(
    workdir: str | Path,
    out: Path,
    format_name: str = "onnx",
    precision: str = "float32",
    data: Path | None = None,
    layout: Path | None = None,
) -> dict[str, Any]:
    """Exports a work directory's model to a folder, which may hold an earlier export.

    The folder is written only if the file's own runtime predicts what the model does.

    Args:
        workdir: the model, as `keras_models.load_trained` takes it.
        out: the folder to write: a file or folder of the format, and landmarks.json.
        format_name: a key of `formats.FORMATS`.
        precision: of the weights; one of the format's.
        data: the contest folder whose training images are compared, and calibrate int8. Without
            it, synthetic faces are compared.
        layout: a layout file, for the regions and the mirror map in landmarks.json.

    Returns:
        Results: `format`, `precision`, `file`, its `bytes`, the largest and the mean distance of
        its landmarks from the model's (`max_difference_px`, `mean_difference_px`, in pixels of the
        input), the number of `faces` compared, the number of broken training images (`rejected`),
        and `ms_per_image`.

    Raises:
        InputError: there is no model, the format has no such precision or its runtime is not
            installed, int8 has no `data` or too few images, `data` has another number of
            landmarks, `out` holds something else, `layout` is wrong, or the file predicts something
            else than the model.
    """
    output_format = formats.get_format(format_name, precision)
    if precision == "int8" and data is None:
        raise InputError("--export_precision=int8 needs --data, whose images calibrate it")
    _check_out(out)
    spec, model = load_trained(workdir)
    if data:
        _check_num_landmarks(locations.find_landmarks(data, "train"), spec.num_landmarks)
    load_faces = example_faces.load_for_int8 if precision == "int8" else example_faces.load
    faces = load_faces(spec.crop_spec, data)
    with pinned_settings():
        expected = model.predict_on_batch(faces.compared)
    model_description = description.describe(spec, expected[..., :2], layout)
    with pinned_settings(), atomic_folder(out) as partial:
        file = partial / output_format.file_name
        texts = {description.FILE_NAME: json.dumps(model_description)}
        output_format.write(model, file, precision, faces.calibration, texts)
        predicted, ms_per_image = _predict_singly(output_format.read(file), faces.compared)
        results = {
            "format": format_name,
            "precision": precision,
            "file": str(out / output_format.file_name),
            "bytes": _count_bytes(file),
            **_compare(predicted, expected, precision),
            "faces": len(faces.compared),
            "rejected": faces.num_broken,
            "ms_per_image": ms_per_image and round(ms_per_image, 2),
        }
        written = {key: results[key] for key in results if key not in ("file", "rejected")}
        write_json(partial / description.FILE_NAME, written | model_description)
    return results


def _check_out(out: Path) -> None:
    """Raises InputError unless `out` is missing, an empty folder or an earlier export.

    An export holds landmarks.json and files of the formats, and nothing else. A landmarks.json by
    itself is not enough, because the command `landmarks` writes a file of that name as well.
    """
    if not out.exists():
        return
    names = {path.name for path in out.iterdir()} if out.is_dir() else {out.name}
    networks = names & {f.file_name for f in formats.FORMATS.values()}
    if names and (not networks or names - networks != {description.FILE_NAME}):
        raise InputError(f"{out} exists and is not an earlier export: give --out a new folder")


def _check_num_landmarks(table: Path, num_landmarks: int) -> None:
    found = landmark_tables.count_points(table)
    if found != num_landmarks:
        raise InputError(
            f"{table}: {found} points, but the model has {num_landmarks}; give --data the photos"
            " that it was trained on"
        )


def _predict_singly(predict: Callable, images: np.ndarray) -> tuple[np.ndarray, float | None]:
    """Predicts images one by one; returns the predictions and the median milliseconds per image.

    The first image, which may include compilation, is not timed.
    """
    predictions, seconds = [predict(images[:1])], []
    for row in range(1, len(images)):
        started = time.perf_counter()
        predictions.append(predict(images[row : row + 1]))
        seconds.append(time.perf_counter() - started)
    return np.concatenate(predictions), 1000 * float(np.median(seconds)) if seconds else None


def _compare(predicted: np.ndarray, expected: np.ndarray, precision: str) -> dict[str, float]:
    """Returns the distances between two predictions; InputError if float32 ones differ."""
    distances_px = np.hypot(*np.moveaxis((predicted - expected)[..., :2], -1, 0))
    largest = np.abs(predicted - expected).max()
    if not np.isfinite(largest) or (precision == "float32" and largest > _TOLERANCE_PX):
        raise InputError(
            f"the exported file differs from the model by up to {largest:.3g} px: choose another"
            " --format, and report this model as a bug"
        )
    return {
        "max_difference_px": float(f"{distances_px.max():.3g}"),
        "mean_difference_px": float(f"{distances_px.mean():.3g}"),
    }


def _count_bytes(path: Path) -> int:
    """Returns the size of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(os.path.getsize(file) for file in path.rglob("*") if file.is_file())
