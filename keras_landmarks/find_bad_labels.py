"""Finds labels that are probably wrong: rows of train/landmarks.csv.

A row is suspect for one of three reasons, each a score in robust standard deviations:

    misplaced    its points do not fit the picture, or would fit better elsewhere, rotated or at
                 another size, by what the other images teach; no model is needed
    shape        its points make no face like the others, wherever they lie
    jagged       one of its curves is jagged

Missing points count neither for a row nor against it: they are filled in from the face's other
points and the other faces.

The thresholds follow from the scores themselves: of the rows listed, at most a tenth is expected to
be valid. Fewer than 30 faces are too few to judge. Writes

    --suspects   file name, row (the line in its table), score, reason; the worst first. Delete the
                 rows that are right, and give the table to `train --exclude`
    --out        a contact sheet of the worst rows, whether listed or not

--predictions (written by `predict --split=train`) is optional; the predicted place is then tried as
a better one, too. It helps little: a model that was trained long enough to memorise these labels
repeats the wrong ones.

Examples:

    python -m keras_landmarks.find_bad_labels --data=contest --suspects=suspects.tsv --out=worst.png
    python -m keras_landmarks.train --data=contest --exclude=suspects.tsv

Time: 10 to 20 s for 2,000 images.

Accuracy, measured on 2,000 video frames of 243 people with labels spoiled on purpose: with 1 % of
the labels shifted by 10 to 30 % of the face, 300 of 300 were found in fifteen runs; by 10 to 90 %,
38 of 40 in two runs. Besides them one valid face was listed, the same each time, in profile
(precision 0.95); it is also the one that is listed where nothing is spoiled. In one trial 20 labels
each were shifted, rotated by 15 degrees, scaled by 0.8 or 1.25, given to another image, mirrored
without renaming the points, or given a jaw that trembles by 1 % of the face: all 120 were found,
beside 3 of 1,860 valid rows. A label that is wrong in one part only is mostly missed: of 20 with
one region moved by 8 % of the face, 1 was found.
"""

from pathlib import Path
from typing import Any

import numpy as np

from keras_landmarks import flags
from keras_landmarks.cleaning import bad_labels
from keras_landmarks.cleaning.bad_labels import Suspects
from keras_landmarks.contest import listed_images
from keras_landmarks.evaluation import matching
from keras_landmarks.images import contact_sheet
from keras_landmarks.input.samples import (
    Samples,
    check_every_landmark,
    load_samples,
    log_invalid_samples,
)

FLAGS = flags.use("data", "prepared", "predictions", "suspects", "out", "count", "processes")

_TILES_ACROSS = 8


def main(_) -> dict[str, Any]:
    """Finds wrong labels in the data that the flags name and returns the results."""
    flags.require("data")
    out = Path(FLAGS.out or contact_sheet.DEFAULT_NAME)
    contact_sheet.validate_path(out)
    samples = load_samples(Path(FLAGS.data), "train", Path(FLAGS.prepared))
    log_invalid_samples(samples)
    return find_bad_labels(
        samples,
        Path(FLAGS.suspects),
        out,
        count=FLAGS.count,
        processes=FLAGS.processes,
        **flags.read_paths("predictions"),
    )


def find_bad_labels(
    samples: Samples,
    suspects: Path,
    out: Path,
    predictions: Path | None = None,
    count: int = 24,
    processes: int | None = None,
) -> dict[str, Any]:
    """Writes the table of suspects and a contact sheet `out` of the `count` worst rows.

    Returns:
        The number of `rows`, of rows that `train` would skip, of suspects, and of suspects for
        each reason; `table` and `out`, the files.

    Raises:
        InputError: a point has a place in no row; or the predictions are malformed, lack an image,
            or have other points.
    """
    check_every_landmark(samples, np.arange(len(samples)))
    predicted_px = None
    if predictions:
        predicted_px = matching.read_matched_predictions(
            predictions, samples.file_names, samples.num_landmarks
        )
    found = bad_labels.find_suspects(samples, predicted_px, processes)
    bad_labels.write_suspects(suspects, samples, found)
    _draw(out, samples, found, count)
    return {
        "rows": len(samples),
        "rejected": len(samples.invalid_samples),
        "suspects": len(found.rows),
        **found.counts,
        "table": str(suspects),
        "out": str(out),
    }


def _draw(path: Path, samples: Samples, suspects: Suspects, count: int) -> None:
    tiles, titles = [], []
    for row in suspects.ranking[:count]:
        photo = listed_images.read_image(samples.image_folder, samples.file_names[row])
        label = f"{suspects.scores[row]:.1f} {suspects.reasons[row] or 'not listed'}"
        # No wider than high: a wrong point makes a crop wide, and cells are as wide as the widest.
        tiles.append(
            contact_sheet.draw_tile(photo, samples.landmarks_photo_px[row], label, max_aspect=1)
        )
        titles.append(samples.file_names[row])
    contact_sheet.write(path, contact_sheet.assemble(tiles, titles, _TILES_ACROSS))


if __name__ == "__main__":
    flags.run(main)
