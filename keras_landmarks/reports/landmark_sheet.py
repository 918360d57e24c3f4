"""A contact sheet of predicted landmarks, true ones, or both side by side."""

from pathlib import Path
from typing import Any

import numpy as np

from keras_landmarks.contest import labels, locations, prediction_files
from keras_landmarks.contest.image_selection import read_evenly_spaced
from keras_landmarks.evaluation import metrics
from keras_landmarks.images import contact_sheet, drawing
from keras_landmarks.layouts.layout import regions_of
from keras_landmarks.utils.errors import InputError

_PHOTOS_ACROSS = 8


def write_landmark_sheet(
    data: Path,
    split: str | None,
    out: Path,
    predictions: Path | None = None,
    truth: Path | None = None,
    layout: Path | None = None,
    count: int = 24,
) -> dict[str, Any]:
    """Writes a contact sheet of photos with their points.

    With both tables, images that are in both are drawn, the prediction beside the truth. A broken
    image is named in the log and another one is drawn instead; invalid rows of the truth are
    skipped. Points are coloured by region.

    Args:
        data: folder in the contest's format.
        split: whose photos to draw; None for those beside the `truth`, or the test split's.
        out: the sheet, a PNG or JPEG by its suffix.
        predictions: file of predictions to draw.
        truth: table of landmarks to draw. With neither table, the split's own is drawn.
        layout: file with the regions; by default the contest's regions for its number of points.
        count: photos to draw, evenly spaced over the rows.

    Returns:
        `images`: how many were drawn. `skipped`: broken images and invalid rows. `out`.

    Raises:
        InputError: there are no points or no images to draw, or a table or `layout` is invalid.
    """
    folder = locations.find_photos(truth, data, split)
    tables, num_invalid = _read_tables(data, split, predictions, truth)
    first, *others = tables.values()
    file_names = [name for name in first if all(name in other for other in others)]
    photos, num_broken = read_evenly_spaced(folder, file_names, count)
    if not photos:
        raise InputError(
            f"{folder}: none of the {len(file_names)} images with points can be read;"
            " is --split right?"
        )
    num_landmarks = len(first[file_names[0]])
    regions = regions_of(num_landmarks, layout)
    colours = drawing.point_colours(num_landmarks, regions)
    tiles, titles = [], []
    for name, photo in photos.items():
        landmarks_px = {label: table[name] for label, table in tables.items()}
        tiles.append(_draw_tile(photo, landmarks_px, colours))
        titles.append(_title(name, **landmarks_px))
    columns = _PHOTOS_ACROSS // len(tables)
    contact_sheet.write(out, contact_sheet.assemble(tiles, titles, columns, list(regions)))
    return {"images": len(photos), "skipped": num_broken + num_invalid, "out": str(out)}


def _read_tables(
    data: Path, split: str | None, predictions: Path | None, truth: Path | None
) -> tuple[dict[str, dict[str, np.ndarray]], int]:
    """Returns the points to draw and the number of invalid rows in the truth.

    The points are (k, 2) photo pixels by "prediction", "truth" or both, and by file name.
    """
    tables, num_invalid = {}, 0
    if predictions is None and truth is None:
        try:
            truth = locations.find_landmarks(data, split or "test")
        except InputError as error:
            raise InputError(f"{error}; give --predictions or --truth") from None
    if predictions:
        tables["prediction"] = prediction_files.read(predictions)
    if truth:
        names = tables["prediction"].file_names if predictions else None
        tables["truth"] = labels.read(truth, names)
        num_invalid = len(tables["truth"].invalid_samples)
    if len({table.landmarks_photo_px.shape[1] for table in tables.values()}) > 1:
        raise InputError(f"{predictions} and {truth} have different numbers of points")
    points_by_name = {
        label: dict(zip(table.file_names, table.landmarks_photo_px, strict=True))
        for label, table in tables.items()
    }
    return points_by_name, num_invalid


def _draw_tile(
    photo: np.ndarray, landmarks_px: dict[str, np.ndarray], colours: np.ndarray
) -> np.ndarray:
    """Draws a photo once for each set of points, (k, 2) photo pixels by label."""
    tiles = [
        contact_sheet.draw_tile(photo, points_px, label, colours=colours)
        for label, points_px in landmarks_px.items()
    ]
    return np.hstack(tiles)


def _title(name: str, prediction: np.ndarray | None = None, truth: np.ndarray | None = None) -> str:
    """Returns the file name and, if both sets of points are given, the prediction's error."""
    if prediction is None or truth is None:
        return name
    distances = metrics.point_distances(prediction[None], truth[None])
    title = f"{name}   MSE {metrics.image_mse(distances).item():.1f} px^2"
    face_size = metrics.face_sizes(truth[None])
    if not face_size.all():
        return title
    return f"{title}   NME {100 * metrics.image_nme(distances, face_size).item():.1f} %"
