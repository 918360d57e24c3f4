import jax
import keras
import numpy as np
import pytest

from keras_landmarks.training.callbacks import LazyLogs, ResetOptimizer, SaveCheckpoint, StopAtNaN
from keras_landmarks.utils.errors import InputError


def test_reset_keeps_only_the_learning_rate():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.5, amsgrad=True), loss="mse")
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    callback = ResetOptimizer()
    callback.set_model(model)
    callback.on_epoch_begin(0)
    learning_rate, rest = model.optimizer.learning_rate, model.optimizer.variables
    assert float(learning_rate) == 0.5
    assert all(not np.any(v.numpy()) for v in rest if v is not learning_rate)
    assert len(rest) == 2 + 3 * 2  # iteration and rate; two moments and the AMSGrad maximum


def test_step_metrics_stay_on_the_device():
    kinds = set()
    look = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: kinds.add(type(logs["loss"])),
        on_epoch_end=lambda epoch, logs: kinds.add(type(logs["loss"])),
    )
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    callbacks = LazyLogs([look], add_history=True, model=model, epochs=1, steps=2)
    model.fit(np.ones((8, 2)), np.ones((8, 1)), batch_size=4, verbose=0, callbacks=callbacks)
    assert float in kinds
    assert any(issubclass(kind, jax.Array) for kind in kinds)


@pytest.mark.parametrize(("batch", "steps"), [(49, 200), (7, 8)])
def test_nan_loss_ends_training(batch, steps):
    callback = StopAtNaN()
    callback.set_params({"steps": steps})
    callback.on_epoch_begin(0)
    callback.on_train_batch_end(0, {"loss": float("nan")})
    with pytest.raises(InputError, match=r"nan .*epoch 1\b"):
        callback.on_train_batch_end(batch, {"loss": float("nan")})


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_checkpoint_needs_a_finite_loss(tmp_path, loss):
    callback = SaveCheckpoint(tmp_path / "last.safetensors", 1, 10, 0, {})
    callback.on_epoch_begin(0)
    with pytest.raises(InputError, match=rf"{loss} .*epoch 1\b"):
        callback.on_train_batch_end(0, {"loss": loss})
    with pytest.raises(InputError, match=rf"{loss} .*epoch 1\b"):
        callback.on_epoch_end(0, {"loss": loss})
    assert not list(tmp_path.iterdir())
