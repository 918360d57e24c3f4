"""Draws a folder full of synthetic faces in the contest's form, to try every command on.

Writes under --data

    train/images/, train/landmarks.csv         --train_images faces with their 971 points
    test/images/, test/test_points.csv         --test_images faces, 30 requested points of each
    test/test_landmarks.csv                    all points of the test faces

The faces are cartoons, drawn by the program; no photo of anyone is involved. The same --seed gives
the same files, whatever the number of --processes.

Example:

    python -m keras_landmarks.synthesize --data=faces --train_images=1500 --test_images=200
"""

from pathlib import Path

from keras_landmarks import flags
from keras_landmarks.synthetic.dataset import synthesize_dataset

synthesize = synthesize_dataset  # for Python, as the other commands have it

FLAGS = flags.use("data", "train_images", "test_images", "seed", "processes")


def main(_) -> dict:
    """Writes the faces and returns how many."""
    flags.require("data")
    return synthesize_dataset(
        Path(FLAGS.data), FLAGS.train_images, FLAGS.test_images, FLAGS.seed, FLAGS.processes
    )


if __name__ == "__main__":
    flags.run(main)
