"""Compiles the whole train step for TPUs that need not be there, and reports what it costs a chip.

Data parallel over the topology's chips: every chip holds all the weights and --batch_size images.
A step that does not fit in a chip's memory, or that gathers the batch on every chip, is an error.
The JSON line is the last on standard output. --topology is a TPU topology such as v5e:2x2, the
default; the other flags are those of `train`.

Needs libtpu: .venv/bin/pip install "libtpu>=0.0.42,<0.1"

Example:

    .venv/bin/python tests/benchmarks/compile_for_tpu.py --topology=v5e:2x2 \
        --batch_size=256 --precision=mixed_bfloat16
"""

import collections
import importlib.util
import os
import re
from typing import Any

from absl import flags as absl_flags

from keras_landmarks import flags
from keras_landmarks.benchmark import describe_training
from keras_landmarks.benchmarks.timing import in_fresh_process
from keras_landmarks.benchmarks.workload import new_training_model
from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.layouts.layout import CONTEST_POINTS
from keras_landmarks.settings import TrainSettings
from keras_landmarks.utils import process
from keras_landmarks.utils.errors import InputError

FLAGS = flags.use(TrainSettings)
absl_flags.DEFINE_string("topology", "v5e:2x2", "TPU topology to compile for.")

# Memory of a chip in GiB, for the kinds of chip whose memory is published.
_CHIP_MEMORY_GIB = {"v5e": 16, "v5p": 95, "v6e": 32}

# "%name = shape operation(...": a shape is one array or several in parentheses.
_COLLECTIVE = re.compile(
    r"^ *(?:ROOT )?\S+ = (?P<shape>\(.*?\)|\S+) (?P<operation>all-reduce|all-gather|reduce-scatter"
    r"|all-to-all|ragged-all-to-all|collective-permute|collective-broadcast)(?:-start)?\(",
    re.MULTILINE,
)
_LAYOUT_OR_COMMENT = re.compile(r"\{[^{}\n]*\}|/\*.*?\*/")


def main(_) -> dict[str, Any]:
    """Reads the flags, prints a table, returns the results."""
    settings = flags.read(TrainSettings)
    results = compile_step(FLAGS.topology, settings)
    print(table(results))
    return results | describe_training(settings)


def compile_step(topology: str, settings: TrainSettings) -> dict[str, Any]:
    """Compiles the train step for a topology such as "v5e:2x2", batch_size images on each chip.

    Returns:
        aot_flops, aot_bytes (moved to and from memory) and aot_memory_bytes_per_chip, each of one
        chip in one step, and aot_collectives: operation, shape and count of all that the chips
        send each other.

    Raises:
        InputError: libtpu is not installed or has no such topology, the step does not fit in a
            chip's memory, or it gathers the batch.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise InputError('libtpu is missing: .venv/bin/pip install "libtpu>=0.0.42,<0.1"')
    results = in_fresh_process(_compile, topology, settings)
    _check_memory(topology, results["aot_memory_bytes_per_chip"])
    _check_collectives(topology, results["aot_collectives"])
    return results


def table(results: dict[str, Any]) -> str:
    """Returns the results of `compile_step` as text."""
    rows = [
        f"a chip of {results['aot_topology']}, one train step:",
        f"{results['aot_flops']:14,.0f} FLOP",
        f"{results['aot_bytes']:14,.0f} bytes to and from memory",
        f"{results['aot_memory_bytes_per_chip']:14,.0f} bytes of memory",
        "between chips:",
    ]
    return "\n".join(
        rows + [f"{c['count']:4} x {c['op']} {c['shape'][:70]}" for c in results["aot_collectives"]]
    )


def collectives(hlo: str) -> list[dict[str, Any]]:
    """Returns operation, shape and count of the collectives in a compiled program's text."""
    found = _COLLECTIVE.finditer(_LAYOUT_OR_COMMENT.sub("", hlo))
    counts = collections.Counter((match["operation"], match["shape"]) for match in found)
    return [
        {"op": operation, "shape": shape, "count": count}
        for (operation, shape), count in counts.most_common()
    ]


def _compile(topology: str, settings: TrainSettings) -> dict[str, Any]:
    """Runs in a process of its own, as libtpu reads the environment once."""
    os.environ["JAX_PLATFORMS"] = "cpu"  # do not look for a TPU
    os.environ["TPU_SKIP_MDS_QUERY"] = "1"  # nor for the cloud's service that describes it
    # libtpu warns at length if these are not set. Their values do not matter: the name of the
    # topology decides what is compiled for.
    os.environ["TPU_WORKER_HOSTNAMES"] = "localhost"
    os.environ["TPU_ACCELERATOR_TYPE"] = "v5litepod-4"
    os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"  # other processes may compile as well

    import jax

    from keras_landmarks.models.layers import lowering_for

    devices = _devices(topology)
    step, state, batch = _sharded_step(devices, settings)
    try:
        with lowering_for("tpu"):
            traced = jax.jit(step, donate_argnums=0).trace(state, batch)
            compiled = traced.lower(lowering_platforms=("tpu",)).compile()
    except jax.errors.JaxRuntimeError as error:
        raise InputError(f"--topology={topology}: {str(error).splitlines()[0]}") from None
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
        raise InputError(f"--topology={topology}: {str(error).splitlines()[0]}") from None


def _sharded_step(devices: list, settings: TrainSettings):
    """Returns the train step, and the shapes and shardings of its state and batch."""
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    from keras_landmarks.training.training_model import train_step

    mesh = Mesh(np.array(devices), ("batch",))
    replicated, sharded = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("batch",)))
    step, state = train_step(new_training_model(settings, CONTEST_POINTS))
    images = settings.run.batch_size * len(devices)
    state = jax.tree.map(
        lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=replicated), state
    )
    batch = (
        jax.ShapeDtypeStruct(
            (images, *CropSpec.of(settings.crop).shape), "uint8", sharding=sharded
        ),
        jax.ShapeDtypeStruct((images, CONTEST_POINTS, 2), "float32", sharding=sharded),
        jax.ShapeDtypeStruct((images, 2), "float32", sharding=sharded),
    )
    return step, state, batch


def _check_memory(topology: str, needed: int) -> None:
    chip = topology.partition(":")[0]
    if chip in _CHIP_MEMORY_GIB and needed > _CHIP_MEMORY_GIB[chip] << 30:
        raise InputError(
            f"--topology={topology}: {needed / 2**30:.1f} GiB of a chip's"
            f" {_CHIP_MEMORY_GIB[chip]}: try a smaller --batch_size"
        )


def _check_collectives(topology: str, found: list[dict[str, Any]]) -> None:
    # Each chip has all the weights, so there is nothing else to gather.
    if gathered := [entry["shape"] for entry in found if entry["op"] == "all-gather"]:
        raise InputError(
            f"--topology={topology}: the batch is gathered on every chip: {gathered[0]}"
        )


if __name__ == "__main__":
    process.set_up()  # as a command of the package does
    flags.run(main)
