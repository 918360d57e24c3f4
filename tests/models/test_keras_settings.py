"""A user's keras.json and a host program's Keras settings do not change what our models compute."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_landmarks.contest import prediction_files
from keras_landmarks.images import geometry
from keras_landmarks.inference.contest_splits.contest_predictions import predict_split
from keras_landmarks.inference.predictor import Predictor
from keras_landmarks.inference.runtimes import load_for_splits
from keras_landmarks.models.keras_models import load_trained
from keras_landmarks.models.keras_settings import pinned_settings
from keras_landmarks.models.stock_layers import stock_model
from keras_landmarks.settings import PredictSettings
from keras_landmarks.training.work_directory import write_flagfile

OURS = {
    "image_data_format": "channels_last",
    "floatx": "float32",
    "epsilon": 1e-7,
    "max_epochs": None,
    "max_steps_per_epoch": None,
    "dtype_policy": "float32",
}
THEIRS = {
    "image_data_format": "channels_first",
    "floatx": "float16",
    "epsilon": 1e-3,
    "max_epochs": 1,
    "max_steps_per_epoch": 1,
    "dtype_policy": "mixed_bfloat16",
}


def settings_now():
    now = {name: getattr(keras.config, name)() for name in OURS}
    return now | {"dtype_policy": now["dtype_policy"].name}


def choose(settings):
    for name, value in settings.items():
        getattr(keras.config, f"set_{name}")(value)


@contextlib.contextmanager
def host_program():
    """Within, a program around ours has chosen other settings."""
    choose(THEIRS)
    try:
        yield
    finally:
        left = settings_now()
        choose(OURS)
    assert left == THEIRS


def test_settings_are_pinned_and_restored():
    with host_program(), pinned_settings():
        assert settings_now() == OURS
    with host_program(), pinned_settings("mixed_bfloat16"):
        assert settings_now() == OURS | {"dtype_policy": "mixed_bfloat16"}
    with host_program(), pytest.raises(KeyError), pinned_settings():
        raise KeyError


@pytest.fixture
def crops():
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)


def test_predictor_ignores_host_settings(tiny_run, crops):
    workdir = Path(tiny_run[0].files.workdir)
    transform = geometry.CropTransform(np.ones((3, 2)), np.zeros((3, 2)))
    expected = Predictor(*load_for_splits(workdir))(crops, transform)
    with host_program():
        np.testing.assert_array_equal(
            Predictor(*load_for_splits(workdir))(crops, transform), expected
        )


def test_exported_network_ignores_host_settings(tiny_run, crops):
    workdir = Path(tiny_run[0].files.workdir)
    expected = stock_model(load_trained(workdir)[1]).predict_on_batch(crops)
    with host_program():
        stock = stock_model(load_trained(workdir)[1])
        with pinned_settings():
            np.testing.assert_array_equal(stock.predict_on_batch(crops), expected)


TRAIN_AND_PREDICT = """
import sys
from pathlib import Path
from keras_landmarks import flags
from keras_landmarks.inference.contest_splits.contest_predictions import predict_split
from keras_landmarks.settings import PredictSettings, TrainSettings
from keras_landmarks.train import train

flags.FLAGS(["train", *sys.argv[1:]])
settings = flags.read(TrainSettings)
train(settings)
workdir = Path(settings.files.workdir)
data = Path(settings.files.data)
predict_split(workdir, data, "test", None, workdir / "p.npz", PredictSettings())

import keras
print(keras.config.image_data_format(), keras.config.floatx(), keras.config.dtype_policy().name)
"""


@pytest.mark.slow
def test_keras_json_is_ignored(tiny_run, settings, faces, tmp_path):
    done = Path(tiny_run[0].files.workdir)
    home = tmp_path / "home"
    home.mkdir()
    names = ("floatx", "epsilon", "image_data_format")
    theirs = {name: THEIRS[name] for name in names} | {"backend": "torch"}
    (home / "keras.json").write_text(json.dumps(theirs))
    write_flagfile(tmp_path / "flags.cfg", settings)
    ended = subprocess.run(
        [sys.executable, "-c", TRAIN_AND_PREDICT, f"--flagfile={tmp_path / 'flags.cfg'}"],
        env=os.environ | {"KERAS_HOME": str(home)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["channels_first", "float16", "float16"]
    ours = Path(settings.files.workdir)
    last = "last.safetensors"
    assert (ours / last).read_bytes() == (done / last).read_bytes()
    predict_split(done, faces, "test", None, tmp_path / "p.npz", PredictSettings())
    expected, predicted = (prediction_files.read(folder / "p.npz") for folder in (tmp_path, ours))
    np.testing.assert_array_equal(predicted.landmarks_photo_px, expected.landmarks_photo_px)
