"""Writes a report of a training run as one HTML page, to look at, print and send.

    python -m keras_landmarks.report --workdir=work                         # work/report.html

The page has the run's flags, versions and curves. With predictions and the true points it also has
the score with its intervals (--groups, --normaliser and --threshold as in `evaluate`); the curve of
images by error; the error by region, by point on the mean face and (up to 100 points) in a table
with their names, by face size and by pose; how sure the model is, if the predictions have standard
deviations; and the best, median and worst faces. It says if the model was trained on some of the
images:

    python -m keras_landmarks.report --workdir=work --predictions=work/test_predictions.npz \\
        --truth=faces/test/test_landmarks.csv --html=report.html

Photos are looked for in the folder `images` beside --truth, or in --data and a named --split. The
page embeds all that it shows, the photos too, so whoever has the file can see them. It loads
nothing and runs no script; it has a dark form and one for paper, and is half a megabyte to one
megabyte large. --only scores the images that a table names, such as work/validation.csv, which
training held out. The yaw of a face is estimated from its points and their mirror map (the
contest's, the model's, or that of --layout).

Time: two seconds for 200 images.
"""

from pathlib import Path
from typing import Any

from keras_landmarks import flags
from keras_landmarks.contest import locations
from keras_landmarks.reports.report_writer import write_report
from keras_landmarks.settings import FigureSettings, ImageSettings, PointSettings

FLAGS = flags.use(
    *("workdir", "data", "html", "predictions", "groups", "partial", "seed"),
    *("normaliser", "threshold"),
    *(ImageSettings, PointSettings),
)


def main(_) -> dict[str, Any]:
    """Writes the page that the flags describe and returns the results."""
    paths = flags.read_paths("predictions", "truth", "test_points", "groups", "layout", "only")
    workdir = Path(FLAGS.workdir)
    split = FLAGS.split if FLAGS["split"].present else None
    data = Path(FLAGS.data) if FLAGS.data else None
    images = locations.find_photos(paths.get("truth"), data, split)
    html = Path(FLAGS.html or workdir / "report.html")
    return write_report(
        workdir,
        html,
        **paths,
        images=images,
        seed=FLAGS.seed,
        partial=FLAGS.partial,
        figures=flags.read(FigureSettings),
    )


if __name__ == "__main__":
    flags.run(main)
