import jax
import numpy as np
import pytest

from keras_landmarks.models.keras_models import build_model
from keras_landmarks.models.keras_weights import named_variables, save_safetensors
from keras_landmarks.models.onnx.resnet import resnet_to_onnx, weight_shapes
from keras_landmarks.models.registry import RESNETS, ResNetConfig
from keras_landmarks.models.spec import ModelSpec
from keras_landmarks.models.weight_files import read_arrays

onnxruntime = pytest.importorskip("onnxruntime")

LINEAR = {"head": "linear"}
SHAPE = {"head": "shape", "shape_components": 8, "uncertainty": True}


CONFIGS = {
    "basic": ResNetConfig("basic", (2, 1, 1, 1), stem_width=8),
    "bottleneck": ResNetConfig("bottleneck", (2, 1, 1, 1), stem_width=8),
    "grouped": ResNetConfig("bottleneck", (1, 1, 1, 2), groups=4, base_width=64, stem_width=8),
}


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize(
    ("image_size", "normalisation", "head"),
    [("33x70", "imagenet", SHAPE), ("64x32", "half", LINEAR)],  # 33 and 70 are no multiples of 32
)
def test_graph_computes_what_keras_does(
    kind, image_size, normalisation, head, tmp_path, monkeypatch
):
    monkeypatch.setitem(RESNETS, kind, CONFIGS[kind])
    spec = ModelSpec(kind, 5, image_size, normalisation=normalisation, **head)
    network = with_random_weights(build_model(spec))
    save_safetensors(network, tmp_path / "weights.safetensors")
    graph = resnet_to_onnx(spec, read_arrays(tmp_path / "weights.safetensors"))
    size = spec.crop_spec.height, spec.crop_spec.width
    images = np.random.default_rng(0).uniform(0, 255, (2, *size, 3)).astype(np.float32)
    (predicted,) = onnxruntime.InferenceSession(graph.SerializeToString()).run(
        None, {"image": images}
    )
    expected = network.predict_on_batch(images)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(predicted, expected, atol=1e-4 * np.ptp(expected))


@pytest.mark.parametrize("head", [LINEAR, SHAPE])
@pytest.mark.parametrize("name", RESNETS)
def test_weights_have_the_shapes_of_keras(name, head):
    spec = ModelSpec(name, 5, "33x70", **head)
    models = []
    jax.eval_shape(lambda: models.append(build_model(spec)))  # makes no values
    shapes = {name: tuple(v.shape) for name, v in named_variables(models[0]).items()}
    assert weight_shapes(spec) == shapes


def with_random_weights(network):
    """Gives every weight a value unlike a new network's, variances positive."""
    generator = np.random.default_rng(1)
    for variable in network.variables:
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
        elif len(variable.shape) == 1:
            variable.assign(generator.normal(0, 0.2, variable.shape))
    basis_layers = [layer for layer in network.layers if layer.name in ("coefficients", "basis")]
    for layer in basis_layers:
        layer.set_weights([generator.normal(0, 0.2, w.shape) for w in layer.get_weights()])
    return network
