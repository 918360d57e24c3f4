import golden_models
import keras
import numpy as np

from keras_landmarks.training.callbacks import ResetOptimizer


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


def test_losses_follow_pytorch_over_epochs_with_the_optimiser_built_anew():
    golden = golden_models.values("training")
    model = golden_models.build("basic", golden["images"].shape[1:3])
    # PyTorch adds epsilon after the bias correction, Keras before it: beside gradients as large as
    # these, 1e-8 is nothing in either place.
    optimizer = keras.optimizers.Adam(amsgrad=True, epsilon=1e-8)
    model.compile(optimizer, loss="mse")
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
