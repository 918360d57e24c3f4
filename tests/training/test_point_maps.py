import json
from pathlib import Path

import numpy as np
import pytest

from keras_landmarks.contest import landmark_tables
from keras_landmarks.layouts import layout
from keras_landmarks.train import train
from keras_landmarks.utils.errors import InputError


@pytest.fixture
def mirrored(settings):
    return settings.replace(augment_online=("mirror",), epochs=1)


def recorded_map(settings):
    return json.loads((Path(settings.files.workdir) / "model.json").read_text())["mirror"]


def test_mirrored_run_records_the_contest_map(mirrored):
    train(mirrored)
    assert recorded_map(mirrored) == "contest"
    without = mirrored.replace(augment_online=(), epochs=2)
    with pytest.raises(InputError, match="--augment_online=mirror, not --augment_online="):
        train(without)
    train(without.replace(resume=False))
    assert recorded_map(mirrored) is None


def test_other_runs_record_a_map_on_request(tiny_run, settings):
    done, _ = tiny_run
    assert recorded_map(done) is None
    train(settings.replace(mirror="found", epochs=1))
    assert np.mean(recorded_map(settings) == layout.mirror_map()) > 0.9  # 21 faces do not show more


@pytest.mark.slow
def test_resumed_run_keeps_the_found_map(tiny_run, settings):
    settings = settings.replace(mirror="found", epochs=1)
    train(settings)
    found = recorded_map(settings)
    swapped = [found[1], found[0], *found[2:]]
    swapped[swapped[0]], swapped[swapped[1]] = 0, 1
    path = Path(settings.files.workdir) / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"mirror": swapped}))
    train(settings.replace(epochs=2))
    assert recorded_map(settings) == swapped
    train(settings.replace(resume=False))
    assert recorded_map(settings) == found


def test_mirroring_needs_a_map(mirrored):
    with pytest.raises(InputError, match=r"--augment_online=mirror .*--mirror=FILE"):
        train(mirrored.replace(mirror="none"))


def test_any_map_is_taken_from_the_layout_or_the_faces_or_left_out(mirrored, own_faces):
    """These nine points on one side of the face are not partners of each other."""
    auto = mirrored.replace(data=str(own_faces), mirror="auto")
    table = own_faces / "train" / "landmarks.csv"
    landmarks = landmark_tables.read_landmarks(table)
    one_side = landmarks.landmarks_photo_px[:, 0:63:7]
    landmark_tables.write_landmarks(table, landmarks.file_names, one_side)
    train(auto)
    assert recorded_map(auto) is None
    partners = [1, 0, *range(2, 9)]
    (own_faces / "layout.json").write_text(json.dumps({"mirror": partners}))
    train(auto.replace(resume=False))
    assert recorded_map(auto) == partners


def test_wrong_map_is_refused_early(mirrored, tmp_path):
    wrong = layout.mirror_map()
    wrong[273:401] = np.arange(273, 401)
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"mirror": wrong.tolist()}))
    with pytest.raises(InputError, match=r"map\.json: .*273-400 .* 21 "):
        train(mirrored.replace(mirror=str(path)))
    assert not Path(mirrored.files.workdir).exists()
