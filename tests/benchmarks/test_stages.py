import sys
import time

import pytest

from keras_landmarks.benchmarks.stages import STAGES
from keras_landmarks.benchmarks.timing import in_fresh_process
from keras_landmarks.benchmarks.workload import Workload

KEYS = {
    "parse": {"parse_rows_per_s"},
    "decode": {"decode_images_per_s"},
    "prepare": {"prepare_images_per_s"},
    "read": {"read_images_per_s"},
    "augment": {"augment_images_per_s", "augment_one_process_images_per_s"},
    "predict": {"predict_images_per_s"},
    "train": {"train_images_per_s"},
    "compile": {"compile_s"},
    "first_step": {"first_step_s", "first_step_warm_s"},
}


IN_FRESH_PROCESSES = ("compile", "first_step")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in IN_FRESH_PROCESSES else [])
        for name in STAGES
    ],
)
def test_stage_returns_its_results(name, workload):
    results = STAGES[name](workload)
    assert set(results) == KEYS[name]
    assert all(value > 0 for value in results.values())


def test_train_measures_any_loss_and_head(workload, tmp_path):
    changes = {"loss": "nll", "loss_unit": "photo", "head": "shape", "shape_components": 4}
    changes |= {"optimizer": "sgd", "grad_accum_steps": 2, "ema_momentum": 0.9}
    settings = workload.settings.replace(**changes)
    other = Workload(settings, workload.data, tmp_path, seconds=0.0)
    assert STAGES["train"](other)["train_images_per_s"] > 0


def test_short_table_is_repeated(workload):
    STAGES["parse"](workload)
    source = (workload.data / "train" / "landmarks.csv").read_text().splitlines()
    repeated = (workload.scratch / "landmarks.csv").read_text().splitlines()
    assert len(repeated) == 1 + 4000
    assert repeated[: len(source)] == source
    assert repeated[1 + 24] == source[1]


def is_imported_when_the_clock_starts(workload):
    """Whether the module that `prepare` needs is imported when it first looks at the clock."""
    seen = []

    def clock():
        seen.append(hasattr(sys.modules.get("keras_landmarks.input.cache"), "build_cache"))
        return float(len(seen))

    time.perf_counter = clock  # of a process that ends with this function
    STAGES["prepare"](workload)
    return seen[0]


@pytest.mark.slow
def test_imports_do_not_count_as_preparing(settings, faces, tmp_path):
    assert in_fresh_process(
        is_imported_when_the_clock_starts, Workload(settings, faces, tmp_path, seconds=0.0)
    )
