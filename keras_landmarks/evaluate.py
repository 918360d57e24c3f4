"""Scores predicted points against true ones, matched by file name.

    MSE    mean squared error in photo px², the contest's metric
    NME    mean distance / √(width · height) of the box around the true points
    AUC    area under the curve of the share of images by NME, from 0 to 7 %; 1 is best
    FR     failure rate: the share of images with an NME over 7 %
    PCK    the share of points within 7 %

Percentiles and the errors by region of the face are printed as well.

To compare with a paper, divide by what it divides by (--normaliser) and use its thresholds;
flags/README.md says which papers use which. For 300-W, by the distance between the outer corners of
the eyes, with the figures at 8 and 10 % and a row for every point with its name:

    python -m keras_landmarks.evaluate --predictions=p.npz --truth=300w/test/landmarks.csv \\
        --normaliser=points:36,45 --threshold=0.08,0.1 --by_point

--normaliser=size:COLUMN reads sizes of your own, in px, from a column of --truth. Faces whose size
is 0 or missing have no NME; they are counted (`without_size`) and listed.

Points that are missing in the truth are not scored: an image's figures are means over its other
points, so that every image weighs alike. The box is theirs, too, and smaller for it: where many are
missing, divide by something else. What has nothing to compare is a dash, null in JSON.

To score all points that `predict` writes and, with --test_points, also the requested ones:

    python -m keras_landmarks.evaluate --predictions=work/predictions.npz --data=faces \\
        --truth=faces/test/test_landmarks.csv --test_points=faces/test/test_points.csv

The contest's CSV is scored with --submission in place of --predictions. With --data the mean shape
of the training table is scored as well, as a baseline that ignores the image.

--compare tests whether one of two predictions (.npz or CSV) is significantly better. It prints the
difference and the ratio of their MSE, each with its interval, and how often the second was better
among the resamples:

    python -m keras_landmarks.evaluate --compare=a.npz,b.npz --truth=faces/train/landmarks.csv \\
        --groups=persons.csv

Intervals are 95 % bootstrap intervals from 10,000 resamples of the images or, with --groups (tables
of file_name, group), of whole groups, because images of one person are alike.

--only scores the images that a table names. If the true points of the test images are not known,
score the images that training held out:

    python -m keras_landmarks.predict --workdir=work --data=faces --split=train \\
        --only=work/validation.csv --predictions=held_out.npz
    python -m keras_landmarks.evaluate --predictions=held_out.npz --only=work/validation.csv \\
        --truth=faces/train/landmarks.csv

Every image of the truth must be predicted; --partial scores only the predicted ones instead. Rows
of the truth that `train` would skip are skipped and counted (`rejected`), and so are images that
`predict` could not read and gave the mean shape; it is an error if most rows of the truth are.
Points that predictions name in another order than the truth are an error. In a submission every row
that is scored must be valid. For points other than the contest's, --layout names a JSON file with
their names and regions, such as `convert` writes, with the first and last point of each:
{"regions": {"nose": [27, 35]}}. Without --layout the names are those in the header of --truth, or
of a layout.json in its folder or the one above it.
"""

from pathlib import Path
from typing import Any

from keras_landmarks import flags
from keras_landmarks.evaluation.formatting import round_floats
from keras_landmarks.evaluation.result_tables import format_comparison, format_evaluation
from keras_landmarks.evaluation.scoring import compare, evaluate
from keras_landmarks.settings import FigureSettings, ImageSettings, PointSettings, ScoringSettings
from keras_landmarks.utils.errors import InputError

FLAGS = flags.use(
    *("data", "prepared", "predictions", "submission", "seed"),
    *(ImageSettings, PointSettings, ScoringSettings, FigureSettings),
)


def main(_) -> dict[str, Any]:
    """Scores or compares what the flags name, prints a table, and returns the results."""
    flags.require("truth")
    names = ("truth", "predictions", "submission", "test_points", "groups", "layout", "only")
    paths = flags.read_paths(*names)
    if FLAGS.compare:
        if len(FLAGS.compare) != 2 or paths.keys() & {"predictions", "submission"}:
            raise InputError("--compare=a.npz,b.npz takes two files; with it no other is scored")
        paths.pop("layout", None)
        results = compare(
            *map(Path, FLAGS.compare),
            **paths,
            seed=FLAGS.seed,
            partial=FLAGS.partial,
        )
        print(format_comparison(results))
        return round_floats(results)
    if FLAGS.data:
        paths |= flags.read_paths("data", "prepared")
    results = evaluate(
        **paths,
        split=FLAGS.split,
        seed=FLAGS.seed,
        partial=FLAGS.partial,
        figures=flags.read(FigureSettings),
    )
    print(format_evaluation(results))
    return round_floats(results)


if __name__ == "__main__":
    flags.run(main)
