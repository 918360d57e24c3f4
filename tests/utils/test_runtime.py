import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from keras_landmarks.utils import runtime

# ── XLA's flags ──

YNN, PASSES = "--xla_cpu_experimental_ynn_fusion_type=", "--xla_disable_hlo_passes="


@pytest.fixture
def xla_flags(monkeypatch):
    """Returns XLA_FLAGS after the call, from its value before, on a machine with these plugins."""

    def set_flags(before, plugins=(), platforms=""):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: name in plugins or None)
        monkeypatch.setenv("JAX_PLATFORMS", platforms)
        monkeypatch.setenv("XLA_FLAGS", before)
        runtime.set_xla_cpu_flags()
        return os.environ["XLA_FLAGS"]

    return set_flags


def test_cpu_flags_are_added(xla_flags):
    assert xla_flags("").split() == [YNN, f"{PASSES}cse_barrier_expander"]


def test_flags_of_the_user_are_kept(xla_flags):
    assert xla_flags(f"--a=b {PASSES}dce").split() == ["--a=b", f"{PASSES}dce", YNN]


def test_accelerators_get_no_cpu_flags(xla_flags):
    assert xla_flags("--a=b", plugins=["jax_cuda12_plugin"]) == "--a=b"


def test_cpu_is_chosen_beside_an_accelerator(xla_flags):
    assert YNN in xla_flags("", plugins=["libtpu"], platforms="cpu")


# ── huge pages ──

SYSTEM_SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.fixture
def restarted_with(monkeypatch, tmp_path):
    """Returns GLIBC_TUNABLES of the restarted process, or None if it is not restarted.

    `system` is the content of the system's setting; None for a system without it.
    """

    def use(system, tunables):
        setting = tmp_path / "enabled"
        if system is not None:
            setting.write_text(system)
        monkeypatch.setattr(runtime, "_SYSTEM_HUGE_PAGES", setting)
        monkeypatch.setenv("GLIBC_TUNABLES", tunables)
        started = []
        monkeypatch.setattr(os, "execv", lambda _, argv: started.append(argv))
        runtime.use_huge_pages()
        return os.environ["GLIBC_TUNABLES"] if started else None

    return use


def test_huge_pages_are_requested(restarted_with):
    assert restarted_with("always [madvise] never", "") == "glibc.malloc.hugetlb=1"


def test_tunables_of_the_user_are_kept(restarted_with):
    assert restarted_with("always [madvise] never", "a=b") == "a=b:glibc.malloc.hugetlb=1"
    assert restarted_with("always [madvise] never", "glibc.malloc.hugetlb=0") is None


@pytest.mark.parametrize("system", ["[always] madvise never", "always madvise [never]", None])
def test_no_restart_where_it_gains_nothing(restarted_with, system):
    assert restarted_with(system, "") is None


@pytest.mark.skipif(
    not SYSTEM_SETTING.exists() or "[madvise]" not in SYSTEM_SETTING.read_text(),
    reason="this system gives no huge pages on request",
)
def test_command_restarts_once(tmp_path):
    module = tmp_path / "command.py"
    module.write_text(
        "import os, sys\n"
        "from keras_landmarks.utils import runtime\n"
        "print('started', flush=True)\n"
        "runtime.use_huge_pages()\n"
        "print(sys.argv[1:], os.environ['GLIBC_TUNABLES'])\n"
    )
    environment = {name: v for name, v in os.environ.items() if name != "GLIBC_TUNABLES"}
    command = [sys.executable, "-m", "command", "--a=b c"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.stdout.splitlines() == [
        "started",
        "started",
        "['--a=b c'] glibc.malloc.hugetlb=1",
    ]


# ── the compilation cache ──


@pytest.fixture
def cache_settings():
    """JAX's settings, restored at the end to those of the other tests."""
    folder = jax.config.jax_compilation_cache_dir
    yield jax.config
    runtime.use_compilation_cache(folder)


def test_cache_folder_is_created(tmp_path, cache_settings):
    runtime.use_compilation_cache(str(tmp_path / "new" / "cache"))
    assert cache_settings.jax_enable_compilation_cache
    assert cache_settings.jax_compilation_cache_dir == str(tmp_path / "new" / "cache")
    assert (tmp_path / "new" / "cache").is_dir()


def test_unwritable_cache_folder_is_a_warning(tmp_path, cache_settings, caplog):
    (tmp_path / "file").write_text("")
    runtime.use_compilation_cache(str(tmp_path / "file" / "cache"))
    assert not cache_settings.jax_enable_compilation_cache
    (line,) = caplog.messages
    assert line.startswith(f"{tmp_path}/file/cache: Not a directory")


def test_missing_home_folder_is_not_created(tmp_path, cache_settings, caplog, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    runtime.use_compilation_cache("~/.cache/xla")
    assert not cache_settings.jax_enable_compilation_cache
    assert f"{tmp_path}/me is not there" in caplog.text
    assert not (tmp_path / "me").exists()
