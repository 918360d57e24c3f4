import json

import numpy as np
import pytest
from photos import random_landmarks

from keras_landmarks.layouts import mirror
from keras_landmarks.layouts.layout import mirror_map
from keras_landmarks.utils.errors import InputError

CONTEST_MAP = mirror_map()
IDENTITY = np.arange(971)


def test_choices_of_the_flag(tmp_path):
    faces = random_landmarks(300)
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"regions": {}, "mirror": CONTEST_MAP.tolist()}))
    for choice in ("contest", "found", str(path)):
        np.testing.assert_array_equal(mirror.choose_map(choice, faces), CONTEST_MAP)
    assert mirror.choose_map("none", faces) is None
    path.write_text(json.dumps(CONTEST_MAP.tolist()))
    np.testing.assert_array_equal(mirror.read_map(path, 971), CONTEST_MAP)
    with pytest.raises(InputError, match=r"--mirror=contest .*971.*68"):
        mirror.choose_map("contest", faces[:, :68])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such file"),
        ("", "JSON"),
        ("[" * 100_000, "JSON"),
        (" " * (1 << 20) + "[1, 0, 2]", "1,048,576"),
        ("{}", "'mirror'"),
        ("3", "mirror map"),
        ('{"mirror": [1, 0, 2.0]}', "'mirror'"),
        ('{"mirror": [1, 0, true]}', "'mirror'"),
        ("[1, 0]", "2 points.* 3"),
        ("[1, 0, 3]", "3, point 2's"),
        ("[1, 0, -1]", "-1, point 2's"),
        ("[1, 2, 0]", "0 becomes 1.* 2"),
    ],
)
def test_invalid_map_files_are_rejected(tmp_path, content, reason):
    path = tmp_path / "map.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=rf"^\S+map\.json: .*{reason}"):
        mirror.read_map(path, 3)


def test_json_round_trip():
    assert mirror.as_json(CONTEST_MAP) == "contest"
    assert mirror.as_json(np.array([1, 0])) == [1, 0]
    assert mirror.as_json(None) is None
    for expected in (CONTEST_MAP, IDENTITY[::-1]):
        value = json.loads(json.dumps(mirror.as_json(expected)))
        np.testing.assert_array_equal(mirror.from_json(value, 971, "model.json"), expected)


def test_precedence_of_maps(tmp_path):
    path = tmp_path / "layout.json"
    np.testing.assert_array_equal(mirror.resolve_map(971, None), mirror_map())
    assert mirror.resolve_map(3, None) is None
    np.testing.assert_array_equal(mirror.resolve_map(3, None, [0, 2, 1]), [0, 2, 1])
    path.write_text('{"regions": {"ears": [0, 1]}}')
    assert mirror.resolve_map(3, path) is None
    np.testing.assert_array_equal(mirror.resolve_map(3, path, [0, 2, 1]), [0, 2, 1])
    path.write_text('{"mirror": [1, 0, 2]}')
    np.testing.assert_array_equal(mirror.resolve_map(3, path, [0, 2, 1]), [1, 0, 2])
    with pytest.raises(InputError, match=r"3 points.*971"):
        mirror.resolve_map(971, path)


def test_points_are_mirrored_with_their_partners():
    points_px = np.array([[[1, 2], [3, 4], [9, 5]]])
    mirrored_px = mirror.mirror_points(points_px, np.array([1, 0, 2]), width=10)
    np.testing.assert_array_equal(mirrored_px, [[[6, 4], [8, 2], [0, 5]]])
    np.testing.assert_array_equal(points_px, [[[1, 2], [3, 4], [9, 5]]])
