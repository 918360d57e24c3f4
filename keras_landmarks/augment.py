"""Makes extra training images offline: a contest folder's first rows, shifted, scaled and rotated.

`train` does this by itself when its flags ask for it (--augment_count). The result is a folder in
the contest's form, <prepared>/augmented-<key>. There is one for each choice of data and settings,
so that no run removes another's images. An extra image of which a point moves beyond the edge is
dropped and counted; --augment_refill replaces it by one made from a later row. The same --seed
gives the same files, whatever the number of processes. A run that was killed resumes where it was.
Its journal holds the size of every image, so that images left empty by a power cut are made again.

--beam_runner makes the images on a cluster; see `train --help`.

Example, the recipe's 40,000:

    python -m keras_landmarks.augment --data=contest --prepared=prepared --augment_count=40000
"""

from pathlib import Path
from typing import Any

from keras_landmarks import flags
from keras_landmarks.input.extra_images import ExtraImageSpec, make_extra_images
from keras_landmarks.input.samples import load_training_samples
from keras_landmarks.settings import BeamSettings, ExtraImageSettings, TrainSettings
from keras_landmarks.utils import beam
from keras_landmarks.utils.errors import InputError

FLAGS = flags.use(
    *("data", "prepared", "limit", "strict", "seed", "processes"),
    *("rotate_limit", "shift_limit", "scale_limit"),
    *(ExtraImageSettings, BeamSettings),
)


def main(_) -> dict[str, Any]:
    """Reads the flags, makes the images, returns the results."""
    flags.require("data")
    settings = flags.read(TrainSettings)
    if not settings.extra_images.augment_count:
        raise InputError("--augment_count is needed: how many extra images to make")
    for_each = beam.make_for_each(FLAGS.beam_runner, FLAGS.beam_options)
    samples = load_training_samples(settings)
    spec = ExtraImageSpec.of(settings)
    made = make_extra_images(samples, Path(FLAGS.prepared), spec, FLAGS.processes, for_each)
    return made | {"rejected": len(samples.invalid_samples)}


if __name__ == "__main__":
    flags.run(main)
