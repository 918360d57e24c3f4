"""What XLA has compiled once is kept: the next start of the same model takes seconds."""

import os
from pathlib import Path

DEFAULT_FOLDER = os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "keras_landmarks/xla")


def use(folder: str) -> None:
    """Has JAX keep compilations in a folder (~ is the home folder); "" turns that off."""
    import jax  # not at the top: --help does without

    jax.config.update("jax_enable_compilation_cache", bool(folder))
    if folder:
        jax.config.update("jax_compilation_cache_dir", str(Path(folder).expanduser()))
        # The first values of the weights are a hundred small compilations, 6 seconds together.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def use_unless_set() -> None:
    """Does the same in the usual folder unless the program has chosen one, or none."""
    import jax

    if jax.config.jax_enable_compilation_cache and not jax.config.jax_compilation_cache_dir:
        use(DEFAULT_FOLDER)
