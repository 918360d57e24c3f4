"""Draws points on photos, as one picture of many: predicted ones, true ones, or both side by side.

    python -m keras_landmarks.draw --data=data --split=test --predictions=work/predictions.npz \\
        --truth=data/test/landmarks.csv --out=contact_sheet.png

With neither --predictions nor --truth it draws the split's own table of points.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from keras_landmarks import config
from keras_landmarks.contest import labels, listed_images, locations, prediction_files
from keras_landmarks.evaluation import metrics
from keras_landmarks.images import drawing
from keras_landmarks.layouts.layout import regions_of
from keras_landmarks.utils.errors import InputError

FLAGS = config.use("data", "split", "predictions", "truth", "layout", "out", "count")

PHOTOS_ACROSS = 8
_TOLD = 3  # of broken images


def main(_) -> dict[str, Any]:
    """Reads the flags, draws, and returns the figures."""
    config.require("data")
    out = Path(FLAGS.out or drawing.FILE_NAME)
    drawing.check_sheet_name(out)
    return draw(
        Path(FLAGS.data),
        FLAGS.split if FLAGS["split"].present else None,
        out,
        count=FLAGS.count,
        **config.read_paths("predictions", "truth", "layout"),
    )


def draw(
    data: Path,
    split: str | None,
    out: Path,
    predictions: Path | None = None,
    truth: Path | None = None,
    layout: Path | None = None,
    count: int = 24,
) -> dict[str, Any]:
    """Writes a contact sheet of up to `count` photos, evenly spaced over the rows.

    It is a PNG or a JPEG, by the ending of `out`. Where no split is named, the photos are those
    beside the `truth`, or the test split's. With both tables, images that are in both are drawn,
    the prediction beside the truth. A broken image is named in the log and another is drawn
    instead; rows of the truth that cannot be used are left out. Points are coloured by region: the
    contest's, or those of the file `layout`.

    Returns:
        `images` drawn; broken ones, and rows that cannot be used, `skipped`; `out`.

    Raises:
        InputError: there are no points or no images to draw, or a table or `layout` is wrong.
    """
    folder = locations.find_photos(truth, data, split)
    tables, rejected = _read_tables(data, split, predictions, truth)
    first, *others = tables.values()
    file_names = [name for name in first if all(name in other for other in others)]
    photos, skipped = read_spread(folder, file_names, count)
    if not photos:
        raise InputError(
            f"{folder}: none of the {len(file_names)} images with points can be read;"
            " is --split right?"
        )
    points = len(first[file_names[0]])
    regions = regions_of(points, layout)
    colours = drawing.point_colours(points, regions)
    tiles, titles = [], []
    for name, image in photos.items():
        drawn = {label: table[name] for label, table in tables.items()}
        pictures = [drawing.draw_tile(image, drawn[it], it, colours=colours) for it in drawn]
        tiles.append(np.hstack(pictures))
        titles.append(_title(name, **drawn))
    sheet = drawing.contact_sheet(tiles, titles, PHOTOS_ACROSS // len(tables), list(regions))
    drawing.write_sheet(out, sheet)
    return {"images": len(photos), "skipped": skipped + rejected, "out": str(out)}


def _read_tables(
    data: Path, split: str | None, predictions: Path | None, truth: Path | None
) -> tuple[dict[str, dict[str, np.ndarray]], int]:
    """Returns "prediction", "truth" or both: the points of each file name, (k, 2) photo pixels.

    Besides, how many rows of the truth cannot be used.
    """
    tables, rejected = {}, 0
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
        rejected = len(tables["truth"].rejects)
    if len({table.points.shape[1] for table in tables.values()}) > 1:
        raise InputError(f"{predictions} and {truth} have different numbers of points")
    points_of = {
        label: dict(zip(table.file_names, table.points, strict=True))
        for label, table in tables.items()
    }
    return points_of, rejected


def read_spread(
    folder: Path, file_names: Sequence[str], count: int
) -> tuple[dict[str, np.ndarray], int]:
    """Reads `count` images, evenly spaced; returns them in order, and how many were broken."""
    rows = np.arange(len(file_names))
    spread = np.unique(np.arange(count) * len(rows) // count)
    stand_ins = np.setdiff1d(rows, spread)
    images, broken = {}, 0
    for row in [*spread, *stand_ins]:
        if len(images) == count:
            break
        try:
            images[row] = listed_images.read_image(folder, file_names[row])
        except InputError as error:
            broken += 1
            if broken <= _TOLD:
                logging.warning("skipped: %s", error)
    if broken > _TOLD:
        logging.warning("skipped: %d more", broken - _TOLD)
    return {file_names[row]: images[row] for row in sorted(images)}, broken


def _title(name: str, prediction: np.ndarray | None = None, truth: np.ndarray | None = None) -> str:
    """Returns the file name and, with both, the prediction's error."""
    if prediction is None or truth is None:
        return name
    distances = metrics.point_distances(prediction[None], truth[None])
    title = f"{name}   MSE {metrics.image_mse(distances).item():.1f} px^2"
    face_size = metrics.face_sizes(truth[None])
    if not face_size.all():
        return title
    return f"{title}   NME {100 * metrics.image_nme(distances, face_size).item():.1f} %"


if __name__ == "__main__":
    config.run(main)
