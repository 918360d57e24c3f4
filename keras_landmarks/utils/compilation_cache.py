"""Keeps what XLA has compiled: the next start of the same model takes seconds."""

import logging
import os
from pathlib import Path

DEFAULT_FOLDER = os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "keras_landmarks/xla")


def use(folder: str) -> None:
    """Has JAX keep compilations in a folder (~ is the home folder); "" turns that off.

    A folder that cannot be written to costs time, and a line in the log, but is no error.
    """
    import jax  # not at the top: --help does without

    path = Path(folder).expanduser()
    if folder and (reason := _why_unusable(path)):
        logging.warning("%s: %s; what is compiled is not kept for the next start", path, reason)
        folder = ""
    jax.config.update("jax_enable_compilation_cache", bool(folder))
    if folder:
        jax.config.update("jax_compilation_cache_dir", str(path))
        # The first values of the weights are a hundred small compilations, 6 seconds together.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def use_unless_set() -> None:
    """Does the same in the usual folder unless the program has chosen one, or none."""
    import jax

    if jax.config.jax_enable_compilation_cache and not jax.config.jax_compilation_cache_dir:
        use(DEFAULT_FOLDER)


def _why_unusable(folder: Path) -> str:
    """Makes the folder if need be. Returns why nothing can be kept in it; "" if it can."""
    home = Path("~").expanduser()
    if home in folder.parents and not home.is_dir():  # as some services' users have it
        return f"{home} is not there"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return error.strerror
    return "" if os.access(folder, os.W_OK | os.X_OK) else "it cannot be written to"
