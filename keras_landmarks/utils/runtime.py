"""Settings that make JAX fast here: XLA's flags, huge pages, and kept compilations."""

import importlib.util
import logging
import os
import sys
from pathlib import Path

DEFAULT_COMPILATION_CACHE = os.path.join(
    os.environ.get("XDG_CACHE_HOME", "~/.cache"), "keras_landmarks/xla"
)

_CPU_FLAGS = {
    # Convolutions and products by Eigen take half the time that they take by YNNPACK, the default.
    "--xla_cpu_experimental_ynn_fusion_type": "",
    # This pass would remove the optimisation barriers of `models.xla_cpu`.
    "--xla_disable_hlo_passes": "cse_barrier_expander",
}
_ACCELERATORS = ("libtpu", "jax_cuda12_plugin", "jax_cuda13_plugin", "jax_rocm7_plugin")

_TUNABLES, _HUGE_PAGES = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
_SYSTEM_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def set_xla_cpu_flags() -> None:
    """Adds the flags that make the CPU fast to XLA_FLAGS, before JAX loads.

    A flag that the user has set in XLA_FLAGS keeps that value. Nothing is added where JAX has an
    accelerator's plugin, as the flags would also change passes of the accelerator's compiler.
    """
    accelerated = any(importlib.util.find_spec(name) for name in _ACCELERATORS)
    if accelerated and os.environ.get("JAX_PLATFORMS") != "cpu":
        return
    given = os.environ.get("XLA_FLAGS", "")
    missing = [f"{name}={value}" for name, value in _CPU_FLAGS.items() if name not in given]
    os.environ["XLA_FLAGS"] = " ".join([given, *missing]).strip()


def use_huge_pages() -> None:
    """Restarts this process with memory in pages of 2 MB, where the system gives them on request.

    XLA on the CPU allocates its intermediate results anew in every step, a gigabyte of them. With
    pages of 4 kB the system spends a tenth of a train step on handing them out. The C library
    reads its settings only when a process starts, so this must come before any work.
    """
    given = os.environ.get(_TUNABLES, "")
    if "glibc.malloc.hugetlb" in given or not _has_huge_pages_on_request():
        return
    os.environ[_TUNABLES] = f"{given}:{_HUGE_PAGES}".lstrip(":")
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _has_huge_pages_on_request() -> bool:
    try:
        return "[madvise]" in _SYSTEM_HUGE_PAGES.read_text()
    except OSError:  # not Linux
        return False


def use_compilation_cache(folder: str) -> None:
    """Has JAX keep what XLA compiles in a folder, so that the next start takes seconds.

    A folder that cannot be written to is not an error: nothing is kept, and a warning is logged.

    Args:
        folder: ~ is the home folder; "" keeps nothing.
    """
    import jax

    path = Path(folder).expanduser()
    if folder and (reason := _why_unusable(path)):
        logging.warning("%s: %s; what is compiled is not kept for the next start", path, reason)
        folder = ""
    jax.config.update("jax_enable_compilation_cache", bool(folder))
    if folder:
        jax.config.update("jax_compilation_cache_dir", str(path))
        # The first values of the weights are a hundred small compilations, 6 seconds together.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def _why_unusable(folder: Path) -> str:
    """Creates the folder if need be. Returns why nothing can be kept in it; "" if it can."""
    home = Path("~").expanduser()
    if home in folder.parents and not home.is_dir():  # as for the users of some services
        return f"{home} is not there"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return error.strerror
    return "" if os.access(folder, os.W_OK | os.X_OK) else "it cannot be written to"
