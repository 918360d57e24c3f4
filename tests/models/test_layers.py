import jax
import keras
import numpy as np
import pytest

from keras_landmarks.models.layers import BatchNormalization, Convolution, MaxPooling, lowering_for
from keras_landmarks.models.xla_cpu import winograd

ONE_TO_NINE = np.arange(1.0, 10).reshape(1, 3, 3, 1)
ONE_TO_SIXTEEN = np.arange(1.0, 17).reshape(1, 4, 4, 1)


@pytest.fixture(params=["cpu", "tpu"])
def platform(request):
    with lowering_for(request.param):
        yield request.param


def convolution_with(kernel, strides=1, groups=1):
    size, _, inputs, filters = kernel.shape
    layer = Convolution(filters, size, strides, groups)
    layer.build((None, None, None, inputs * groups))
    layer.kernel.assign(kernel)
    return layer


def output_and_gradients(layer, x, platform):
    """Returns the layer's output, and the gradients of a loss that depends on all of it."""

    def loss(x, kernels):
        output, _ = layer.stateless_call(kernels, [], x)
        return jax.numpy.sum(jax.numpy.sin(output)), output

    with lowering_for(platform):
        # A new function each time, because JAX caches the traces of functions that it has seen.
        evaluate = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
        (_, output), gradients = evaluate(x, [v.value for v in layer.trainable_variables])
    return output, jax.tree.leaves(gradients)


def assert_forms_agree(layer, x):
    layer.build(x.shape)
    cpu, cpu_gradients = output_and_gradients(layer, x, "cpu")
    xla, xla_gradients = output_and_gradients(layer, x, "tpu")
    np.testing.assert_allclose(cpu, xla, rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(cpu_gradients, xla_gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_convolution_by_ones_sums_neighbourhoods(platform):
    output = convolution_with(np.ones((3, 3, 1, 1)))(ONE_TO_NINE)
    np.testing.assert_allclose(output[0, ..., 0], [[12, 21, 16], [27, 45, 33], [24, 39, 28]])


def test_strided_convolution_starts_at_the_corner(platform):
    output = convolution_with(np.ones((3, 3, 1, 1)), strides=2)(ONE_TO_NINE)
    np.testing.assert_allclose(output[0, ..., 0], [[12, 16], [24, 28]])


def test_strided_pointwise_skips_pixels(platform):
    output = convolution_with(np.full((1, 1, 1, 1), 10.0), strides=2)(ONE_TO_NINE)
    np.testing.assert_allclose(output[0, ..., 0], [[10, 30], [70, 90]])


def test_grouped_convolution_keeps_groups_apart(platform):
    kernel = np.concatenate([np.ones((3, 3, 1, 1)), 10 * np.ones((3, 3, 1, 1))], axis=-1)
    x = np.concatenate([ONE_TO_NINE, np.ones((1, 3, 3, 1))], axis=-1)
    output = convolution_with(kernel, groups=2)(x)
    np.testing.assert_allclose(output[0, ..., 0], [[12, 21, 16], [27, 45, 33], [24, 39, 28]])
    np.testing.assert_allclose(output[0, ..., 1], [[40, 60, 40], [60, 90, 60], [40, 60, 40]])


@pytest.mark.parametrize("size", [(5, 6), (2, 2), (1, 1)])
@pytest.mark.parametrize(
    ("channels", "filters", "kernel_size", "groups", "strides"),
    [
        (32, 16, 1, 1, 1),
        (32, 64, 1, 1, 2),
        (8, 16, 3, 1, 2),
        (32, 32, 3, 8, 1),
        (32, 64, 3, 4, 2),
        (36, 36, 3, 3, 1),
        (256, 256, 3, 32, 2),
    ],
)
def test_convolution_forms_agree(channels, filters, kernel_size, groups, strides, size):
    layer = Convolution(filters, kernel_size, strides, groups)
    x = np.random.default_rng(0).normal(size=(2, *size, channels)).astype(np.float32)
    assert_forms_agree(layer, x)


@pytest.mark.parametrize(("channels", "filters"), [(64, 64), (64, 80)])
def test_winograd_form_agrees(channels, filters):
    x = np.random.default_rng(0).normal(size=(2, 10, 16, channels)).astype(np.float32)
    assert winograd.is_faster(x, np.zeros((3, 3, channels, filters)), strides=1)
    assert_forms_agree(Convolution(filters, 3), x)


def test_max_pooling_forms_agree():
    x = np.random.default_rng(0).permutation(2 * 7 * 8 * 3).reshape(2, 7, 8, 3)
    assert_forms_agree(MaxPooling(), x.astype(np.float32))


def test_grouped_kernel_has_the_layout_of_conv2d(platform):
    theirs = keras.layers.Conv2D(16, 3, padding="same", groups=4, use_bias=False)
    x = np.random.default_rng(0).normal(size=(1, 5, 5, 8)).astype(np.float32)
    expected = theirs(x)
    ours = convolution_with(np.asarray(theirs.kernel), groups=4)
    np.testing.assert_allclose(ours(x), expected, atol=1e-5)


@pytest.mark.parametrize(("target", "grouped"), [("cpu", False), ("tpu", True)])
def test_export_uses_the_target_platforms_form(target, grouped):
    layer = Convolution(32, 3, groups=8)
    layer.build((1, 5, 5, 32))
    with lowering_for(target):
        exported = jax.export.export(jax.jit(lambda x: layer(x)), platforms=[target])(
            jax.ShapeDtypeStruct((1, 5, 5, 32), "float32")
        )
    assert ("feature_group_count = 8" in exported.mlir_module()) == grouped


def test_groups_must_divide_the_channels():
    with pytest.raises(ValueError, match=r"3 groups .* 8 input channels and 9 filters"):
        Convolution(9, 3, groups=3).build((None, 4, 4, 8))


def test_kernel_initial_deviation_is_by_fan_out():
    layer = Convolution(256, 3, groups=2)
    layer.build((None, 4, 4, 64))
    assert np.std(layer.kernel) == pytest.approx(np.sqrt(2 / (9 * 256)), rel=0.02)


def test_max_pooling_takes_the_maximum_of_windows(platform):
    output = MaxPooling()(ONE_TO_SIXTEEN)
    np.testing.assert_array_equal(output[0, ..., 0], [[6, 8], [14, 16]])


def test_max_pooling_padding_never_wins(platform):
    output = MaxPooling()(-ONE_TO_SIXTEEN)
    np.testing.assert_array_equal(output[0, ..., 0], [[-1, -2], [-5, -6]])


def test_batch_norm_trains_by_batch_statistics():
    layer = BatchNormalization(epsilon=0.0)
    x = np.array([0.0, 4.0]).reshape(2, 1, 1, 1)
    np.testing.assert_allclose(np.ravel(layer(x, training=True)), [-1, 1], rtol=1e-6)
    np.testing.assert_allclose(layer.moving_mean, [0.2], rtol=1e-6)
    np.testing.assert_allclose(layer.moving_variance, [0.9 + 0.1 * 4], rtol=1e-6)


def test_batch_norm_predicts_by_running_statistics():
    layer = BatchNormalization(epsilon=0.0)
    layer.build((None, 1, 1, 1))
    layer.set_weights([np.full(1, value) for value in (3.0, 0.5, 2.0, 4.0)])
    x = np.array([0.0, 4.0]).reshape(2, 1, 1, 1)
    np.testing.assert_allclose(np.ravel(layer(x)), [-2.5, 3.5], rtol=1e-6)


def test_batch_norm_of_constant_channel_is_finite():
    x = np.full((4, 2, 2, 1), 1234.5, np.float32)
    np.testing.assert_allclose(BatchNormalization()(x, training=True), 0.0, atol=0.1)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_equals_keras(training):
    x = np.random.default_rng(0).normal(3, 2, size=(4, 5, 6, 8)).astype(np.float32)
    ours = BatchNormalization()
    theirs = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    np.testing.assert_allclose(
        ours(x, training=training), theirs(x, training=training), rtol=1e-4, atol=1e-4
    )
    for our, their in zip(ours.variables, theirs.variables, strict=True):
        assert our.name == their.name
        np.testing.assert_allclose(our, their, rtol=1e-4)


@pytest.mark.parametrize(
    "layer", [Convolution(4, 3, groups=2), BatchNormalization(), MaxPooling()], ids=type
)
def test_mixed_precision_keeps_weights_in_float32(layer, platform):
    layer = type(layer).from_config(layer.get_config() | {"dtype": "mixed_bfloat16"})
    output = layer(np.ones((2, 4, 4, 4), np.float32))
    assert output.dtype == "bfloat16"
    assert np.isfinite(np.asarray(output, np.float32)).all()
    assert {variable.dtype for variable in layer.variables} <= {"float32"}
