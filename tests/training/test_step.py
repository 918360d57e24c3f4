import jax
import numpy as np
import pytest

from keras_landmarks.models import networks, resnet
from keras_landmarks.models.layers import lowering_for
from keras_landmarks.training.optimizer import recipe
from keras_landmarks.training.step import train_step
from keras_landmarks.training.training_model import TrainingModel

POINTS, SIZE = 5, 32
KINDS = {
    "basic": resnet.ResNetConfig("basic", (1, 1), stem_width=8),
    "grouped": resnet.ResNetConfig("bottleneck", (1, 1), groups=4, base_width=32, stem_width=8),
}


def compiled_model(kind):
    model = TrainingModel(networks.build(KINDS[kind], POINTS, SIZE), "mse", in_photo_px=True)
    model.compile(recipe())
    return model


def some_batch(images=4):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (images, SIZE, SIZE, 3), np.uint8)
    landmarks = rng.uniform(0, SIZE, (images, POINTS, 2)).astype(np.float32)
    return pixels, landmarks, rng.uniform(0.5, 2, (images, 2)).astype(np.float32)


def test_two_steps_are_those_of_keras():
    model, batch = compiled_model("basic"), some_batch()
    function, state = train_step(model)
    step = jax.jit(function)
    for _ in range(2):
        logs, state = step(state, batch)
    for _ in range(2):
        model.train_on_batch(*batch)
    _, after_keras = train_step(model)
    weights, statistics, optimizer, _ = state
    for ours, theirs in zip((weights, statistics, optimizer), after_keras, strict=False):
        assert len(ours) == len(theirs)
        for our, their in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(our, their, rtol=1e-4, atol=1e-5)
    assert float(logs["loss"]) > 0


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_step_lowers_for_accelerators(kind, platform):
    step, state = train_step(compiled_model(kind))
    with lowering_for(platform):
        exported = jax.export.export(jax.jit(step), platforms=[platform])(state, some_batch())
    assert exported.platforms == (platform,)
    shapes = [array.shape for array in jax.tree.leaves(state)]
    assert [aval.shape for aval in exported.out_avals][-len(shapes) :] == shapes
