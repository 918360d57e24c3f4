import importlib.util
import os
import subprocess
import sys
from concurrent.futures import Future

import beside_pytorch
import keras
import numpy as np
import pytest

from keras_landmarks.models import keras_weights, networks
from keras_landmarks.models.resnet import ResNetConfig
from keras_landmarks.utils.errors import InputError

KINDS = {
    "basic": ResNetConfig("basic", (1, 2), stem_width=8),
    "grouped": ResNetConfig("bottleneck", (1, 2), groups=4, base_width=32, stem_width=8),
}


class FakeTorchProcess:
    """Stands in for PyTorch: every step takes a quarter of a second."""

    def __init__(self, model, batch, threads, device):
        assert [array.shape for array in batch] == [(8, 32, 32, 3), (8, 971, 2)]
        assert device == "cpu"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def time_steps(self, name, steps):
        assert name in ("predict", "train")
        return [0.25] * steps


@pytest.mark.parametrize(("step_s", "steps"), [(0.5, 5), (0.1, 10)])
def test_runners_take_turns(step_s, steps):
    order = []

    def runner(name, seconds):
        def run(steps):
            order.append((name, steps))
            return [seconds] * steps

        return run

    runners = [runner("ours", step_s), runner("theirs", 0.25)]
    rounds = beside_pytorch.take_turns(runners, seconds=0.0)
    np.testing.assert_array_equal(rounds, [[step_s, 0.25]] * 3)
    assert order[3:] == [("ours", steps), ("theirs", steps)] * 3


def test_rates_and_ratios_are_measured(workload, monkeypatch):
    monkeypatch.setattr(beside_pytorch, "TorchProcess", FakeTorchProcess)
    results = beside_pytorch.measure(workload, ["predict", "train"])
    assert list(results) == [
        *("predict_images_per_s", "peer_predict_images_per_s", "predict_to_peer"),
        *("train_images_per_s", "peer_train_images_per_s", "train_to_peer"),
    ]
    assert results["peer_predict_images_per_s"] == results["peer_train_images_per_s"] == 8 / 0.25
    assert all(value > 0 for value in results.values())


def test_recipe_is_measured_whatever_the_settings(settings, monkeypatch):
    measured = []

    def note(workload, names):
        measured.append((workload.settings, names))
        return {"predict_to_peer": 1.23456}

    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: True)
    monkeypatch.setattr(beside_pytorch, "measure", note)
    other = settings.replace(precision="mixed_bfloat16", loss="rms", head="shape")
    results = beside_pytorch.compare(other, ["predict"])
    assert measured == [(settings, ["predict"])]
    assert results["predict_to_peer"] == 1.235
    assert (results["precision"], results["loss"], results["head"]) == ("float32", "mse", "linear")


def test_missing_pytorch_is_an_error(settings, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    with pytest.raises(InputError, match=r"pip install .*torch"):
        beside_pytorch.compare(settings, ["train"])


@pytest.mark.parametrize(
    ("changes", "stages", "named"),
    [
        ({"model": "mobilenetv3_large"}, ["train"], "--model=mobilenetv3_large"),
        ({}, ["read"], "--stages=read"),
    ],
)
def test_unknown_model_or_stage_is_an_error(settings, monkeypatch, changes, stages, named):
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: True)
    with pytest.raises(InputError, match=named):
        beside_pytorch.compare(settings.replace(**changes), stages)


def test_pytorch_starts_without_huge_pages(monkeypatch):
    tunables = []

    class Executor:
        def __init__(self, **_):
            pass

        def submit(self, *_):
            tunables.append(os.environ["GLIBC_TUNABLES"])
            future = Future()
            future.set_result([0.25])
            return future

    monkeypatch.setattr(beside_pytorch, "fresh_process", Executor)
    monkeypatch.setenv("GLIBC_TUNABLES", "a=b:glibc.malloc.hugetlb=1")
    beside_pytorch.TorchProcess("tiny", (), threads=1, device="cpu")
    assert tunables == ["a=b"]
    assert os.environ["GLIBC_TUNABLES"] == "a=b:glibc.malloc.hugetlb=1"


def test_script_takes_no_other_flags():
    command = [sys.executable, beside_pytorch.__file__, "--loss=rms"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: --loss ")


@pytest.mark.parametrize("kind", KINDS)
def test_pytorch_network_is_the_same(kind, tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file
    from torch_resnet import TorchResNet

    keras.utils.set_random_seed(0)
    ours, theirs = networks.build(KINDS[kind], 5, (33, 43)), TorchResNet(KINDS[kind], 5)
    assert sum(p.numel() for p in theirs.parameters()) == sum(
        np.prod(v.shape) for v in ours.trainable_variables
    )
    keras_weights.save_safetensors(ours, tmp_path / "weights.safetensors")
    loaded = theirs.load_state_dict(load_file(tmp_path / "weights.safetensors"), strict=False)
    assert not loaded.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in loaded.missing_keys)

    images = np.random.default_rng(0).integers(0, 256, (2, 33, 43, 3), np.uint8)
    with torch.inference_mode():
        expected = theirs.eval()(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(ours.predict_on_batch(images), expected, atol=1e-4)


def test_pytorch_steps_run_in_their_own_process(workload):
    pytest.importorskip("torch")
    batch = workload.batch[:2]
    with beside_pytorch.TorchProcess("tiny", batch, threads=1, device="cpu") as pytorch:
        for name in ("train", "predict"):
            durations = pytorch.time_steps(name, 2)
            assert len(durations) == 2
            assert all(seconds > 0 for seconds in durations)
