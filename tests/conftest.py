import os
import shutil

# Tests spend most of their time in XLA's compiler, not in computation, so it optimises nothing, and
# makes its code in the older way, which takes a third of the time.
# XLA_FLAGS=--xla_backend_optimization_level=3 has tests compile as users do. The environment is set
# before JAX is imported, and applies to the commands that tests start as well.
if "--xla_backend_optimization_level" not in os.environ.get("XLA_FLAGS", ""):
    fast = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {fast}"
# Threads of NumPy's linear algebra wait for each other in busy loops: where several processes share
# the cores, two take ten times the processor time of one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# As commands set them.
os.environ["KERAS_BACKEND"] = "jax"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

import numpy as np
import pytest
from commands import run_alone, run_within

from keras_landmarks.contest import landmark_tables, listed_images
from keras_landmarks.images import geometry
from keras_landmarks.settings import TrainSettings
from keras_landmarks.synthetic.dataset import synthesize_dataset
from keras_landmarks.train import train
from keras_landmarks.utils import runtime

# As commands have them; the package leaves them alone where a test imports JAX first.
runtime.set_xla_cpu_flags()


@pytest.fixture(scope="session", autouse=True)
def compile_once(tmp_path_factory, worker_id):
    """Many tests train the same small model; it is compiled once and cached."""
    base = tmp_path_factory.getbasetemp()  # pytest deletes it; a worker's lies in that of the run
    folder = (base if worker_id == "master" else base.parent) / "cache"
    os.environ["XDG_CACHE_HOME"] = str(folder)  # the commands that tests start use the same
    runtime.use_compilation_cache(str(folder / "keras_landmarks" / "xla"))


@pytest.fixture(scope="session")
def faces(tmp_path_factory):
    """A contest folder of 24 + 8 synthetic faces; tests only read it."""
    data = tmp_path_factory.mktemp("data") / "faces"
    synthesize_dataset(data, train_images=24, test_images=8, processes=1)
    return data


@pytest.fixture
def own_faces(faces, tmp_path):
    """A copy of the faces for tests that change them."""
    return shutil.copytree(faces, tmp_path / "faces")


@pytest.fixture(scope="session")
def tiny_settings(faces, tmp_path_factory):
    """Settings for two epochs of the tiny model; tests vary them with `replace`."""
    return TrainSettings().replace(
        data=str(faces),
        prepared=str(tmp_path_factory.mktemp("prepared")),
        workdir=str(tmp_path_factory.mktemp("tiny")),
        model="tiny",
        init_weights="none",
        image_size="32",
        batch_size=8,
        epochs=2,
        shape_components=8,
        learning_rates="0:1e-2,1:1e-3",
        train_fraction=0.9,
        save_every_steps=1,
        processes=1,
    )


@pytest.fixture(scope="session")
def tiny_run(tiny_settings):
    """The settings of a finished run and its results."""
    return tiny_settings, train(tiny_settings)


@pytest.fixture(scope="session")
def mean_face(faces, tmp_path_factory):
    """A work directory whose model predicts the mean face of the training images for any image."""
    # Here, because the process that only hands out tests need not import Keras.
    from keras_landmarks.models.keras_models import build_model
    from keras_landmarks.models.spec import ModelSpec, claim_workdir
    from keras_landmarks.models.weight_files import BEST_WEIGHTS

    workdir = tmp_path_factory.mktemp("mean_face")
    spec = ModelSpec("tiny", 971, "48x64", "stretch")
    table = landmark_tables.read_landmarks(faces / "train" / "landmarks.csv")
    images = faces / "train" / "images"
    sizes = [listed_images.read_image(images, name).shape[1::-1] for name in table.file_names]
    transforms = [spec.crop_spec.transform_for(geometry.whole_image(size)) for size in sizes]
    crops = list(map(geometry.to_crop, table.landmarks_photo_px, transforms))
    model = build_model(spec)
    head = model.get_layer("fc")
    head.set_weights([0 * head.get_weights()[0], np.mean(crops, axis=0).ravel()])
    claim_workdir(workdir, spec)
    model.save_weights(workdir / BEST_WEIGHTS)
    return workdir


@pytest.fixture
def settings(tiny_settings, tmp_path):
    """Settings with a work directory for one test."""
    return tiny_settings.replace(workdir=str(tmp_path / "work"))


@pytest.fixture(
    params=[
        pytest.param(run_within, id="within"),
        pytest.param(run_alone, marks=pytest.mark.slow, id="alone"),
    ]
)
def run(request):
    """Runs a command with flags: within this process, and slowly in one of its own."""
    return request.param


@pytest.fixture
def write(tmp_path):
    """Returns a function that writes a file for one test and returns its path."""

    def write(content, name="table.csv"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write
