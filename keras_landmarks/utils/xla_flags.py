"""XLA's settings for training on the CPU; made before JAX loads."""

import importlib.util
import os

_CPU_FLAGS = {
    # Convolutions and products by Eigen take half the time that they take by YNNPACK, the default.
    "--xla_cpu_experimental_ynn_fusion_type": "",
    # Keeps the optimisation barriers of models/cpu_forms.py, which this pass would take away.
    "--xla_disable_hlo_passes": "cse_barrier_expander",
}
_ACCELERATORS = ("libtpu", "jax_cuda12_plugin", "jax_cuda13_plugin", "jax_rocm7_plugin")


def set_cpu_flags() -> None:
    """Adds to XLA_FLAGS what makes the CPU quick, unless JAX has an accelerator's plugin.

    There the passes of another compiler would be changed as well. A flag that the user has set in
    XLA_FLAGS keeps his value.
    """
    accelerated = any(importlib.util.find_spec(name) for name in _ACCELERATORS)
    if accelerated and os.environ.get("JAX_PLATFORMS") != "cpu":
        return
    given = os.environ.get("XLA_FLAGS", "")
    missing = [f"{name}={value}" for name, value in _CPU_FLAGS.items() if name not in given]
    os.environ["XLA_FLAGS"] = " ".join([given, *missing]).strip()
