import json

import numpy as np
import pytest

from keras_landmarks.data import layout
from keras_landmarks.errors import InputError


def test_regions_cover_every_point_once():
    covered = np.concatenate([np.arange(971)[region] for region in layout.REGIONS.values()])
    np.testing.assert_array_equal(covered, np.arange(971))


def test_mirror_map_by_hand():
    mirror = layout.mirror_map()
    partners = {0: 64, 63: 127, 128: 272, 200: 200, 273: 337, 401: 464, 550: 550}
    partners |= {587: 714, 713: 840, 841: 872, 904: 873, 937: 968, 969: 970}
    for point, partner in partners.items():
        assert mirror[point] == partner
        assert mirror[partner] == point


def test_mirroring_twice_is_nothing():
    mirror = layout.mirror_map()
    np.testing.assert_array_equal(mirror[mirror], np.arange(971))


def test_regions_come_from_a_file(tmp_path):
    path = tmp_path / "layout.json"
    path.write_text(json.dumps({"regions": {"jaw": [0, 16], "tip": [30, 30]}, "mirror": []}))
    assert layout.read_regions(path, 68) == {"jaw": slice(0, 17), "tip": slice(30, 31)}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no such file"),
        ("not JSON", "no JSON file with regions"),
        ("[1]", "no JSON file with regions"),
        ('{"regions": {"jaw": 3}}', "no JSON file with regions"),
        ('{"regions": {"jaw": ["0", "3"]}}', "no JSON file with regions"),
        ('{"regions": {"jaw": [0, 68]}}', "jaw is not among the points 0 to 67"),
        ('{"regions": {"jaw": [5, 4]}}', "jaw is not among the points 0 to 67"),
        ('{"regions": {"jaw": [-2, 4]}}', "jaw is not among the points 0 to 67"),
    ],
)
def test_a_layout_that_is_none_is_told(tmp_path, text, says):
    path = tmp_path / "layout.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=says):
        layout.read_regions(path, 68)
