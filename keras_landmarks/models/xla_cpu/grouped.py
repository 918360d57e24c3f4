"""Grouped convolution, as ordinary convolutions of slices of the channels.

XLA's CPU backend has no fast grouped convolution. The gradient becomes a convolution with
`batch_group_count`, which it runs naively. Here the channels are split into slices of some groups
each, and one ordinary convolution runs on each slice. Its kernel is block-diagonal: weights between
different groups are zero. The stored kernel is (k, k, in / groups, out) all the same, as Keras has
it.

Forward / forward + backward in ms, batch 16, 32 groups:

    3x3 convolution               XLA           here        PyTorch
    32x32x128                     120 / 6,115   5.8 / 21    2.9 / 11
    16x16x256                      40 / 2,938   3.0 / 11    1.0 / 4.0
    8x8x512                       9.8 / 1,455   1.5 / 5.6   0.6 / 2.1
    4x4x1024                      6.7 / 734     1.2 / 3.8   0.7 / 2.6
    32x32x256, stride 2                         5.7 / 23    1.7 / 6.4
    16x16x512, stride 2                         3.0 / 10    1.0 / 3.4
    8x8x1024, stride 2                          1.6 / 6.4   0.9 / 5.6

(XLA's times are from the slower machine.) What is left to gain is about 100 ms of ResNeXt50's train
step, 1,060 ms: with 4 channels per group, three quarters of a slice's products are with zero. Eigen
already does them at 180 GFLOP/s, and XLA has no narrower kernel.

Alternatives that are no faster, forward at 32x32x128: slices of 8 channels 6.0, of 32 channels 8;
all 36 products of a group in one loop, pixel by pixel, 5.8 and two transpositions; XLA's grouped
convolution 45, in YNNPACK 82. For the kernel's gradient (8.4 here): windows written out 54, a
product for each of the nine places 66, sums of vector products 186.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

from keras_landmarks.models.xla_cpu.windows import convolve_by_xla, merge_blocks, output_sides

_SLICE_CHANNELS = 16  # input channels of a slice
_SLICE_COLUMNS = 32  # output columns of a slice's matrix product: channels x neighbouring pixels


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(x, kernel, strides: int, groups: int):
    """Convolves (N, H, W, in) with a (k, k, in / groups, out) kernel."""
    return _convolve_slices(x, kernel, strides, groups)


def _forward(x, kernel, strides, groups):
    return _convolve_slices(x, kernel, strides, groups), (x, kernel)


def _backward(strides, groups, saved, gradient):
    x, kernel = saved
    if strides == 1:
        flipped = _swap_channels(kernel, groups)[::-1, ::-1]
        image_gradient = _convolve_slices(gradient, flipped, 1, groups)
    elif strides == 2 and kernel.shape[0] == 3:
        image_gradient = _image_gradient_at_stride_2(gradient, kernel, groups, x.shape)
    else:
        _, image_vjp = jax.vjp(lambda x: _convolve_slices(x, kernel, strides, groups), x)
        (image_gradient,) = image_vjp(gradient)
    return image_gradient, _kernel_gradient(x, gradient, kernel.shape, strides, groups)


convolve.defvjp(_forward, _backward)


def _convolve_slices(x, kernel, strides: int, groups: int):
    """Convolves each slice of the channels with its block-diagonal kernel.

    Eigen needs some dozens of columns in a matrix product to keep the processor busy. A slice has
    few output channels, so its kernel computes several neighbouring pixels of a row at once.
    """
    half, (rows, columns) = kernel.shape[0] // 2, output_sides(x, strides)
    slices, kernel = _block_diagonal(kernel, groups)
    pixels = math.gcd(columns, max(1, _SLICE_COLUMNS * slices // kernel.shape[-1]))
    kernel = _repeat_for_neighbours(kernel, pixels, strides)
    steps = (strides, strides * pixels)
    places = (rows, columns // pixels)
    padding = [
        (half, (count - 1) * step + window - side - half)
        for count, step, window, side in zip(
            places, steps, kernel.shape[:2], x.shape[1:3], strict=True
        )
    ]
    outputs = []
    for part, weights in zip(
        jnp.split(x, slices, axis=-1), jnp.split(kernel, slices, axis=-1), strict=True
    ):
        weights = weights.reshape(*weights.shape[:3], -1)
        output = convolve_by_xla(part, weights, steps, padding)
        outputs.append(output.reshape(len(x), rows, columns, -1))
    return lax.optimization_barrier(jnp.concatenate(outputs, axis=-1))


def _repeat_for_neighbours(kernel, pixels: int, strides: int):
    """Shifts the kernel to each of some neighbouring pixels: (k, wider k, in, pixels, out)."""
    reach = strides * (pixels - 1)
    widths = [(place, reach - place) for place in range(0, reach + 1, strides)]
    return jnp.stack([jnp.pad(kernel, [(0, 0), w, (0, 0), (0, 0)]) for w in widths], axis=3)


def _kernel_gradient(x, gradient, shape, strides: int, groups: int):
    """Convolves the image with the output's gradient, channels in the place of images.

    The image is transposed for this once as a whole: XLA itself would transpose it slice by slice,
    which takes longer.
    """
    size, _, inputs, _ = shape
    n, *sides, channels = x.shape
    x = lax.optimization_barrier(x.reshape(n, -1).T.reshape(*sides, channels, n))
    gradient = lax.optimization_barrier(gradient.transpose(1, 2, 0, 3))
    groups_per_slice = _groups_per_slice(inputs, groups)
    slices = groups // groups_per_slice
    outputs = [
        lax.conv_general_dilated(
            part,
            part_gradient,
            window_strides=(1, 1),
            padding=[
                (size // 2, size - size // 2 - side + (count - 1) * strides)
                for side, count in zip(sides, gradient.shape[:2], strict=True)
            ],
            rhs_dilation=(strides, strides),
            dimension_numbers=("HWNC", "HWIO", "NHWC"),
        )
        for part, part_gradient in zip(
            jnp.split(x, slices, axis=2), jnp.split(gradient, slices, axis=3), strict=True
        )
    ]
    # In the (in, k, k, out) of a slice, the blocks on the diagonal belong to its groups.
    blocks = jnp.stack(outputs).reshape(
        slices, groups_per_slice, inputs, size, size, groups_per_slice, -1
    )
    diagonal = jnp.eye(groups_per_slice, dtype=x.dtype)[:, None, None, None, :, None]
    return (blocks * diagonal).sum(5).transpose(3, 4, 2, 0, 1, 5).reshape(shape)


def _image_gradient_at_stride_2(gradient, kernel, groups: int, shape):
    """The image's gradient of a 3x3 convolution at stride 2.

    An even pixel lies in the middle of one window, an odd one at the sides of two. So each of the
    four kinds of pixel is a convolution of the gradient with at most 2x2 weights. All four run as
    one convolution, which gives a block of 2x2 pixels for each output pixel.
    """
    slices, kernel = _block_diagonal(_swap_channels(kernel, groups), groups)
    # Along one axis, the weights of an even and of an odd pixel for the gradient at its own and at
    # the next output pixel. Index 3 is the zero that is padded here.
    taps = jnp.array([[1, 3], [2, 0]])
    kernel = jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0)))[taps][:, :, taps]
    kernel = kernel.transpose(1, 3, 4, 5, 0, 2)  # (2, 2, in, slices * out, row kind, column kind)
    outputs = []
    for part, weights in zip(
        jnp.split(gradient, slices, axis=-1), jnp.split(kernel, slices, axis=3), strict=True
    ):
        weights = weights.transpose(0, 1, 2, 4, 5, 3).reshape(*weights.shape[:3], -1)
        outputs.append(convolve_by_xla(part, weights, (1, 1), [(0, 1), (0, 1)]))
    blocks = [out.reshape(*out.shape[:3], 2, 2, -1) for out in outputs]
    return merge_blocks(jnp.concatenate(blocks, axis=-1), shape)


def _block_diagonal(kernel, groups: int) -> tuple[int, jax.Array]:
    """Returns the number of slices, and their block-diagonal kernels: (k, k, in / slices, out)."""
    height, width, inputs, outputs = kernel.shape
    groups_per_slice = _groups_per_slice(inputs, groups)
    kernel = kernel.reshape(height, width, 1, inputs, -1, groups_per_slice, outputs // groups)
    diagonal = jnp.eye(groups_per_slice, dtype=kernel.dtype)[:, None, None, :, None]
    kernel = (kernel * diagonal).reshape(height, width, groups_per_slice * inputs, outputs)
    return groups // groups_per_slice, kernel


def _groups_per_slice(group_inputs: int, groups: int) -> int:
    return math.gcd(groups, max(1, _SLICE_CHANNELS // group_inputs))


def _swap_channels(kernel, groups: int):
    """Swaps the input and output channels of each group."""
    height, width, inputs, outputs = kernel.shape
    kernel = kernel.reshape(height, width, inputs, groups, outputs // groups)
    return kernel.transpose(0, 1, 4, 3, 2).reshape(height, width, -1, inputs * groups)
