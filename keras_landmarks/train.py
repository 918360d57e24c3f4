"""Trains a model on a contest folder and keeps the weights with the lowest training loss.

Examples: the recipe on the contest's data; a first look on 2 cores; a light model.

    python -m keras_landmarks.train --flagfile=flags/best.cfg --data=contest
    python -m keras_landmarks.train --flagfile=flags/demo.cfg --data=faces --workdir=work
    python -m keras_landmarks.train --flagfile=flags/light.cfg --data=contest --workdir=light
    tensorboard --logdir=work/logs

The work directory gets

    best.weights.h5    the weights of the epoch with the lowest training loss
    last.safetensors   the state after the last epoch or save, from which a restarted run resumes
    history.csv        every epoch's metrics
    logs               the same for TensorBoard
    first              the work directory of --first_epochs, if there were any
    flags.cfg          the flags: --flagfile=WORKDIR/flags.cfg resumes the run; with another
                       --workdir it repeats it
    model.json         what `predict` needs to know of the model, and the points' names if --data
                       has them, in layout.json or in its table
    validation.csv     the images that were held out: predict, evaluate and report --only=...
    versions.json      the packages and devices that it was last started with
    rejects.csv        samples that could not be used, if there were any

STOPPING AND RESUMING. The same command resumes a run that was stopped or killed, and ends with the
same weights, bit for bit. Ctrl-C or SIGTERM saves the state and ends with status 130 (during
validation, after it); a second one ends at once. Images (names and points, wherever the folder
lies) and settings must be the same, except the number of epochs, the learning rates, and where and
how fast data are prepared; otherwise an error names the flags that differ. To continue from a run's
weights instead, give another --workdir and --init_weights=<its work directory>. One process (or
group of connected processes) at a time trains in a work directory. A loss that is no longer a
number ends the run with an error; the best weights stay as they were.

MODEL AND INPUT. ImageNet weights come from torchvision, by way of the Hugging Face hub; those of
mobilenet_v3_large and efficientnet_v2_b0, which suit accelerators, come from Keras. All but
MobileNet's were trained with --normalisation=imagenet; the recipe, and the default, is half. The
weights in a .safetensors file for --init_weights need torchvision's or timm's names. --framing=crop
is the recipe's. Photos that were cut out beyond the edge of a larger one have black bands, which
--trim_bands removes. model.json records these settings, and `predict` maps points back to the photo
exactly.

INITIAL WEIGHTS. --init_weights takes a work directory, a model in one file, or @faces, the model of
the package (see flags/few.cfg). They are taken at the first start only. Layers of the head that do
not fit are named and begin anew. If only the points differ, in number or in name, the new head
begins as the linear function of the trained model's points that fits the labels best; if only the
size of the crops differs, the head is adapted to it. --first_epochs trains on smaller crops first,
in the work directory WORKDIR/first, and begins the --epochs with its weights. An epoch costs in
proportion to the pixels. Both trainings count their epochs from 0 and run the whole schedule.

DATA. Points left empty in the table are ignored in the loss; each point must be labelled in at
least one training photo. Every table of --validation_groups must list every image.
--augment_online works in --processes worker processes; the recipe instead makes --augment_count
extra images offline (see `augment --help`). turn shows half of the heads as seen from another side,
by up to --turn_limit degrees; points other than the contest's need a mean head for it, a list of
[x, y, z] as `head` in --data's layout.json, x to the right, y down, z towards the viewer. misplace
moves a quarter of the faces farther than affine, by up to 0.3 of a side, 40 degrees, and 0.3 in
scale. degrade lowers the resolution, compresses or blurs, and changes the light. mirror mirrors
half of the images and needs to know which point each point becomes. A file for --mirror is JSON: a
list of partners, or an object with such a list as `mirror`. Ten faces are enough to check a map or
to find one, about a hundred to find it without a mistake. A wrong map is an error that names its
points.

CACHE. Before the first epoch every image is decoded and cropped once, into a dataset of TensorFlow
Datasets under --prepared: 57 kB an image at 128 px, so 25 GB for the contest's images and the
40,000 extra ones. The size is printed first; it is an error if the disk is too small. Later runs
read the crops as long as labels, images and crop settings are the same. If the size or times of the
table or an image have changed, or an image can be read that could not before, everything is checked
again. Each table, --limit and crop setting has its own folder, and none is deleted in favour of
another: delete --prepared when it has grown too large.

LOSS AND OPTIMISER. --head=shape predicts from the whole last feature map. --teacher has a better
model, or the mean of several (`ensemble`), teach a small one: labels are averaged with its
predictions, and these stand alone where a point has no place. Held-out images keep their labels.
--optimizer=muon learns faster than adamw from random weights and takes the same learning rates and
decay; give it a --schedule that falls to 0, such as cosine. The averaging window of --ema_momentum
grows with the steps, so that it suits short trainings as well. --grad_accum_steps helps if a batch
does not fit in memory.

LOG. `mse` in the log and in history.csv is the contest's unit, whatever the loss: squared photo
pixels over all points that have a place. `waiting` is the share of an epoch in which the device
waited for data; it and `images_per_s` leave out the first step after a start, which is compiled.
Epochs count from 1 in the log and the JSON, from 0 in history.csv. On Linux the command restarts
itself once to ask for huge pages (GLIBC_TUNABLES), unless you have set glibc.malloc.hugetlb there
yourself.

SEVERAL DEVICES. All GPUs or TPU chips of the machine are used. --batch_size must be a multiple of
their number; the statistics of batch normalisation are the whole batch's. Losses and weights are as
on one device except for the last bits of sums.

SEVERAL MACHINES. Start the same command on each. They share --data, --prepared and --workdir on a
network file system; each reads its share of the crops, and process 0 alone writes. JAX finds Slurm,
Open MPI, Kubernetes and Cloud TPU by itself; elsewhere name the processes, as in the second example
(--process_id=1 on the other host):

    srun --nodes=4 --ntasks-per-node=1 python -m keras_landmarks.train --flagfile=flags/best.cfg \\
        --data=contest --prepared=shared/prepared --workdir=shared/work
    python -m keras_landmarks.train --flagfile=flags/best.cfg --data=contest \\
        --prepared=shared/prepared --workdir=shared/work \\
        --coordinator=host0:8476 --num_processes=2 --process_id=0

Ctrl-C or SIGTERM to any of them saves the state, and all end after the same step. If one is killed
or its machine goes down, the others end with an error within half a minute. The same commands
resume.

PREPARING ON A CLUSTER. --beam_runner has `train` and `augment` make the crops and the extra images
on the workers of an Apache Beam runner (pip install -e ".[beam]"). The files are the same byte for
byte, and a killed run continues with those that are finished. Images are checked on this machine
first. With a Flink cluster, and this package with its extra on every machine:

    python -m apache_beam.runners.worker.worker_pool_main --service_port=50000   # at Flink's
    python -m keras_landmarks.train --flagfile=flags/best.cfg --data=/shared/contest \\
        --prepared=/shared/prepared --beam_runner=FlinkRunner \\
        --beam_options="--flink_master=flink:8081 --flink_version=1.20 --parallelism=64 \\
            --environment_type=EXTERNAL --environment_config=localhost:50000 \\
            --sdk_worker_parallelism=0"

Spark: SparkRunner with --spark_master_url=spark://host:7077 in place of Flink's three options. One
machine: --beam_runner=FnApiRunner --beam_options="--direct_num_workers=0
--direct_running_mode=multi_processing". DirectRunner tries to download Beam's Prism; where it
cannot, it behaves like FnApiRunner. Those two, and a job server with a worker pool as above, were
tested; Flink, Spark and Prism were not available.
"""

import functools
import resource
import time
from pathlib import Path
from typing import Any

from keras_landmarks import flags
from keras_landmarks.contest import locations
from keras_landmarks.input.extra_images import load_extra_images
from keras_landmarks.input.samples import (
    check_every_landmark,
    fingerprint_rows,
    load_training_samples,
)
from keras_landmarks.input.splits import split_samples
from keras_landmarks.input.teacher import teach
from keras_landmarks.settings import BeamSettings, ClusterSettings, TrainSettings
from keras_landmarks.utils import beam, runtime
from keras_landmarks.utils.errors import InputError

FLAGS = flags.use(TrainSettings, "compilation_cache", ClusterSettings, BeamSettings)


def main(_) -> dict[str, Any]:
    """Reads the flags, trains, returns the results."""
    flags.require("data")
    locations.find_image_folder(Path(FLAGS.data), "train")  # to fail before Keras is imported
    flags.use_huge_pages()
    for_each = beam.make_for_each(FLAGS.beam_runner, FLAGS.beam_options)
    runtime.use_compilation_cache(FLAGS.compilation_cache)
    # It imports Keras, which --help does not need.
    from keras_landmarks.training import distribution

    with distribution.runtime(flags.read(ClusterSettings)):
        return train(flags.read(TrainSettings), for_each)


def train(settings: TrainSettings, for_each: beam.ForEach | None = None) -> dict[str, Any]:
    """Trains, or resumes the training in the work directory, on all devices.

    Where several processes are connected, all of them call this with the same settings.

    Args:
        settings: the settings of the training.
        for_each: calls a function for each item on Beam's workers, which then make the crops and
            extra images (`beam.make_for_each`); None for this machine.

    Returns:
        The number of `train_images`, `validation_images`, `rejected` samples and `excluded` ones,
        and of landmarks without a place (`missing_points`); the results of `History.summary`; the
        peak memory of this process and the time.

    Raises:
        InputError: a setting or a file is invalid, or the work directory holds another training.
        BlockingIOError: another process trains in the work directory.
    """
    # Keras and TensorFlow take seconds to import; --help and the worker processes, which import
    # this module as well, do not need them.
    from keras_landmarks.input.cache import open_crops
    from keras_landmarks.input.pipeline import ImageSet
    from keras_landmarks.models import keras_on_jax  # noqa: F401 -- before JAX is imported
    from keras_landmarks.models.keras_settings import pinned_settings
    from keras_landmarks.training import (
        checkpoint,
        distribution,
        point_maps,
        trainer,
        work_directory,
    )

    started = time.monotonic()
    trainer.check_settings(settings)
    if settings.loss.teacher and for_each:
        raise InputError("--teacher does not go with --beam_runner: workers read labels themselves")
    with (
        work_directory.lock(settings),
        distribution.data_parallel(),
        pinned_settings(settings.network.precision),
    ):
        # ── Settings: the same as those of the training in the work directory, if there is one ──
        work_directory.check_settings(settings)

        # ── Samples and split ──
        with distribution.main_process_first("samples"):
            samples = load_training_samples(settings)
            split = split_samples(samples, settings.split)
            if settings.loss.teacher:
                samples = teach(samples, split.training, Path(settings.loss.teacher))
            head = point_maps.choose_head(settings, samples, split.training)
            fingerprint = fingerprint_rows(samples, split.training, head)
            work_directory.check_images(settings, fingerprint)
            check_every_landmark(samples, split.training)
            mirror_map = point_maps.choose_mirror_map(settings, samples, split.training)
            work_directory.check_model(settings, samples.num_landmarks, mirror_map)
            parts = [(samples, split.training)]
            if settings.extra_images.augment_count:
                parts.append(load_extra_images(samples, split.training, settings, for_each))

        # ── First epochs, with smaller crops: a training of its own ──
        if first := work_directory.begin_first_stage(settings, samples.num_landmarks):
            train(first, for_each)

        # ── Model: before the crops, so that wrong initial weights are an error early ──
        network = work_directory.claim(settings, samples.num_landmarks, mirror_map)
        held_out = [samples.file_names[row] for row in split.validation]
        work_directory.write_records(settings, samples, held_out)

        # ── Cache of crops ──
        with distribution.main_process_first("crops"):
            parts = [(open_crops(part, settings, for_each), rows) for part, rows in parts]
        num_images = sum(len(rows) for _, rows in parts)
        training = ImageSet(parts, settings.schedule.min_epoch_images)
        crops, _ = parts[0]
        validation = ImageSet([(crops, split.validation)])

        # ── Augmentation ──
        make_augmenter = None
        if settings.augmentation.augment_online:
            # albumentations takes a second to import.
            from keras_landmarks.input.augmentation import online_augmenter

            make_augmenter = functools.partial(
                online_augmenter, settings.augmentation, mirror_map, head
            )

        # ── Fit ──
        record = checkpoint.training_record(fingerprint, settings)
        has_gaps = samples.num_missing > 0
        history = trainer.fit(
            network, settings, training, validation, make_augmenter, has_gaps, record
        )

    # ── Results ──
    return {
        "workdir": settings.files.workdir,
        "model": settings.network.model,
        "train_images": num_images,
        "validation_images": len(validation),
        "rejected": len(samples.invalid_samples),
        "missing_points": samples.num_missing,
        "excluded": len(samples) - len(split.training) - len(split.validation),
        **history.summary(),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "seconds": round(time.monotonic() - started, 1),
    }


if __name__ == "__main__":
    flags.run(main)
