import functools
import http.server
import threading

import huggingface_hub
import numpy as np
import pytest
import safetensors.numpy

from keras_landmarks.models import networks, pretrained, resnet
from keras_landmarks.utils.errors import InputError

POINTS = 5
SMALL = resnet.ResNetConfig("bottleneck", (1,), groups=2, stem_width=8)


def build(member=SMALL, points=POINTS):
    return networks.build(member, points, image_size=32)


def values(model):
    return {variable.path: np.asarray(variable.value) for variable in model.variables}


def assert_equal_values(model, other):
    ours, theirs = values(model), values(other)
    assert [path for path in ours if not np.array_equal(ours[path], theirs[path])] == []


@pytest.fixture(scope="module")
def source():
    """A model whose every variable differs from a new one's."""
    model = build()
    generator = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(generator.uniform(0.5, 1.5, variable.shape))
    return model


@pytest.fixture
def safetensors_file(source, tmp_path):
    path = tmp_path / "weights.safetensors"
    pretrained.save_safetensors(source, path)
    return path


@pytest.fixture
def work_directory(source, tmp_path):
    source.save_weights(tmp_path / "best.weights.h5")
    return tmp_path


def test_safetensors_take_every_variable_there_and_back(source, safetensors_file):
    model = build()
    assert pretrained.load_weights(model, safetensors_file) == []
    assert_equal_values(model, source)
    assert [path.name for path in safetensors_file.parent.iterdir()] == [safetensors_file.name]


def test_safetensors_bear_the_names_and_layout_of_torchvision(safetensors_file):
    arrays = safetensors.numpy.load_file(safetensors_file)
    shapes = {name: array.shape for name, array in arrays.items()}
    assert shapes["conv1.weight"] == (8, 3, 7, 7)
    assert shapes["layer1.0.conv2.weight"] == (16, 8, 3, 3)
    assert shapes["layer1.0.downsample.1.running_var"] == (32,)
    assert shapes["fc.weight"] == (2 * POINTS, 32)


def test_the_best_weights_of_a_work_directory_are_loaded(source, work_directory):
    model = build()
    pretrained.load_weights(model, work_directory)
    assert_equal_values(model, source)


@pytest.mark.parametrize("suffix", [".safetensors", ".weights.h5"])
def test_a_head_of_other_outputs_is_left_alone_where_that_is_allowed(
    suffix, source, safetensors_file, work_directory, caplog
):
    path = safetensors_file if suffix == ".safetensors" else work_directory / "best.weights.h5"
    model, untouched = build(points=3), build(points=3)
    untouched.set_weights(model.get_weights())
    with pytest.raises(InputError, match=r"of another shape: fc.weight \(32, 10\), not \(32, 6\)"):
        pretrained.load_weights(model, path)
    assert_equal_values(model, untouched)

    with caplog.at_level("INFO", logger="absl"):
        assert pretrained.load_weights(model, path, any_head=True) == ["fc.weight", "fc.bias"]
    assert "its head is not used, ours keeps its initial values" in caplog.text
    np.testing.assert_array_equal(model.get_layer("fc").kernel, untouched.get_layer("fc").kernel)
    np.testing.assert_array_equal(model.get_layer("conv1").kernel, source.get_layer("conv1").kernel)


@pytest.mark.parametrize("suffix", [".safetensors", ".weights.h5"])
def test_weights_of_another_model_are_refused_whole_in_one_line(suffix, source, tmp_path):
    path = tmp_path / f"other{suffix}"
    save = pretrained.save_safetensors if suffix == ".safetensors" else type(source).save_weights
    save(source, path)
    model = build(resnet.ResNetConfig("basic", (1, 1), stem_width=8))
    before = values(model)
    with pytest.raises(InputError) as refusal:
        pretrained.load_weights(model, path)
    message = str(refusal.value)
    assert message.startswith(f"{path}: not weights of this model: missing: layer2.0.conv1.weight")
    assert "left over: layer1.0." in message
    assert "of another shape: layer1.0.conv1.weight (1, 1, 8, 16), not (3, 3, 8, 8)" in message
    assert "\n" not in message
    np.testing.assert_equal(values(model), before)


def test_a_smaller_model_refuses_the_layers_left_over_in_a_keras_file(tmp_path):
    build(resnet.ResNetConfig("basic", (2,), stem_width=8)).save_weights(
        tmp_path / "best.weights.h5"
    )
    with pytest.raises(InputError, match=r"left over: layer1\.1\."):
        pretrained.load_weights(build(resnet.ResNetConfig("basic", (1,), stem_width=8)), tmp_path)


@pytest.mark.parametrize("name", ["weights.pth", "weights.pt", "weights.bin", "weights.ckpt"])
def test_pickles_are_refused_unread(name, source):
    with pytest.raises(InputError, match=rf"{name}: a pickle can run code: convert it"):
        pretrained.load_weights(source, name)


@pytest.mark.parametrize("name", ["weights.safetensors", "best.weights.h5"])
@pytest.mark.parametrize("end", [0, 100, -100])
def test_a_file_cut_off_is_refused(name, end, source, safetensors_file, work_directory):
    path = work_directory / name
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(InputError, match=rf"{name}: broken"):
        pretrained.load_weights(source, path)


def test_a_missing_file_and_an_unknown_kind_are_refused(source, tmp_path):
    with pytest.raises(InputError, match=r"none.safetensors: no such file"):
        pretrained.load_weights(source, tmp_path / "none.safetensors")
    with pytest.raises(InputError, match=r"best.weights.h5: no such file"):
        pretrained.load_weights(source, tmp_path)
    (tmp_path / "table.csv").touch()
    with pytest.raises(InputError, match=r"table.csv: not weights"):
        pretrained.load_weights(source, tmp_path / "table.csv")


@pytest.fixture
def hub(safetensors_file, tmp_path, monkeypatch):
    """The hub's client beside a local hub with one file; the paths that it was asked for."""
    content, asked = safetensors_file.read_bytes(), []

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("ETag", '"0123"')
            self.send_header("X-Repo-Commit", "4567")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()

        def do_GET(self):
            self.do_HEAD()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        download = functools.partial(
            huggingface_hub.hf_hub_download,
            endpoint=f"http://127.0.0.1:{server.server_port}",
            cache_dir=tmp_path / "cache",
        )
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
        yield asked
        server.shutdown()


def test_imagenet_weights_come_from_the_hub(hub, source):
    model = build()
    pretrained.initialise(model, "resnext50_32x4d", "imagenet")
    assert set(hub) == {"/timm/resnext50_32x4d.tv_in1k/resolve/main/model.safetensors"}
    assert_equal_values(model, source)


def test_a_hub_out_of_reach_is_told_with_the_way_round(monkeypatch, tmp_path):
    download = functools.partial(
        huggingface_hub.hf_hub_download, local_files_only=True, cache_dir=tmp_path
    )
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(InputError, match=r"timm/resnet18.tv_in1k .*pass --init_weights=PATH"):
        pretrained.fetch_imagenet("resnet18")


def test_a_model_without_imagenet_weights_is_refused():
    with pytest.raises(InputError, match="'tiny' has no ImageNet weights"):
        pretrained.initialise(build(), "tiny", "imagenet")


def test_no_source_leaves_the_model_random_and_a_path_is_loaded(source, safetensors_file):
    model = build()
    before = values(model)
    pretrained.initialise(model, "tiny", "none")
    np.testing.assert_equal(values(model), before)
    pretrained.initialise(model, "tiny", str(safetensors_file))
    assert_equal_values(model, source)
