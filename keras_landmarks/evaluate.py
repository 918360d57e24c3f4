"""Scores predicted points against true ones, matched by file name.

    MSE    mean squared error in photo px², the contest's metric
    NME    mean distance / √(width · height) of the box around the true points
    AUC    area under the curve of the share of images by NME, and the failure rate, both at 7 %

Percentiles and the errors by region of the face are printed as well.

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
of the truth that `train` would skip are skipped and counted (`rejected`); it is an error if most
are. In a submission every row that is scored must be valid. For points other than the contest's,
--layout names a JSON file with their regions, such as `convert` writes, with the first and last
point of each: {"regions": {"nose": [27, 35]}}.
"""

from pathlib import Path
from typing import Any

from keras_landmarks import flags
from keras_landmarks.evaluation.formatting import round_floats
from keras_landmarks.evaluation.result_tables import format_comparison, format_evaluation
from keras_landmarks.evaluation.scoring import compare, evaluate
from keras_landmarks.settings import ImageSettings, PointSettings, ScoringSettings
from keras_landmarks.utils.errors import InputError

FLAGS = flags.use(
    *("data", "prepared", "predictions", "submission", "seed"),
    *(ImageSettings, PointSettings, ScoringSettings),
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
    results = evaluate(**paths, split=FLAGS.split, seed=FLAGS.seed, partial=FLAGS.partial)
    print(format_evaluation(results))
    return round_floats(results)


if __name__ == "__main__":
    flags.run(main)
