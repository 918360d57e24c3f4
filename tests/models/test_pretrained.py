import dataclasses
import functools
import http.server
import threading

import huggingface_hub
import numpy as np
import pytest
from small_networks import assert_equal_values, build, values

from keras_landmarks.models import pretrained
from keras_landmarks.models.spec import ModelSpec
from keras_landmarks.utils.errors import InputError

TINY = ModelSpec("tiny", 5, "32x32")


@pytest.fixture
def hub(safetensors_file, tmp_path, monkeypatch):
    """A local Hugging Face hub that serves one file; the list of paths that were requested."""
    content, requested = safetensors_file.read_bytes(), []

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            requested.append(self.path)
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
        yield requested
        server.shutdown()


def test_imagenet_weights_come_from_the_hub(hub, source):
    model = build()
    pretrained.initialise(model, ModelSpec("resnext50_32x4d", 5, "32x32"), "imagenet")
    assert set(hub) == {"/timm/resnext50_32x4d.tv_in1k/resolve/main/model.safetensors"}
    assert_equal_values(model, source)


def test_unreachable_hub_is_reported(monkeypatch, tmp_path):
    download = functools.partial(
        huggingface_hub.hf_hub_download, local_files_only=True, cache_dir=tmp_path
    )
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(InputError, match=r"timm/resnet18.tv_in1k .*--init_weights=PATH"):
        pretrained.fetch_imagenet("resnet18")


def test_model_without_imagenet_weights_is_refused():
    with pytest.raises(InputError, match=r"'tiny' .*--init_weights=none"):
        pretrained.initialise(build(), TINY, "imagenet")


def test_source_none_keeps_random_weights():
    model = build()
    before = values(model)
    pretrained.initialise(model, TINY, "none")
    np.testing.assert_equal(values(model), before)


def test_source_path_is_loaded(source, safetensors_file):
    model = build()
    pretrained.initialise(model, TINY, str(safetensors_file))
    assert_equal_values(model, source)


@pytest.mark.parametrize("other", [{"model": "resnet18"}, {"normalisation": "imagenet"}])
def test_other_network_or_other_pixels_are_refused(tiny_run, other):
    settings, _ = tiny_run
    workdir = settings.files.workdir
    asked = dataclasses.replace(TINY, **other)
    (name,) = other
    with pytest.raises(InputError, match=rf"--init_weights={workdir} is for --{name}="):
        pretrained.initialise(build(), asked, workdir)
