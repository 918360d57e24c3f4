"""The whole train step compiled for TPUs that are not there: what it computes, holds and sends.

Data parallel over the topology's chips: every chip holds all the weights and a share of the batch.
"""

import collections
import importlib.util
import os
import re
from typing import Any

from keras_landmarks.benchmarks.timing import in_fresh_process
from keras_landmarks.benchmarks.workload import BenchmarkSettings, new_objective
from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.layouts.layout import CONTEST_POINTS
from keras_landmarks.utils.errors import InputError

# Memory of a chip, GiB; of others the compiler alone knows.
_CHIP_MEMORY_GIB = {"v5e": 16, "v5p": 95, "v6e": 32}

# "%name = shape operation(...": a shape is one array or several in parentheses.
_COLLECTIVE = re.compile(
    r"^ *(?:ROOT )?\S+ = (?P<shape>\(.*?\)|\S+) (?P<operation>all-reduce|all-gather|reduce-scatter"
    r"|all-to-all|ragged-all-to-all|collective-permute|collective-broadcast)(?:-start)?\(",
    re.MULTILINE,
)
_LAYOUT_OR_COMMENT = re.compile(r"\{[^{}\n]*\}|/\*.*?\*/")


def compile_ahead(topology: str, settings: BenchmarkSettings) -> dict[str, Any]:
    """Compiles the train step for a topology such as "v5e:2x2", batch_size images on each chip.

    Returns:
        aot_flops, aot_bytes (moved to and from memory) and aot_memory_bytes_per_chip, each of one
        chip in one step, and aot_collectives: operation, shape and count of all that chips send
        each other.

    Raises:
        InputError: libtpu is not installed or knows no such topology, the step does not fit in a
            chip's memory, or it gathers the batch.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise InputError(f'--aot={topology}: libtpu is missing: pip install -e ".[aot]"')
    figures = in_fresh_process(_compile, topology, settings)
    _check_memory(topology, figures["aot_memory_bytes_per_chip"])
    _check_collectives(topology, figures["aot_collectives"])
    return figures


def collectives(hlo: str) -> list[dict[str, Any]]:
    """Returns operation, shape and count of the collectives in a compiled program's text."""
    found = _COLLECTIVE.finditer(_LAYOUT_OR_COMMENT.sub("", hlo))
    counts = collections.Counter((match["operation"], match["shape"]) for match in found)
    return [
        {"op": operation, "shape": shape, "count": count}
        for (operation, shape), count in counts.most_common()
    ]


def _compile(topology: str, settings: BenchmarkSettings) -> dict[str, Any]:
    """Runs in a process of its own, as libtpu reads the environment once."""
    os.environ["JAX_PLATFORMS"] = "cpu"  # no TPU to look for
    os.environ["TPU_SKIP_MDS_QUERY"] = "1"  # nor the cloud's service that describes it
    # Left unset, libtpu complains of them at length; the topology's name says what counts.
    os.environ["TPU_WORKER_HOSTNAMES"] = "localhost"
    os.environ["TPU_ACCELERATOR_TYPE"] = "v5litepod-4"
    os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"  # others may compile as well

    import jax

    from keras_landmarks.models.layers import lowering_for

    devices = _devices(topology)
    step, state, batch = _sharded_step(devices, settings)
    try:
        with lowering_for("tpu"):
            traced = jax.jit(step, donate_argnums=0).trace(state, batch)
            compiled = traced.lower(lowering_platforms=("tpu",)).compile()
    except jax.errors.JaxRuntimeError as error:
        raise InputError(f"--aot={topology}: {str(error).splitlines()[0]}") from None
    costs, memory = compiled.cost_analysis(), compiled.memory_analysis()
    return {
        "aot_topology": topology,
        "aot_chips": len(devices),
        "aot_flops": costs["flops"],
        "aot_bytes": costs["bytes accessed"],
        "aot_memory_bytes_per_chip": memory.generated_code_size_in_bytes
        + memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes,
        "aot_collectives": collectives(compiled.as_text()),
    }


def _devices(topology: str) -> list:
    import jax
    from jax.experimental import topologies

    try:
        return topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
    except jax.errors.JaxRuntimeError as error:
        raise InputError(f"--aot={topology}: {str(error).splitlines()[0]}") from None


def _sharded_step(devices: list, settings: BenchmarkSettings):
    """Returns the train step and the shapes of its state and batch, with where they lie."""
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    from keras_landmarks.training.step import train_step

    mesh = Mesh(np.array(devices), ("batch",))
    everywhere, shared_out = (
        NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("batch",))
    )
    step, state = train_step(new_objective(settings, CONTEST_POINTS))
    images = settings.batch_size * len(devices)
    state = jax.tree.map(
        lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=everywhere), state
    )
    batch = (
        jax.ShapeDtypeStruct((images, *CropSpec.of(settings).shape), "uint8", sharding=shared_out),
        jax.ShapeDtypeStruct((images, CONTEST_POINTS, 2), "float32", sharding=shared_out),
        jax.ShapeDtypeStruct((images, 2), "float32", sharding=shared_out),
    )
    return step, state, batch


def _check_memory(topology: str, needed: int) -> None:
    chip = topology.partition(":")[0]
    if chip in _CHIP_MEMORY_GIB and needed > _CHIP_MEMORY_GIB[chip] << 30:
        raise InputError(
            f"--aot={topology}: {needed / 2**30:.1f} GiB of a chip's {_CHIP_MEMORY_GIB[chip]}:"
            " try a smaller --batch_size"
        )


def _check_collectives(topology: str, found: list[dict[str, Any]]) -> None:
    # Each chip has all the weights, so there is nothing else to gather.
    if gathered := [entry["shape"] for entry in found if entry["op"] == "all-gather"]:
        raise InputError(f"--aot={topology}: the batch is gathered on every chip: {gathered[0]}")
