"""Layers in the forms that XLA's CPU backend compiles to fast code.

Every function here computes what XLA's own operation computes, gradient included, by other
operations; tests/models/test_layers.py compares the two. `models.layers` chooses between them.
Images are (N, H, W, C) float32, and windows are padded by half their size on every side, as in
PyTorch.

On two cores of a server with AVX2, ResNeXt50 32x4d (128 px, batch 16) of stock Keras layers trains
at 0.30 images/s, and PyTorch (oneDNN, channels last) at 9.6 to 11.4. On a second machine, two cores
of a Zen 4 with AVX-512 where PyTorch 2.13 reaches 13.2 to 15.3, these steps were taken one after
the other. Times in the modules are from one of the two machines; only `grouped` compares both.

    images/s
         7.6  grouped convolutions in slices, 1x1 as matrix products, batch norm in one pass,
              Eigen in place of YNNPACK (`utils.runtime`)
         5.2  our own gradients of batch norm, ReLU, max-pooling and grouped convolution (slower at
              first, because XLA repeated parts of them)
        10.6  optimisation barriers that stay in place (below)
        12.1  the kernel gradient of a matrix product in 8 chunks (`convolution`)
        12.8  channel sums by adding pieces of the image to each other (`normalisation`)
        13.2  the output of ReLU computed once for its three readers (`activation`)
        13.4  grouped convolutions of neighbouring pixels at once, and their kernel gradients on
              images transposed as a whole (`grouped`)
        15.1  huge pages (`utils.runtime`): 8,000 page faults per step in place of 183,000

Barriers: the backend fuses the computation of a value into each of its readers, and into sums, and
repeats it there element by element. Getting this wrong costs ten times what any choice of
convolution gains. `lax.optimization_barrier` keeps a value from being fused, but only if XLA's pass
`cse_barrier_expander` does not remove the barrier first; `utils.runtime` turns that pass off. To
see which fusions take the time, record one step with `jax.profiler.trace`, read it with
`jax.profiler.ProfileData`, and look for names such as `multiply_reduce_fusion`.

Matrix products run at 180 to 195 GFLOP/s in Eigen, which is what the two cores can do, and at 70 to
100 in YNNPACK. The older fusion emitters, FAST_RUNTIME and fast math made no difference, and
`--xla_cpu_prefer_vector_width=512` made training 10 % slower. oneDNN is in jaxlib, but no flag
reaches its convolutions (`xla_cpu_experimental_onednn_custom_call` has no effect), and the matrix
products of `xla_cpu_use_onednn` are no faster.
"""
