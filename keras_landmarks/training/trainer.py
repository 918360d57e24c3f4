"""Trains a network with Keras's `fit`: sets up loss, optimiser, batches, callbacks, checkpoints."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from absl import logging

from keras_landmarks.input import pipeline
from keras_landmarks.input.augment_pool import Augment, AugmentPool
from keras_landmarks.input.pipeline import HostShard, ImageSet
from keras_landmarks.layouts.gaps import fill_gaps, rows_to_add
from keras_landmarks.layouts.shape_basis import find_shape_basis
from keras_landmarks.models import heads
from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.models.weight_files import BEST_WEIGHTS
from keras_landmarks.settings import TrainSettings
from keras_landmarks.training import (
    callbacks,
    checkpoint,
    distribution,
    initial_head,
    optimizer,
)
from keras_landmarks.training.callbacks import History
from keras_landmarks.training.checkpoint import Position, restore_checkpoint
from keras_landmarks.training.progress_callbacks import LogLines, Pace, ProgressBar
from keras_landmarks.training.records import HISTORY_FILE
from keras_landmarks.training.schedule import parse_epoch_schedule
from keras_landmarks.training.training_model import TrainingModel
from keras_landmarks.training.work_directory import CHECKPOINT, LOGS
from keras_landmarks.utils import interruption
from keras_landmarks.utils.errors import InputError

_SHAPES_FOR_BASIS = 20_000  # at most


def check_settings(settings: TrainSettings) -> None:
    """Raises InputError for settings that contradict each other or this machine."""
    parse_epoch_schedule(settings.schedule.learning_rates)
    if settings.optimizer.ema_momentum and settings.optimizer.average_last_epochs:
        raise InputError("--ema_momentum and --average_last_epochs: give only one of them")
    if settings.optimizer.ema_momentum == 1:
        raise InputError("--ema_momentum=1 would keep the first step's weights for good")
    averaged, epochs = settings.optimizer.average_last_epochs, settings.schedule.epochs
    if averaged > epochs:
        raise InputError(f"--average_last_epochs={averaged}: there are only {epochs} epochs")
    distribution.check_batch_size(settings.run.batch_size)


def compile_model(
    network: keras.Model, settings: TrainSettings, steps: int, has_gaps: bool = False
) -> TrainingModel:
    """Returns the network compiled for training with the loss and optimiser of the settings.

    Args:
        network: the network, from images to landmarks.
        settings: the settings of the training.
        steps: the number of steps of an epoch.
        has_gaps: whether some landmarks have no place.
    """
    in_photo_px = settings.loss.loss_unit == "photo"
    model = TrainingModel(network, settings.loss.loss, in_photo_px, has_gaps)
    # Muon takes a kernel for one matrix; a grouped one is several.
    grouped = [layer.name for layer in network.layers if getattr(layer, "groups", 1) > 1]
    model.compile(optimizer.build(settings.optimizer, settings.schedule, steps, grouped))
    return model


def fit(
    network: keras.Model,
    settings: TrainSettings,
    training: ImageSet,
    validation: ImageSet,
    make_augmenter: Callable[[], Augment] | None = None,
    has_gaps: bool = False,
    record: Mapping[str, Any] = MappingProxyType({}),
) -> History:
    """Trains until `--epochs` are done, starting from the checkpoint in the work directory.

    The work directory gets the best weights, the checkpoint, the history and TensorBoard's logs.
    Resuming is bit-exact: a training that was killed at any moment and started again ends with the
    same weights as one that was not.

    With several devices or processes `--batch_size` is still the number of images of a step; each
    takes its share. Validation drops its last images if they are not divisible by the devices.

    Args:
        network: the network, from images to landmarks, with its initial weights.
        settings: the settings of the training.
        training: the images to train on.
        validation: the images to validate on; may be empty.
        make_augmenter: called in each worker process, returns what augments training images; None
            for no augmentation.
        has_gaps: whether some landmarks have no place.
        record: the record for checkpoints, from `checkpoint.training_record`.

    Returns:
        The metrics of every epoch.

    Raises:
        InputError: there are fewer images than a batch takes, an image was damaged meanwhile, or
            the loss is not a number.
        KeyboardInterrupt: Ctrl-C or SIGTERM came; the checkpoint is written.
    """
    batch_size, epochs = settings.run.batch_size, settings.schedule.epochs
    if len(training) < batch_size:
        raise InputError(f"--batch_size={batch_size}: only {len(training)} training images")
    shard = HostShard(distribution.process_index(), distribution.num_processes())
    workdir, steps = Path(settings.files.workdir), len(training) // batch_size
    accumulated = settings.optimizer.grad_accum_steps
    if accumulated > steps:
        raise InputError(f"--grad_accum_steps={accumulated}: an epoch has only {steps} steps")
    model = compile_model(network, settings, steps, has_gaps)
    position, metrics = restore_checkpoint(workdir / CHECKPOINT, model, steps)
    pace = Pace(batch_size)
    history = History(workdir / HISTORY_FILE, pace, position.epoch)
    _log_start(position, settings)
    validation_batches = _validation_batches(validation, batch_size, shard)
    with (
        _augment_pool(make_augmenter, training, settings) as augment_pool,
        pipeline.input_errors(),
        interruption.deferred(),
    ):
        if settings.network.head == "shape" and not heads.has_shape_basis(network):
            _set_shape_basis(network, settings, training, has_gaps, augment_pool, shard)
        if position == Position(0):
            initial_head.begin(network, settings, training.first_part())
        for start, last_epoch in _fit_calls(position, epochs):
            batches = pipeline.train_batches(
                training, batch_size, settings.run.seed, augment_pool, *start, shard
            )
            # No prefetch to the device of our own: Keras's JAX trainer puts the next batch on an
            # accelerator while it hands out the current one, except under `keras.distribution`.
            model.fit(
                pace.timed(batches.as_numpy_iterator()),
                validation_data=validation_batches,
                steps_per_epoch=steps - start.step,
                shuffle=False,
                initial_epoch=start.epoch,
                epochs=last_epoch,
                verbose=0,
                callbacks=callbacks.LazyLogs(
                    _callbacks(settings, history, pace, steps, start, metrics, record),
                    add_history=True,
                    model=model,
                    epochs=last_epoch,
                    steps=steps - start.step,
                ),
            )
    return history


def _fit_calls(position: Position, epochs: int) -> Iterator[tuple[Position, int]]:
    """Yields the start and the last epoch of each call of Keras's `fit`.

    `fit` takes one number of steps for all its epochs, and the rest of an epoch that was
    interrupted has fewer steps than the others: it gets a call of its own.
    """
    if position.epoch >= epochs:
        return
    if position.step:
        yield position, position.epoch + 1
        position = Position(position.epoch + 1)
    if position.epoch < epochs:
        yield position, epochs


def _log_start(position: Position, settings: TrainSettings) -> None:
    epochs = settings.schedule.epochs
    if position.epoch >= epochs:
        steps = f" and {position.step} steps of the next" if position.step else ""
        logging.info("nothing to do: %d%s of %d epochs are done", position.epoch, steps, epochs)
    elif position != Position(0):
        logging.info("resuming at %s", position)
        _log_change_of_schedule(settings)


def _log_change_of_schedule(settings: TrainSettings) -> None:
    schedule = settings.schedule
    before = checkpoint.read_epochs(Path(settings.files.workdir) / CHECKPOINT)
    if schedule.schedule in ("cosine", "one_cycle") and before not in (None, schedule.epochs):
        logging.warning(
            "--schedule=%s: the learning rate now falls to 0 over %d epochs, before it was %d",
            *(schedule.schedule, schedule.epochs, before),
        )


# ── batches ──


def _augment_pool(
    make_augmenter: Callable[[], Augment] | None, training: ImageSet, settings: TrainSettings
) -> AbstractContextManager:
    if make_augmenter is None:
        return contextlib.nullcontext()
    batch_size = settings.run.batch_size // distribution.num_processes()
    sizes = training.crop_spec, training.num_landmarks, batch_size
    return AugmentPool(make_augmenter, *sizes, settings.run.processes)


def _validation_batches(images: ImageSet, batch_size: int, shard: HostShard):
    devices = distribution.num_devices()
    count = len(images) // devices * devices
    if count < len(images):
        logging.info(
            "dropping %d validation images: not divisible by %d devices",
            *(len(images) - count, devices),
        )
    return pipeline.validation_batches(images, batch_size, count, shard) if count else None


def _set_shape_basis(
    network: keras.Model,
    settings: TrainSettings,
    training: ImageSet,
    has_gaps: bool,
    augment_pool: AugmentPool | None,
    shard: HostShard,
) -> None:
    """Sets the head's basis: the principal components of the first epoch's augmented shapes.

    Of augmented shapes, because the head must be able to predict these.
    """
    batch_size = settings.run.batch_size
    batches = pipeline.train_batches(
        training, batch_size, settings.run.seed, augment_pool, shard=shard
    )
    count = min(len(training), _SHAPES_FOR_BASIS) // batch_size
    batches = batches.take(max(1, count))  # a batch may be larger
    shapes = (landmarks for _, landmarks, _ in batches.as_numpy_iterator())
    if has_gaps:
        shapes = np.concatenate(list(shapes))
        more = rows_to_add(shapes, training.landmarks())
        shapes = [fill_gaps(np.concatenate([shapes, training.load(np.array(more, int))[1]]))]
    basis = find_shape_basis(shapes, settings.network.shape_components)
    heads.set_shape_basis(network, *distribution.broadcast_from_first(basis))


# ── callbacks ──


def optimizer_callbacks(
    settings: TrainSettings, steps: int, start: Position, metrics: Sequence[np.ndarray] = ()
) -> list[keras.callbacks.Callback]:
    """Returns the callbacks that affect the weights and their averages.

    Args:
        settings: the settings of the training.
        steps: the number of steps of a whole epoch.
        start: the position at which this call of `fit` starts. If it is within an epoch, the call
            trains the rest of that epoch.
        metrics: the values of the model's metrics at the start, from `restore_checkpoint`.
    """
    by_epoch = settings.schedule.schedule == "steps"
    result = []
    if by_epoch:
        rates = parse_epoch_schedule(settings.schedule.learning_rates)
        result.append(keras.callbacks.LearningRateScheduler(rates))
    else:
        result.append(callbacks.LogLearningRate())
    if start.step:
        result.append(callbacks.RestoreMetrics(metrics))
    elif by_epoch and settings.optimizer.reset_optimizer_each_epoch:
        result.append(callbacks.ResetOptimizer())
    averaged_epochs = settings.optimizer.average_last_epochs
    if averaged_epochs:
        first_epoch = settings.schedule.epochs - averaged_epochs
        result.append(callbacks.AverageLastEpochs(first_epoch, steps - start.step))
    if settings.optimizer.ema_momentum or averaged_epochs:
        result.append(callbacks.ValidateAveragedWeights())
    return result


def _callbacks(
    settings: TrainSettings,
    history: History,
    pace: Pace,
    steps: int,
    start: Position,
    metrics: list[np.ndarray],
    record: Mapping[str, Any],
) -> list[keras.callbacks.Callback]:
    """Returns all callbacks of a call of `fit`. Their order matters."""
    workdir, epochs = Path(settings.files.workdir), settings.schedule.epochs
    writes = distribution.is_first()
    progress = ProgressBar if sys.stderr.isatty() else LogLines
    every_steps = settings.run.save_every_steps
    return [
        pace,  # first: it measures the steps
        *optimizer_callbacks(settings, steps, start, metrics),
        callbacks.StopAtNaN(),  # before other callbacks use the metrics of an epoch
        callbacks.BestWeights(workdir / BEST_WEIGHTS, history.best_loss),
        *([callbacks.EpochTensorBoard(workdir / LOGS, write_graph=False)] if writes else []),
        history,
        *([progress(pace, epochs, steps, start)] if writes else []),
        # Last, so that everything that its checkpoint counts as done is on disk.
        callbacks.SaveCheckpoint(workdir / CHECKPOINT, every_steps, steps, start.step, record),
    ]
