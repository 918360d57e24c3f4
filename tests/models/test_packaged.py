import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_landmarks import Landmarker
from keras_landmarks.contest import landmark_tables
from keras_landmarks.evaluation import metrics
from keras_landmarks.layouts import layout, mirror
from keras_landmarks.models import packaged, weight_files
from keras_landmarks.models.packaged import FACES
from keras_landmarks.models.spec import read_spec
from keras_landmarks.utils.errors import InputError


def test_description_is_in_the_file():
    spec = read_spec(FACES)
    assert (spec.num_landmarks, spec.uncertainty) == (layout.CONTEST_POINTS, True)
    mirror_map = mirror.from_json(spec.mirror, spec.num_landmarks, FACES)
    np.testing.assert_array_equal(mirror_map, layout.mirror_map())
    assert packaged.display_name(FACES) == "@faces (faces-2)"


def test_file_is_small_and_whole():
    path = packaged.resolve(FACES)
    assert path.stat().st_size <= 8_000_000
    assert weight_files.CHECKSUM in weight_files.read_metadata(path)
    weight_files.read_arrays(FACES)  # compares the checksum


def test_card_lies_beside_it_with_the_credits():
    card = packaged.resolve(FACES).with_name("faces.md").read_text()
    assert "FairFace" in card
    assert "Intel" in card
    assert "CC BY 4.0" in card


def test_unknown_name_lists_the_known():
    with pytest.raises(InputError, match=r"@nobody: .*@faces"):
        packaged.resolve("@nobody")


def test_paths_are_left_alone(tmp_path):
    assert packaged.resolve(tmp_path) == tmp_path
    assert packaged.output_folder(tmp_path) == tmp_path
    assert packaged.output_folder(FACES) == Path()


def test_drawn_faces_get_the_right_points(faces):
    truth = landmark_tables.read_landmarks(faces / "train" / "landmarks.csv")
    paths = [faces / "train" / "images" / name for name in truth.file_names]
    found = Landmarker.load(min_score=0.3)(paths)
    rows = [row for row, photo_faces in enumerate(found) if photo_faces]
    assert len(rows) >= 20  # of 24
    predicted = np.stack([found[row][0].landmarks_photo_px for row in rows])
    true_px = truth.landmarks_photo_px[rows].astype(np.float64)
    distances = np.hypot(*np.moveaxis(predicted - true_px, -1, 0)).mean(axis=1)
    assert np.median(distances / metrics.face_sizes(true_px)) < 0.03


OFFLINE = """
import runpy, socket, sys
def refuse(*_, **__):
    raise OSError("there is no network")
socket.socket.connect = socket.getaddrinfo = refuse
sys.argv[0] = "landmarks"
runpy.run_module("keras_landmarks.landmarks", run_name="__main__", alter_sys=True)
"""


def test_landmarks_needs_neither_network_nor_home(faces, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o500)
    photo = faces / "train" / "images" / "face_000001.jpg"
    command = [sys.executable, "-c", OFFLINE, str(photo), "--min_score=0.3", "--out=found"]
    environment = os.environ | {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert ended.returncode == 0, ended.stderr
    results = json.loads(ended.stdout.splitlines()[-1])
    assert (results["faces"], results["model"]) == (1, "@faces (faces-2)")
    assert not list(home.iterdir())
