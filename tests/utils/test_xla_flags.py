import importlib.util
import os

import pytest

from keras_landmarks.utils.xla_flags import set_cpu_flags

YNN, PASSES = "--xla_cpu_experimental_ynn_fusion_type=", "--xla_disable_hlo_passes="


@pytest.fixture
def flags(monkeypatch):
    """What XLA_FLAGS becomes, from what it was, on a machine with these plugins."""

    def added(before, plugins=(), platforms=""):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: name in plugins or None)
        monkeypatch.setenv("JAX_PLATFORMS", platforms)
        monkeypatch.setenv("XLA_FLAGS", before)
        set_cpu_flags()
        return os.environ["XLA_FLAGS"]

    return added


def test_the_cpu_gets_its_flags(flags):
    assert flags("").split() == [YNN, f"{PASSES}cse_barrier_expander"]


def test_what_the_user_set_stays(flags):
    assert flags(f"--a=b {PASSES}dce").split() == ["--a=b", f"{PASSES}dce", YNN]


def test_a_machine_with_an_accelerator_is_left_alone(flags):
    assert flags("--a=b", plugins=["jax_cuda12_plugin"]) == "--a=b"


def test_asking_for_the_cpu_on_such_a_machine_counts(flags):
    assert YNN in flags("", plugins=["libtpu"], platforms="cpu")
