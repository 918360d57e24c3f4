import importlib.util
import subprocess
import sys

import compile_for_tpu
import pytest

from keras_landmarks.models import networks
from keras_landmarks.utils.errors import InputError

RESULTS = {
    "aot_topology": "v5e:2x2",
    "aot_chips": 4,
    "aot_flops": 1e9,
    "aot_bytes": 2e6,
    "aot_memory_bytes_per_chip": 3 << 30,
    "aot_collectives": [{"op": "all-reduce", "shape": "f32[16]", "count": 2}],
}


@pytest.fixture
def compile_to(monkeypatch, settings):
    """Runs `compile_step` with these results of the compiler, libtpu or not."""

    def compile_step(topology, **changes):
        monkeypatch.setattr(importlib.util, "find_spec", lambda *_: True)
        monkeypatch.setattr(compile_for_tpu, "in_fresh_process", lambda *_: RESULTS | changes)
        return compile_for_tpu.compile_step(topology, settings)

    return compile_step


def test_collectives_are_read_from_the_compiled_text():
    hlo = """
ENTRY %main {
  %a.1 = (f32[16]{0:T(128)S(1)}, /*index=1*/f32[16]{0}) all-reduce(%x, %y), to_apply=%add
  %a.2 = (f32[16]{0}, f32[16]{0}) all-reduce(%a.1, %y), replica_groups={{0,1},{2,3}}
  %get = f32[16]{0} get-tuple-element(%a.1), index=0
  ROOT %g = bf16[8,4]{1,0} all-gather-start(%get), dimensions={0}
}
"""
    assert compile_for_tpu.collectives(hlo) == [
        {"op": "all-reduce", "shape": "(f32[16], f32[16])", "count": 2},
        {"op": "all-gather", "shape": "bf16[8,4]", "count": 1},
    ]


def test_fitting_step_is_reported(compile_to):
    results = compile_to("v5e:2x2")
    assert results == RESULTS
    assert compile_for_tpu.table(results).splitlines() == [
        "a chip of v5e:2x2, one train step:",
        " 1,000,000,000 FLOP",
        "     2,000,000 bytes to and from memory",
        " 3,221,225,472 bytes of memory",
        "between chips:",
        "   2 x all-reduce f32[16]",
    ]


@pytest.mark.parametrize(("topology", "gib"), [("v5e:2x2", 17), ("v6e:2x2", 33)])
def test_step_beyond_the_memory_is_an_error(compile_to, topology, gib):
    with pytest.raises(InputError, match=rf"--topology={topology}: {gib}\.0 GiB .*--batch_size"):
        compile_to(topology, aot_memory_bytes_per_chip=gib << 30)


def test_gathered_batch_is_an_error(compile_to):
    gathered = [{"op": "all-gather", "shape": "u8[8,32,32,3]", "count": 1}]
    with pytest.raises(InputError, match=r"u8\[8,32,32,3\]"):
        compile_to("v5e:2x2", aot_collectives=gathered)


def test_missing_libtpu_is_an_error(settings, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    with pytest.raises(InputError, match=r"pip install .*libtpu"):
        compile_for_tpu.compile_step("v5e:2x2", settings)


def test_script_lists_its_flags():
    command = [sys.executable, compile_for_tpu.__file__, "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--topology" in done.stdout
    assert "--precision" in done.stdout


def test_train_step_compiles_for_absent_chips(settings, small_model):
    pytest.importorskip("libtpu")
    small = settings.replace(model=small_model, batch_size=2)
    results = compile_for_tpu.compile_step("v5e:2x2", small)
    assert results["aot_chips"] == 4
    assert results["aot_flops"] > 0
    assert results["aot_bytes"] > 0
    # At least the weights and the optimiser's three copies of them, in float32.
    parameters = networks.build(small_model, 971, 32).count_params()
    assert results["aot_memory_bytes_per_chip"] > 4 * 4 * parameters
    assert {entry["op"] for entry in results["aot_collectives"]} == {"all-reduce"}


def test_unknown_topology_is_an_error(settings):
    pytest.importorskip("libtpu")
    with pytest.raises(InputError, match=r"--topology=v9:2x2: .*v9"):
        compile_for_tpu.compile_step("v9:2x2", settings)
