"""What is trained: a network together with the loss of its landmarks."""

from keras_landmarks.models.keras_on_jax import keras, ops
from keras_landmarks.training.losses import LOSSES, mean_squared


class TrainingModel(keras.Model):
    """A network as `fit` trains it, on batches of images, landmarks and scales.

    The loss is a mean over images of one of `losses.LOSSES`. `mse` beside it is the contest's unit:
    squared photo pixels, over all points. The layers are the network's own.
    """

    def __init__(self, network: keras.Model, loss: str, in_photo_px: bool):
        """Takes the network and the loss, of errors in pixels of the crop or of the photo."""
        super().__init__(network.inputs, network.outputs, name="objective")
        self._image_losses, self._in_photo_px = LOSSES[loss], in_photo_px
        self._mse = keras.metrics.Mean(name="mse")

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Returns the loss of a batch.

        Args:
            x: the images, not used.
            y: landmarks (N, k, 2), pixels of the crop.
            y_pred: the same, with a log variance each if the network gives it: (N, k, 3). It is
                in pixels of the crop squared, whatever the loss's unit.
            sample_weight: in its place the scale of each crop, (N, 2): crop px to a photo px.
            training: not used.
        """
        crop_px = y_pred[..., :2] - y
        photo_px = crop_px / sample_weight[:, None]
        self._mse.update_state(mean_squared(photo_px))
        error_px = photo_px if self._in_photo_px else crop_px
        if y_pred.shape[-1] == 2:
            return ops.mean(self._image_losses(error_px))
        log_variance = y_pred[..., 2]
        if self._in_photo_px:  # the axes' scales are nearly one, or the crop is no face
            log_variance = log_variance - ops.sum(ops.log(sample_weight), axis=1)[:, None]
        return ops.mean(self._image_losses(error_px, log_variance))
