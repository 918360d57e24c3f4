import golden_models
import keras
import numpy as np

from keras_landmarks.training.callbacks import ResetOptimizer
from keras_landmarks.training.optimizer import recipe


class StepLosses(keras.callbacks.Callback):
    """The loss of every step, from the mean over the epoch so far that Keras logs."""

    def __init__(self):
        super().__init__()
        self.epochs = []

    def on_epoch_begin(self, epoch, logs=None):
        self.sums = [0.0]

    def on_train_batch_end(self, batch, logs=None):
        self.sums.append(logs["loss"] * (batch + 1))

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(np.diff(self.sums))


def test_losses_follow_pytorch():
    golden = golden_models.values("training")
    model = golden_models.build("basic", golden["images"].shape[1:3])
    model.compile(recipe(), loss="mse")
    losses = StepLosses()
    epochs, batches = golden["losses"].shape
    model.fit(
        golden["images"],
        golden["landmarks"],
        batch_size=len(golden["images"]) // batches,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[
            keras.callbacks.LearningRateScheduler(lambda epoch: golden["learning_rates"][epoch]),
            ResetOptimizer(),
            losses,
        ],
    )
    np.testing.assert_allclose(losses.epochs, golden["losses"], rtol=1e-4)


def test_optimiser_is_pytorchs_amsgrad():
    """After a large gradient, AMSGrad keeps its steps small where plain Adam's grow again."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(recipe(), loss="mse")
    optimizer, weight = model.optimizer, model.trainable_variables[0]
    weight.assign([[1.0]])
    optimizer.build([weight])
    optimizer.learning_rate = 0.1
    expected, mean, square, largest = 1.0, 0.0, 0.0, 0.0
    for step, gradient in enumerate([10.0] + [0.1] * 300, start=1):
        optimizer.apply([np.array([[gradient]])], [weight])
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        largest = max(largest, square)
        root = np.sqrt(largest / (1 - 0.999**step)) + 1e-8
        expected -= 0.1 * mean / (1 - 0.9**step) / root
    np.testing.assert_allclose(weight.numpy(), [[expected]], rtol=1e-4)
    assert largest > 1.2 * square  # otherwise Adam would pass as well
