"""The Keras model that is trained: a network together with the loss of its landmarks."""

from collections.abc import Callable
from typing import Any

from keras_landmarks.models.keras_on_jax import keras, ops
from keras_landmarks.training.losses import LOSSES, mean_squared


class TrainingModel(keras.Model):
    """A network with its loss, which `fit` trains on batches of images, landmarks and scales.

    The loss is the mean over images of one of `losses.LOSSES`. The metric `mse` is the contest's:
    squared photo pixels, mean over all points that have a place. The model shares the layers of the
    network.
    """

    def __init__(self, network: keras.Model, loss: str, in_photo_px: bool, has_gaps: bool = False):
        """Wraps a network.

        Args:
            network: the network, from images to landmarks.
            loss: one of `losses.LOSSES`.
            in_photo_px: compute the loss from errors in photo pixels instead of crop pixels.
            has_gaps: whether landmarks may be NaN. If not, the sums are those of all landmarks, bit
                for bit.
        """
        super().__init__(network.inputs, network.outputs, name="objective")
        self._image_losses, self._in_photo_px = LOSSES[loss], in_photo_px
        self._has_gaps = has_gaps
        self._mse = keras.metrics.Mean(name="mse")

    # A loss such as log(1 + MSE) in photo pixels needs the crop's scale, which a Keras loss
    # function does not get; so the loss is a method, and the scale travels as the sample weight. A
    # log variance is of crop pixels whatever the loss's unit, so that a prediction can be brought
    # to the photo without knowing how the model was trained.
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Returns the loss of a batch.

        Args:
            x: the images; not used.
            y: true landmarks (N, k, 2), crop px; NaN where a landmark has no place.
            y_pred: predicted landmarks (N, k, 2), crop px, or (N, k, 3) with a log variance in
                squared crop px, whatever the loss's unit.
            sample_weight: not a weight but the scale of each crop (N, 2), crop px per photo px,
                because `fit` passes nothing else with a batch.
            training: not used.
        """
        present = None
        if self._has_gaps:
            present = ops.cast(ops.logical_not(ops.isnan(y[..., 0])), "float32")
            y = ops.nan_to_num(y)  # a NaN would spoil the gradient even with a weight of 0
        crop_px = y_pred[..., :2] - y
        photo_px = crop_px / sample_weight[:, None]
        self._mse.update_state(mean_squared(photo_px, present))
        error_px = photo_px if self._in_photo_px else crop_px
        if y_pred.shape[-1] == 2:
            return ops.mean(self._image_losses(error_px, present))
        log_variance = y_pred[..., 2]
        if self._in_photo_px:  # one variance serves both axes: their scales are nearly equal
            log_variance = log_variance - ops.sum(ops.log(sample_weight), axis=1)[:, None]
        return ops.mean(self._image_losses(error_px, log_variance, present))


def train_step(model: keras.Model) -> tuple[Callable, Any]:
    """Returns the train step of a compiled model as a pure function, and its initial state.

    It serves to run or compile a step without `fit`. The function takes (state, batch), with a
    batch as `fit` gets it, and returns (logs, state). It runs the forward and backward passes and
    updates the weights, the optimiser and the statistics of batch normalisation. The state's arrays
    are the model's own: if they are donated, the model cannot be used afterwards.
    """
    model.optimizer.build(model.trainable_variables)
    variables = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )

    # Not the bound method, for which JAX could reuse a trace made for another platform.
    def step(state, batch):
        return model.train_step(state, batch)

    return step, tuple([variable.value for variable in group] for group in variables)
