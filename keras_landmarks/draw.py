"""Draws points on photos, as one contact sheet: predicted points, true ones, or both side by side.

    python -m keras_landmarks.draw --data=data --split=test --predictions=work/predictions.npz \\
        --truth=data/test/landmarks.csv --out=contact_sheet.png

With neither --predictions nor --truth it draws the split's own table of points, to look at the
data:

    python -m keras_landmarks.draw --data=data --split=train --out=train.png

--out is a PNG or, a fifth as large, a JPEG. Points are coloured by region: the contest's, or those
of a --layout file; up to 100 points without regions get colours in turn. Points without a place are
not drawn.
"""

from pathlib import Path
from typing import Any

from keras_landmarks import flags
from keras_landmarks.images import contact_sheet
from keras_landmarks.reports.landmark_sheet import write_landmark_sheet

FLAGS = flags.use("data", "split", "predictions", "truth", "layout", "out", "count")


def main(_) -> dict[str, Any]:
    """Draws the sheet and returns what was drawn."""
    flags.require("data")
    out = Path(FLAGS.out or contact_sheet.DEFAULT_NAME)
    contact_sheet.validate_path(out)
    return write_landmark_sheet(
        Path(FLAGS.data),
        FLAGS.split if FLAGS["split"].present else None,
        out,
        count=FLAGS.count,
        **flags.read_paths("predictions", "truth", "layout"),
    )


if __name__ == "__main__":
    flags.run(main)
