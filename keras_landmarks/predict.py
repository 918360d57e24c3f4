"""Predicts the landmarks of a split with a trained model's best weights.

Writes

    --submission     the contest's CSV: the points that test_points.csv requests, in whole pixels;
                     by default <workdir>/<split>_submission.csv
    --predictions    .npz without pickle: `file_names`, `landmarks` (n, k, 2) float32 in photo px
                     and, if the model was trained with --loss=nll, `sigmas` (n, k), the standard
                     deviation of a point's x and of its y; `point_names`, if the model has some;
                     `imputed`, the names of images that could not be read, if there are any;
                     by default <workdir>/<split>_predictions.npz

With --workdir=@faces, the model that is part of the package, the defaults lie in the current
folder.

For a split without test_points.csv, such as train, the images in its landmarks.csv are predicted,
and no submission is written. --only predicts the images that a table names, such as
work/validation.csv, which training held out. The contest rejects a CSV with a row missing, so an
image that cannot be read is given the mean shape of the other predictions, scaled to its width and
height or, if these are unknown, to the median ones. A table beside the results lists such images.

--tta averages the predictions of several views of each image: mirror adds the mirrored image, with
the mirror map that the model was trained with (or --mirror=contest or a file, if it was trained
without one); crops takes five views, slightly shifted and scaled; mirror,crops takes all ten.
flags/README.md has the gain of each. --two_pass predicts faces that are off the middle of their
photo, cut off, too small or too large a second time, from the photo cut around the points found
first as the contest's photos are cut around their faces.

Batch normalisation is folded into the convolutions first. A run that was killed resumes at the
batch that it had reached.

Examples:

    python -m keras_landmarks.predict --workdir=work --data=contest --submission=submission.csv
    python -m keras_landmarks.predict --workdir=@faces --data=contest --tta=mirror
    python -m keras_landmarks.predict --workdir=work --data=contest --split=train \\
        --only=work/validation.csv --predictions=held_out.npz

Time for 2,000 images on 2 cores (Zen 4), without the start: ResNeXt50 40.0 s, ResNet18 14.4 s. The
network takes 98 % and 93 % of it.
"""

from pathlib import Path

from keras_landmarks import flags
from keras_landmarks.inference.contest_splits.contest_predictions import predict_split
from keras_landmarks.models.packaged import output_folder
from keras_landmarks.settings import ImageSettings, PredictSettings
from keras_landmarks.utils import runtime

predict = predict_split  # for Python: `from keras_landmarks.predict import predict`

FLAGS = flags.use(
    *("workdir", "data", "predictions", "submission", "compilation_cache"),
    *(ImageSettings, PredictSettings),
)


def main(_) -> dict:
    """Reads the flags, predicts the split, returns the results."""
    flags.require("data")
    flags.use_huge_pages()
    runtime.use_compilation_cache(FLAGS.compilation_cache)
    split, by_default = FLAGS.split, output_folder(FLAGS.workdir)
    paths = {"submission": None, "predictions": by_default / f"{split}_predictions.npz"}
    paths |= flags.read_paths("submission", "predictions", "only")
    settings = flags.read(PredictSettings)
    return predict_split(FLAGS.workdir, Path(FLAGS.data), split, settings=settings, **paths)


if __name__ == "__main__":
    flags.run(main, PredictSettings)
