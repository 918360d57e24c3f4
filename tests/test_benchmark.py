import dataclasses
import json

import keras
import numpy as np
import pytest

from keras_landmarks.benchmark import benchmark, bottleneck, table
from keras_landmarks.benchmarks import aot, peer
from keras_landmarks.benchmarks.stages import STAGES
from keras_landmarks.benchmarks.timing import in_fresh_process, take_turns
from keras_landmarks.benchmarks.workload import BenchmarkSettings, Workload, new_objective
from keras_landmarks.models import networks, pretrained, resnet
from keras_landmarks.utils.errors import InputError

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
# A model's flag holds a name; what builds it takes a member as well, and this one compiles fast.
SMALL = resnet.ResNetConfig("basic", (1,), stem_width=8)
KINDS = {
    "basic": resnet.ResNetConfig("basic", (1, 2), stem_width=8),
    "grouped": resnet.ResNetConfig("bottleneck", (1, 2), groups=4, base_width=32, stem_width=8),
}


@pytest.fixture(scope="module")
def settings(tiny_settings):
    return BenchmarkSettings(**dataclasses.asdict(tiny_settings), seconds=0.0)


@pytest.fixture(scope="module")
def workload(settings, faces, tmp_path_factory):
    small = dataclasses.replace(settings, model=SMALL)
    return Workload(small, faces, tmp_path_factory.mktemp("scratch"))


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_gives_its_figures(name, workload):
    figures = STAGES[name](workload, None)
    assert set(figures) == KEYS[name]
    assert all(value > 0 for value in figures.values())


def test_a_step_is_that_of_the_training_asked_for(settings, faces, tmp_path):
    asked = {"loss": "nll", "loss_unit": "photo", "head": "shape", "shape_components": 4}
    asked |= {"optimizer": "sgd", "accumulate": 2, "ema_momentum": 0.9, "model": SMALL}
    workload = Workload(dataclasses.replace(settings, **asked), faces, tmp_path)
    objective = new_objective(workload.settings, workload.samples.points)
    assert objective.output_shape == (None, 971, 3)
    assert objective.get_layer("coefficients").units == 4
    assert isinstance(objective.optimizer, keras.optimizers.SGD)
    assert objective.optimizer.gradient_accumulation_steps == 2
    assert STAGES["train"](workload, None)["train_images_per_s"] > 0


def test_a_short_table_is_repeated(workload):
    STAGES["parse"](workload, None)
    source = (workload.data / "train" / "landmarks.csv").read_text().splitlines()
    repeated = (workload.scratch / "landmarks.csv").read_text().splitlines()
    assert len(repeated) == 1 + 4000
    assert repeated[: len(source)] == source
    assert repeated[1 + 24] == source[1]


def prepare_twice(workload):
    return [STAGES["prepare"](workload, None)["prepare_images_per_s"] for _ in range(2)]


def test_preparing_does_not_count_what_it_imports(settings, faces, tmp_path):
    first, second = in_fresh_process(prepare_twice, Workload(settings, faces, tmp_path))
    assert first > second / 20


def test_a_batch_larger_than_the_data_takes_images_again(settings, faces, tmp_path):
    large = Workload(dataclasses.replace(settings, batch_size=30), faces, tmp_path)
    images, landmarks, _ = large.batch
    assert images.shape == (30, 32, 32, 3)
    assert landmarks.shape == (30, 971, 2)
    assert len(np.unique(images.reshape(30, -1), axis=0)) == 24


def test_the_json_line_says_what_was_measured_on_what(settings):
    figures = json.loads(json.dumps(benchmark(settings, ["read", "parse"])))
    assert list(figures) == [
        "parse_rows_per_s",
        "read_images_per_s",
        "bottleneck",
        "model",
        "image_size",
        "batch_size",
        "precision",
        "loss",
        "head",
        "optimizer",
        "processor",
        "cores",
        "device",
    ]
    assert figures["bottleneck"] == "read"
    assert figures["cores"] >= 1
    assert figures["device"] == "1 x cpu"
    *rows, last = table(figures).splitlines()
    assert [row.split()[0] for row in rows] == ["parse_rows_per_s", "read_images_per_s"]
    assert last == "bottleneck: read"


def test_without_data_faces_are_drawn(settings, monkeypatch):
    monkeypatch.setattr("keras_landmarks.benchmark._BUILT_IN_FACES", 4)
    assert benchmark(dataclasses.replace(settings, data=None), ["parse"])["parse_rows_per_s"] > 0


@pytest.mark.parametrize(
    ("read", "augment", "train", "online", "slowest"),
    [
        (900, 300, 500, False, "train"),
        (900, 300, 500, True, "augment"),
        (100, 300, 500, True, "read"),
        (900, 300, None, False, "read"),
        (None, 300, None, False, None),
    ],
)
def test_the_bottleneck_is_the_slowest_of_what_a_step_needs(read, augment, train, online, slowest):
    rates = {"read": read, "augment": augment, "train": train, "predict": 1}
    figures = {f"{name}_images_per_s": rate for name, rate in rates.items() if rate}
    assert bottleneck(figures, online) == slowest


@pytest.mark.parametrize(("step_s", "steps"), [(0.5, 5), (0.1, 10)])
def test_runners_take_turns_and_each_round_counts_the_same(step_s, steps):
    order = []

    def runner(name, seconds):
        def run(steps):
            order.append((name, steps))
            return [seconds] * steps

        return run

    rounds = take_turns([runner("ours", step_s), runner("theirs", 0.25)], seconds=0.0)
    np.testing.assert_array_equal(rounds, [[step_s, 0.25]] * 3)
    assert order[3:] == [("ours", steps), ("theirs", steps)] * 3


# ── the peer ──


@pytest.mark.parametrize("kind", KINDS)
def test_the_peer_is_the_same_network(kind, tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    from keras_landmarks.benchmarks.torch_resnet import TorchResNet

    keras.utils.set_random_seed(0)
    ours, theirs = networks.build(KINDS[kind], 5, (33, 43)), TorchResNet(KINDS[kind], 5)
    assert sum(p.numel() for p in theirs.parameters()) == sum(
        np.prod(v.shape) for v in ours.trainable_variables
    )
    pretrained.save_safetensors(ours, tmp_path / "weights.safetensors")
    loaded = theirs.load_state_dict(load_file(tmp_path / "weights.safetensors"), strict=False)
    assert not loaded.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in loaded.missing_keys)

    images = np.random.default_rng(0).integers(0, 256, (2, 33, 43, 3), np.uint8)
    with torch.inference_mode():
        expected = theirs.eval()(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(ours.predict_on_batch(images), expected, atol=1e-4)


def test_the_peer_takes_steps_in_a_process_of_its_own(workload):
    pytest.importorskip("torch")
    with peer.Peer("tiny", workload.batch[:2], threads=1, device="cpu") as opened:
        assert len(opened.train(2)) == 2
        figures = STAGES["predict"](workload, opened)
    assert set(figures) == {
        "predict_images_per_s",
        "peer_predict_images_per_s",
        "predict_to_peer",
    }
    assert all(value > 0 for value in figures.values())


def test_without_pytorch_the_peer_is_an_error_or_left_out(settings, monkeypatch):
    monkeypatch.setattr(peer, "is_installed", lambda: False)
    with pytest.raises(InputError, match="--peer=torch: PyTorch is missing: pip install"):
        benchmark(settings, ["train"], "torch")
    assert "peer_predict_images_per_s" not in benchmark(settings, ["predict"], "auto")


@pytest.mark.parametrize(
    "other", [{"precision": "mixed_bfloat16"}, {"loss": "rms"}, {"head": "shape"}], ids=str
)
def test_the_peer_compares_the_recipe_in_single_precision_only(settings, other):
    (name,) = other
    with pytest.raises(InputError, match=f"leave --{name} as it is"):
        benchmark(dataclasses.replace(settings, **other), ["train"], "torch")


# ── ahead of time ──


def test_collectives_are_read_from_the_compiled_text():
    hlo = """
ENTRY %main {
  %a.1 = (f32[16]{0:T(128)S(1)}, /*index=1*/f32[16]{0}) all-reduce(%x, %y), to_apply=%add
  %a.2 = (f32[16]{0}, f32[16]{0}) all-reduce(%a.1, %y), replica_groups={{0,1},{2,3}}
  %get = f32[16]{0} get-tuple-element(%a.1), index=0
  ROOT %g = bf16[8,4]{1,0} all-gather-start(%get), dimensions={0}
}
"""
    assert aot.collectives(hlo) == [
        {"op": "all-reduce", "shape": "(f32[16], f32[16])", "count": 2},
        {"op": "all-gather", "shape": "bf16[8,4]", "count": 1},
    ]


def test_a_train_step_compiles_for_chips_that_are_not_there(settings):
    pytest.importorskip("libtpu")
    small = dataclasses.replace(settings, model=SMALL, batch_size=2)
    figures = aot.compile_ahead("v5e:2x2", small)
    assert figures["aot_chips"] == 4
    assert figures["aot_flops"] > 0
    assert figures["aot_bytes"] > 0
    # At least the weights and the optimiser's three copies of them, in float32.
    parameters = networks.build(SMALL, 971, 32).count_params()
    assert figures["aot_memory_bytes_per_chip"] > 4 * 4 * parameters
    assert {entry["op"] for entry in figures["aot_collectives"]} == {"all-reduce"}


def test_a_topology_that_does_not_exist_is_refused(settings):
    pytest.importorskip("libtpu")
    with pytest.raises(InputError, match=r"--aot=v9:2x2: .*v9"):
        aot.compile_ahead("v9:2x2", settings)
