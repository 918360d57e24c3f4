"""One training run: a model, its work directory, and Keras's `fit` with everything around it."""

import contextlib
import functools
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from absl import logging

from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.input import pipeline
from keras_landmarks.input.augment_pool import AugmentPool
from keras_landmarks.input.augmentation_config import AugmentationConfig
from keras_landmarks.input.pipeline import HostShard, ImageSet
from keras_landmarks.layouts import mirror
from keras_landmarks.layouts.shape_basis import find_shape_basis
from keras_landmarks.models import heads, pretrained, registry, spec
from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.training import callbacks, checkpoint, distribution, optimizer
from keras_landmarks.training.callbacks import History
from keras_landmarks.training.checkpoint import Position, restore_checkpoint
from keras_landmarks.training.history import HISTORY_FILE, read_history
from keras_landmarks.training.progress_callbacks import Bar, LogLines, Pace
from keras_landmarks.training.schedule import step_schedule
from keras_landmarks.training.settings import TrainSettings, fixed_settings
from keras_landmarks.training.training_model import TrainingModel
from keras_landmarks.utils import interruption
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import exclusive_lock

_SHAPES_FOR_BASIS = 20_000
_LAST_STATE, _LOGS = "last.safetensors", "logs"


def check(settings: TrainSettings) -> None:
    """Raises InputError for what can be told to be wrong before any work is done."""
    registry.check_model_name(settings.model)
    step_schedule(settings.learning_rates)
    if settings.ema_momentum and settings.average_last_epochs:
        raise InputError("--ema_momentum and --average_last_epochs: give one of them")
    distribution.check_batch_size(settings.batch_size)


def lock_workdir(settings: TrainSettings) -> AbstractContextManager:
    """Returns a context within which no other process trains in the work directory.

    Of several processes that train together the first one holds it for all.

    Raises:
        BlockingIOError: another process trains there; the message names it.
    """
    if not distribution.is_first():
        return contextlib.nullcontext()
    return exclusive_lock(Path(settings.workdir))


def check_resume(settings: TrainSettings, flags: Mapping[str, Any]) -> None:
    """Raises InputError if the run in the work directory cannot go on as the flags ask.

    That is, if one of `settings.fixed_settings` has changed, or a file is missing by which the best
    weights are known. Nothing is written, so that a start that is refused leaves the run as it was.

    Args:
        settings: of the training.
        flags: these and those of the extra images, by flag.
    """
    workdir = Path(settings.workdir)
    if not settings.resume:
        return
    checkpoint.check_settings(workdir / _LAST_STATE, fixed_settings(flags))
    done = checkpoint.read_position(workdir / _LAST_STATE).epoch
    noted = len(read_history(workdir / HISTORY_FILE))
    if noted < done:
        raise InputError(
            f"{workdir / HISTORY_FILE}: missing or incomplete, it tells of {noted} epochs and"
            f" {done} are done; put it back, or start over with --noresume"
        )
    if done and not (workdir / pretrained.BEST_WEIGHTS).exists():
        raise InputError(
            f"{workdir / pretrained.BEST_WEIGHTS}: missing, and {done} epochs are done; put it"
            " back, or start over with --noresume"
        )


def check_images(settings: TrainSettings, images: str) -> None:
    """Raises InputError if the run to go on with was begun on images of another fingerprint."""
    if settings.resume:
        checkpoint.check_images(Path(settings.workdir) / _LAST_STATE, images)


def check_model(settings: TrainSettings, points: int, mirror_map: np.ndarray | None) -> None:
    """Raises InputError if the run to go on with trains another model, or mirrors other points."""
    workdir = Path(settings.workdir)
    if not settings.resume:
        return
    asked = spec_of(settings, points, mirror_map)
    spec.check_workdir(workdir, asked)
    mirrors = "mirror" in settings.augment_online and (workdir / _LAST_STATE).exists()
    if mirrors and spec.read_spec(workdir).mirror != asked.mirror:
        raise InputError(
            f"{workdir} holds a run that mirrors faces by another map than --mirror asks for: give"
            " the former, another --workdir, or --noresume to start over"
        )


def open_workdir(
    settings: TrainSettings, points: int, mirror_map: np.ndarray | None = None
) -> keras.Model:
    """Returns a model with its first weights; makes the work directory its own.

    The work directory remembers the mirror map, if there is one.
    Without `settings.resume` an earlier run's files there are removed.

    Raises:
        InputError: the work directory holds another model, or there are no such weights.
    """
    model_spec = spec_of(settings, points, mirror_map)
    if distribution.is_first():
        workdir = Path(settings.workdir)
        if not settings.resume:
            _remove_run(workdir)
        spec.claim_workdir(workdir, model_spec)
    distribution.wait_for_all("work directory")
    keras.utils.set_random_seed(settings.seed)
    model = model_spec.build(settings.precision)
    pretrained.initialise(model, settings.model, settings.init_weights)
    return model


def spec_of(
    settings: TrainSettings, points: int, mirror_map: np.ndarray | None = None
) -> spec.ModelSpec:
    """Returns which model the settings ask for, of faces with so many points."""
    frame = CropSpec.of(settings)
    return spec.ModelSpec(
        settings.model,
        points,
        frame.image_size,
        frame.framing,
        frame.trim_bands,
        settings.normalisation,
        settings.head,
        min(settings.shape_components, 2 * points) if settings.head == "shape" else 0,
        uncertainty=settings.loss == "nll",
        mirror=mirror.as_json(mirror_map),
    )


def _remove_run(workdir: Path) -> None:
    # The state first: without it, what is left if this is cut short is no run to go on with.
    for name in (_LAST_STATE, HISTORY_FILE, pretrained.BEST_WEIGHTS, spec.FILE_NAME):
        (workdir / name).unlink(missing_ok=True)
    shutil.rmtree(workdir / _LOGS, ignore_errors=True)


def compiled_objective(model: keras.Model, settings: TrainSettings, steps: int) -> TrainingModel:
    """Returns a model with the settings' loss and optimiser; an epoch has so many steps."""
    objective = TrainingModel(model, settings.loss, in_photo_px=settings.loss_unit == "photo")
    objective.compile(optimizer.build(settings, steps))
    return objective


def fit(
    model: keras.Model,
    settings: TrainSettings,
    training: ImageSet,
    validation: ImageSet,
    mirror_map: np.ndarray | None = None,
    notes: Mapping[str, Any] = MappingProxyType({}),
) -> History:
    """Trains up to `settings.epochs` epochs, going on from what the work directory holds.

    The work directory gets the best weights, the last state, the history and TensorBoard's logs.
    A run that was ended amid an epoch, in whatever way, and taken up comes to the same weights, to
    the bit, as one that was not.

    Over several devices or processes `settings.batch_size` is still the images of a step: each
    takes its share. Validation leaves out its last images, fewer than there are devices, if they do
    not share out. `notes` are of `state.run_notes`.

    Returns:
        The figures of every epoch.

    Raises:
        InputError: there are fewer images than a batch takes, an image broke meanwhile, or the loss
            is no longer a number.
        KeyboardInterrupt: Ctrl-C or SIGTERM came; the state is saved.
    """
    if len(training) < settings.batch_size:
        raise InputError(
            f"--batch_size={settings.batch_size}: only {len(training)} training images"
        )
    share = HostShard(distribution.rank(), distribution.count())
    workdir, steps = Path(settings.workdir), len(training) // settings.batch_size
    objective = compiled_objective(model, settings, steps)
    position, metrics = restore_checkpoint(workdir / _LAST_STATE, objective, steps)
    pace = Pace(settings.batch_size)
    history = History(workdir / HISTORY_FILE, pace, position.epoch)
    _say_how_it_goes_on(position, settings)
    validation_batches = _validation_batches(validation, settings, share)
    with (
        _augment_pool(training.points, mirror_map, settings) as augment_pool,
        pipeline.input_errors(),
        interruption.deferred(),
    ):
        if settings.head == "shape" and not heads.has_shape_basis(model):
            _set_shape_basis(model, settings, training, augment_pool, share)
        for start, end in _stretches(position, settings.epochs):
            batches = pipeline.train_batches(
                training, settings.batch_size, settings.seed, augment_pool, *start, share
            )
            objective.fit(
                pace.timed(batches.as_numpy_iterator()),
                validation_data=validation_batches,
                steps_per_epoch=steps - start.step,
                shuffle=False,
                initial_epoch=start.epoch,
                epochs=end,
                verbose=0,
                callbacks=callbacks.LazyLogs(
                    _callbacks(settings, history, pace, steps, start, metrics, notes),
                    add_history=True,
                    model=objective,
                    epochs=end,
                    steps=steps - start.step,
                ),
            )
    return history


def _say_how_it_goes_on(position: Position, settings: TrainSettings) -> None:
    if position.epoch >= settings.epochs:
        steps = f", steps of the next {position.step}" if position.step else ""
        done = f"{position.epoch}{steps}"
        logging.info("nothing to do: epochs done %s, asked for %d", done, settings.epochs)
    elif position != Position(0):
        logging.info("going on at %s", position)
        _say_how_the_schedule_changes(settings)


def _say_how_the_schedule_changes(settings: TrainSettings) -> None:
    before = checkpoint.read_epochs_asked(Path(settings.workdir) / _LAST_STATE)
    if settings.schedule in ("cosine", "one_cycle") and before not in (None, settings.epochs):
        logging.warning(
            "--schedule=%s: the learning rate now falls to 0 over %d epochs, not over the %d that"
            " were asked for before",
            *(settings.schedule, settings.epochs, before),
        )


def _stretches(position: Position, epochs: int) -> Iterator[tuple[Position, int]]:
    """Yields the start and the last epoch of each call of Keras's `fit`.

    What is left of an epoch has fewer steps than the others, and `fit` knows one number.
    """
    if position.epoch >= epochs:
        return
    if position.step:
        yield position, position.epoch + 1
        position = Position(position.epoch + 1)
    if position.epoch < epochs:
        yield position, epochs


def _set_shape_basis(
    model: keras.Model,
    settings: TrainSettings,
    training: ImageSet,
    augment_pool: AugmentPool | None,
    share: HostShard,
) -> None:
    """Finds the basis of the shapes that the first epoch shows, of the first some thousands."""
    batches = pipeline.train_batches(
        training, settings.batch_size, settings.seed, augment_pool, share=share
    )
    some = min(len(training), _SHAPES_FOR_BASIS) // settings.batch_size
    batches = batches.take(max(1, some))  # a batch may be larger
    shapes = (landmarks for _, landmarks, _ in batches.as_numpy_iterator())
    basis = find_shape_basis(shapes, settings.shape_components)
    heads.set_shape_basis(model, *distribution.from_first(basis))


def _augment_pool(
    points: int, mirror_map: np.ndarray | None, settings: TrainSettings
) -> AbstractContextManager:
    if not settings.augment_online:
        return contextlib.nullcontext()
    # Not at the top: albumentations takes a second to import.
    from keras_landmarks.input.augmentation import online_augmenter

    make = functools.partial(online_augmenter, AugmentationConfig.of(settings), mirror_map)
    batch_size = settings.batch_size // distribution.count()
    return AugmentPool(make, CropSpec.of(settings), points, batch_size, settings.processes)


def _validation_batches(images: ImageSet, settings: TrainSettings, share: HostShard):
    devices = distribution.devices()
    count = len(images) // devices * devices
    if count < len(images):
        left_out = len(images) - count
        logging.info("validation leaves out its last images, %d: %d devices", left_out, devices)
    if not count:
        return None
    return pipeline.validation_batches(images, settings.batch_size, count, share)


def weight_callbacks(
    settings: TrainSettings, steps: int, start: Position, metrics: Sequence[np.ndarray] = ()
) -> list[keras.callbacks.Callback]:
    """Returns the callbacks that decide what training makes of the weights and their averages.

    Args:
        settings: of the run.
        steps: of a whole epoch.
        start: where this call of `fit` begins: amid an epoch it trains what is left of that one.
        metrics: values of the model's metrics there, from `restore_checkpoint`.
    """
    by_epoch = settings.schedule == "steps"
    chosen = []
    if by_epoch:
        rates = step_schedule(settings.learning_rates)
        chosen.append(keras.callbacks.LearningRateScheduler(rates))
    else:
        chosen.append(callbacks.LogLearningRate())
    if start.step:
        chosen.append(callbacks.RestoreMetrics(metrics))
    elif by_epoch and settings.reset_optimizer_each_epoch:
        chosen.append(callbacks.ResetOptimizer())
    if settings.average_last_epochs:
        first_epoch = settings.epochs - settings.average_last_epochs
        chosen.append(callbacks.AverageLastEpochs(first_epoch, steps - start.step))
    if settings.ema_momentum or settings.average_last_epochs:
        chosen.append(callbacks.ValidateAveragedWeights())
    return chosen


def _callbacks(
    settings: TrainSettings,
    history: History,
    pace: Pace,
    steps: int,
    start: Position,
    metrics: list[np.ndarray],
    notes: Mapping[str, Any],
) -> list[keras.callbacks.Callback]:
    """Returns all callbacks of a call of `fit`, in the order in which they must come."""
    workdir = Path(settings.workdir)
    chosen = [pace, *weight_callbacks(settings, steps, start, metrics)]
    # Before anything is made of the epoch's figures.
    chosen.append(callbacks.StopAtNaN())
    chosen.append(callbacks.BestWeights(workdir / pretrained.BEST_WEIGHTS, history.best_loss))
    if distribution.is_first():
        chosen.append(callbacks.EpochTensorBoard(workdir / _LOGS, write_graph=False))
    chosen.append(history)
    if distribution.is_first():
        lines = Bar if sys.stderr.isatty() else LogLines
        chosen.append(lines(pace, settings.epochs, steps, start))
    # Last: what it writes counts as done, so all of the above must be on disk.
    every_steps = settings.save_every_steps
    chosen.append(callbacks.SaveState(workdir / _LAST_STATE, every_steps, steps, start.step, notes))
    return chosen
