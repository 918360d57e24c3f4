"""A training that is interrupted, and what one leaves in its work directory, for tests."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from keras_landmarks.models.keras_models import load_trained
from keras_landmarks.train import train
from keras_landmarks.training import callbacks
from keras_landmarks.training.checkpoint import save_checkpoint


def interrupt_at(position, settings, monkeypatch):
    """Trains until the checkpoint of a position is written, and interrupts there."""

    def save_and_interrupt(path, model, position_saved, *rest):
        save_checkpoint(path, model, position_saved, *rest)
        if position_saved == position:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(callbacks, "save_checkpoint", save_and_interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(settings)


def best_weights(workdir):
    _, model = load_trained(Path(workdir))
    return model.get_weights()


def assert_same_weights(workdir, other):
    for ours, theirs in zip(best_weights(workdir), best_weights(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def read_history(workdir):
    with (Path(workdir) / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def remove_record(workdir):
    """Rewrites a checkpoint as earlier versions wrote it: without images, settings and counts."""
    path = Path(workdir) / "last.safetensors"
    with safetensors.safe_open(path, "numpy") as file:
        facts = json.loads(file.metadata()["run"])
    facts = {name: facts[name] for name in ("epoch", "step", "steps_per_epoch")}
    arrays = safetensors.numpy.load_file(path)
    arrays = {name: a for name, a in arrays.items() if not name.endswith("/averaged_steps")}
    safetensors.numpy.save_file(arrays, path, {"run": json.dumps(facts)})
