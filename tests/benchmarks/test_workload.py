import keras
import numpy as np

from keras_landmarks.benchmarks.workload import Workload, new_training_model


def test_large_batch_repeats_images(settings, faces, tmp_path):
    large = Workload(settings.replace(batch_size=30), faces, tmp_path, seconds=0.0)
    images, landmarks, _ = large.batch
    assert images.shape == (30, 32, 32, 3)
    assert landmarks.shape == (30, 971, 2)
    assert len(np.unique(images.reshape(30, -1), axis=0)) == 24


def test_training_model_follows_the_settings(settings, small_model):
    changes = {"loss": "nll", "loss_unit": "photo", "head": "shape", "shape_components": 4}
    changes |= {
        "optimizer": "sgd",
        "grad_accum_steps": 2,
        "ema_momentum": 0.9,
        "model": small_model,
    }
    model = new_training_model(settings.replace(**changes), 971)
    assert model.output_shape == (None, 971, 3)
    assert model.get_layer("coefficients").units == 4
    assert isinstance(model.optimizer, keras.optimizers.SGD)
    assert model.optimizer.gradient_accumulation_steps == 2
