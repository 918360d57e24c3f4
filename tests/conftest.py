import dataclasses
import os
import shutil

# Most of a short training's time is XLA's, which need not try hard: tests take the time to compile,
# not to compute. In the environment, before JAX loads, for the commands that tests start as well;
# XLA_FLAGS=--xla_backend_optimization_level=3 runs them as a user's.
if "--xla_backend_optimization_level" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"
    )
# As a command has them.
os.environ["KERAS_BACKEND"] = "jax"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

import numpy as np
import pytest

from keras_landmarks.augment import AugmentSettings
from keras_landmarks.contest import landmark_tables, listed_images
from keras_landmarks.images import geometry
from keras_landmarks.models.pretrained import BEST_WEIGHTS
from keras_landmarks.models.spec import ModelSpec, claim_workdir
from keras_landmarks.synthesize import synthesize
from keras_landmarks.train import train
from keras_landmarks.training.settings import TrainSettings
from keras_landmarks.utils import compilation_cache


@pytest.fixture(scope="session", autouse=True)
def compile_once(tmp_path_factory, worker_id):
    """Many tests train the same small model; XLA compiles it for the first of them."""
    base = tmp_path_factory.getbasetemp()  # pytest tidies it up; of a worker it lies in the run's
    folder = str((base if worker_id == "master" else base.parent) / "compiled")
    os.environ["XDG_CACHE_HOME"] = folder  # of the commands that tests start
    compilation_cache.use(folder)


@pytest.fixture(scope="session")
def faces(tmp_path_factory):
    """A contest folder of 24 + 8 procedural faces; tests only read it."""
    data = tmp_path_factory.mktemp("data") / "faces"
    synthesize(data, train_images=24, test_images=8, processes=1)
    return data


@pytest.fixture
def own_faces(faces, tmp_path):
    """A copy of the faces for a test that spoils them."""
    return shutil.copytree(faces, tmp_path / "faces")


@pytest.fixture(scope="session")
def tiny_settings(faces, tmp_path_factory):
    """Two epochs of the tiny model: what a test varies by `dataclasses.replace`."""
    return TrainSettings(
        data=str(faces),
        prepared=str(tmp_path_factory.mktemp("prepared")),
        prepare=True,
        workdir=str(tmp_path_factory.mktemp("tiny")),
        model="tiny",
        init_weights="none",
        image_size="32",
        framing="crop",
        trim_bands=False,
        normalisation="half",
        batch_size=8,
        epochs=2,
        loss="mse",
        loss_unit="crop",
        head="linear",
        shape_components=8,
        optimizer="adam",
        weight_decay=0.05,
        clip_norm=0.0,
        accumulate=1,
        ema_momentum=0.0,
        average_last_epochs=0,
        schedule="steps",
        learning_rates="0:1e-2,1:1e-3",
        learning_rate=1e-3,
        warmup_epochs=0.0,
        first_cycle_epochs=1,
        reset_optimizer_each_epoch=True,
        train_fraction=0.9,
        fold=None,
        validation_groups=None,
        exclude=None,
        limit=None,
        augment_online=[],
        rotate_limit=20.0,
        shift_limit=0.0625,
        scale_limit=0.1,
        mirror=None,
        precision="float32",
        resume=True,
        save_every_steps=1,
        seed=0,
        processes=1,
        strict=False,
    )


@pytest.fixture(scope="session")
def tiny_run(tiny_settings):
    """The settings of a finished run, and its figures."""
    return tiny_settings, train(tiny_settings, AugmentSettings(augment_count=0))


@pytest.fixture(scope="session")
def mean_face(faces, tmp_path_factory):
    """A work directory whose model sees nothing: it says the mean face of the training images."""
    workdir = tmp_path_factory.mktemp("mean_face")
    spec = ModelSpec("tiny", 971, "48x64", "stretch")
    table = landmark_tables.read_landmarks(faces / "train" / "landmarks.csv")
    images = faces / "train" / "images"
    sizes = [listed_images.read_image(images, name).shape[1::-1] for name in table.file_names]
    framings = [spec.frame.framing_of(geometry.whole_image(size)) for size in sizes]
    crops = list(map(geometry.to_crop, table.points, framings))
    model = spec.build()
    head = model.get_layer("fc")
    head.set_weights([0 * head.get_weights()[0], np.mean(crops, axis=0).ravel()])
    claim_workdir(workdir, spec)
    model.save_weights(workdir / BEST_WEIGHTS)
    return workdir


@pytest.fixture
def settings(tiny_settings, tmp_path):
    """Settings with a work directory of the test's own."""
    return dataclasses.replace(tiny_settings, workdir=str(tmp_path / "work"))


@pytest.fixture
def write(tmp_path):
    """Writes a file of the test's own and returns its path."""

    def write(content, name="table.csv"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write
