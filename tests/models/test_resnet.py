import golden_models
import jax
import keras
import numpy as np
import pytest

from keras_landmarks.models import networks, registry
from keras_landmarks.utils.errors import InputError

# The number of all parameters with a head of 971 landmarks, moving statistics included, and of the
# trainable parameters with a head of 1,000 classes, as torchvision publishes it.
PARAMETERS = {
    "tiny": (561_414, None),
    "resnet18_half": (3_302_774, None),
    "resnet18": (12_182_358, 11_689_512),
    "resnet34": (22_297_942, 21_797_672),
    "resnet50": (27_540_310, 25_557_032),
    "resnext50_32x4d": (27_027_286, 25_028_904),
    "resnet101": (46_584_662, 44_549_160),
    "resnext101_32x8d": (90_924_374, 88_791_336),
}


@pytest.fixture
def mixed_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(policy)


@pytest.fixture(scope="module")
def tiny():
    return networks.build("tiny", num_landmarks=7, image_size=(32, 48))


def trainable_with_1000_classes(model):
    features = model.get_layer("fc").kernel.shape[0]
    trainable = sum(np.prod(v.shape) for v in model.trainable_variables)
    return trainable - model.get_layer("fc").count_params() + 1000 * (features + 1)


@pytest.mark.parametrize("name", registry.RESNETS)
def test_number_of_parameters_is_exact(name):
    total, published = PARAMETERS[name]
    models = []
    # Only traced: the variables have shapes but no values, which is fast.
    jax.eval_shape(lambda: models.append(networks.build(name, num_landmarks=971, image_size=64)))
    model = models.pop()
    assert model.count_params() == total
    assert published in (None, trainable_with_1000_classes(model))


@pytest.mark.parametrize("kind", ["basic", "bottleneck", "grouped"])
def test_landmarks_equal_pytorchs(kind):
    golden = golden_models.values(kind)
    model = golden_models.build(kind, golden["images"].shape[1:3])
    landmarks = model.predict(golden["images"], verbose=0)
    np.testing.assert_allclose(landmarks, golden["landmarks"], atol=1e-4)


def test_unknown_name_is_refused():
    with pytest.raises(InputError, match=r"'resnet19' .*resnet18.*resnext50_32x4d"):
        networks.build("resnet19", num_landmarks=5, image_size=64)


def test_layers_have_torchvision_names(tiny):
    names = {layer.name for layer in tiny.layers}
    assert {"conv1", "bn1", "layer1.0.conv2", "layer4.0.bn2", "layer2.0.downsample.0"} <= names


def test_input_and_output_shapes_and_names(tiny):
    assert tiny.input_shape == (None, 32, 48, 3)
    assert tiny.output_shape == (None, 7, 2)
    assert (tiny.input.name, tiny.output_names) == ("image", ["landmarks"])


def test_pixels_are_normalised_by_channel():
    model = networks.build("tiny", 5, 32, pixel_mean=(0.0, 0.5, 1.0), pixel_std=(1.0, 0.5, 0.25))
    normalised = model.get_layer("normalise")(np.full((1, 1, 1, 3), 255, np.uint8))
    np.testing.assert_allclose(np.ravel(normalised), [1.0, 1.0, 0.0], atol=1e-6)


def test_initial_head_weights_are_bounded(tiny):
    head = tiny.get_layer("fc")
    bound = 1 / np.sqrt(16 * 2**3)
    for variable in (head.kernel, head.bias):
        assert 0.5 * bound < np.abs(variable.value).max() <= bound


def test_mixed_precision_keeps_the_head_in_float32(mixed_precision):
    model = networks.build("tiny", num_landmarks=5, image_size=32)
    assert model.get_layer("layer4.0.conv2").compute_dtype == "bfloat16"
    assert model.get_layer("fc").compute_dtype == "float32"
    landmarks = model.predict(np.full((1, 32, 32, 3), 128, np.uint8), verbose=0)
    assert landmarks.dtype == np.float32
    assert np.isfinite(landmarks).all()
