"""One training run: a model, its work directory, and Keras's `fit` with everything around it."""

import contextlib
import functools
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import keras

from keras_landmarks import interruption
from keras_landmarks.data import pipeline
from keras_landmarks.data.augment_pool import AugmentPool
from keras_landmarks.data.pipeline import ImageSet
from keras_landmarks.errors import InputError
from keras_landmarks.models import pretrained, resnet, spec
from keras_landmarks.training import callbacks
from keras_landmarks.training.callbacks import History
from keras_landmarks.training.schedule import step_schedule
from keras_landmarks.training.settings import TrainSettings
from keras_landmarks.training.state import restore_state

_LAST_STATE = "last.safetensors"


def check(settings: TrainSettings) -> None:
    """Raises InputError for what can be told to be wrong before any work is done."""
    resnet.member(settings.model)
    step_schedule(settings.learning_rates)


def open_workdir(settings: TrainSettings, points: int) -> keras.Model:
    """Returns a compiled model with its first weights; makes the work directory its own.

    Raises:
        InputError: the work directory holds another model, or there are no such weights.
    """
    model_spec = spec.ModelSpec(settings.model, points, settings.image_size)
    spec.claim_workdir(Path(settings.workdir), model_spec)
    keras.utils.set_random_seed(settings.seed)
    keras.config.set_dtype_policy(settings.precision)
    model = model_spec.build()
    pretrained.initialise(model, settings.model, settings.init_weights)
    compile_recipe(model)
    return model


def compile_recipe(model: keras.Model) -> None:
    """Compiles with the recipe's loss and optimiser: mean squared error, Adam with AMSGrad.

    The learning rate comes with each epoch. epsilon is PyTorch's default; PyTorch adds it after the
    second moment's bias correction and Keras before: in the first steps Keras's weighs more, which
    shows only where gradients are as small as it.
    """
    model.compile(keras.optimizers.Adam(amsgrad=True, epsilon=1e-8, name="adam"), loss="mse")


def fit(
    model: keras.Model, settings: TrainSettings, training: ImageSet, validation: ImageSet
) -> History:
    """Trains up to `settings.epochs` epochs, going on from what the work directory holds.

    The work directory gets the best weights, the last state, the history and TensorBoard's logs.

    Returns:
        The figures of every epoch.

    Raises:
        InputError: there are fewer images than a batch takes, or an image broke meanwhile.
    """
    if len(training) < settings.batch_size:
        raise InputError(
            f"--batch_size={settings.batch_size}: only {len(training)} training images"
        )
    workdir = Path(settings.workdir)
    steps = len(training) // settings.batch_size
    epochs_done = restore_state(workdir / _LAST_STATE, model)
    history = History(workdir / "history.csv", steps * settings.batch_size, epochs_done)
    waiting = callbacks.Waiting()
    with (
        _augment_pool(training.points, settings) as augment_pool,
        pipeline.input_errors(),
        interruption.deferred(),
    ):
        batches = pipeline.train_batches(
            training,
            settings.batch_size,
            settings.seed,
            augment_pool,
            first_epoch=epochs_done,
        )
        model.fit(
            waiting.timed(batches.as_numpy_iterator()),
            validation_data=_validation_batches(validation, settings),
            steps_per_epoch=steps,
            shuffle=False,
            initial_epoch=epochs_done,
            epochs=settings.epochs,
            verbose=int(sys.stdout.isatty()),
            callbacks=[waiting, *_callbacks(workdir, settings, history)],
        )
    return history


def _augment_pool(points: int, settings: TrainSettings) -> AbstractContextManager:
    if not settings.augment_online:
        return contextlib.nullcontext()
    # Not at the top: albumentations takes a second to import.
    from keras_landmarks.data.augmentation import online_augmenter

    make = functools.partial(online_augmenter, points)
    return AugmentPool(make, settings.image_size, points, settings.batch_size, settings.processes)


def _validation_batches(images: ImageSet, settings: TrainSettings):
    if not len(images):
        return None
    return pipeline.validation_batches(images, settings.batch_size)


def _callbacks(workdir: Path, settings: TrainSettings, history: History) -> list:
    chosen = [keras.callbacks.LearningRateScheduler(step_schedule(settings.learning_rates))]
    if settings.reset_optimizer_each_epoch:
        chosen.append(callbacks.ResetOptimizer())
    chosen.append(callbacks.Interruptible())
    chosen.append(callbacks.BestWeights(workdir / pretrained.BEST_WEIGHTS, history.best_loss))
    chosen.append(keras.callbacks.TensorBoard(workdir / "logs", write_graph=False))
    chosen.append(history)
    if not sys.stdout.isatty():
        chosen.append(callbacks.LogLines())
    # Last: an epoch counts as done when all of the above is on disk.
    chosen.append(callbacks.SaveState(workdir / _LAST_STATE))
    return chosen
