import numpy as np
import pytest

from keras_landmarks.layouts import layout
from keras_landmarks.utils.errors import InputError


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


def test_mirror_map_is_its_own_inverse():
    mirror = layout.mirror_map()
    np.testing.assert_array_equal(mirror[mirror], np.arange(971))


def test_only_contest_points_have_regions():
    assert layout.regions_of(971) == layout.REGIONS
    assert layout.regions_of(68) == {}


def test_layout_file_gives_regions(tmp_path):
    path = tmp_path / "layout.json"
    path.write_text('{"regions": {"nose": [27, 35], "chin": [8, 8]}, "mirror": [0]}')
    regions = layout.regions_of(68, path)
    assert regions == {"nose": slice(27, 36), "chin": slice(8, 9)}
    assert layout.regions_of(971, path) == regions


def test_file_may_be_a_mirror_map_alone(tmp_path):
    path = tmp_path / "mirror.json"
    path.write_text("[1, 0]")
    assert layout.read(path) == {"mirror": [1, 0]}
    assert layout.regions_of(2, path) == {}


def test_optional_file_may_be_missing(tmp_path):
    assert layout.read_if_exists(tmp_path / "layout.json") == {}
    with pytest.raises(InputError, match=r"layout\.json: no such file"):
        layout.read(tmp_path / "layout.json")


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("3", "neither"),
        ('{"regions": [0, 1]}', "'regions'"),
        ('{"regions": {"nose": [27, 68]}}', "'nose': 27 to 68 .*67"),
        ('{"regions": {"nose": [35, 27]}}', "'nose': 35 to 27"),
        ('{"regions": {"nose": [-1, 3]}}', "'nose': -1 to 3"),
        ('{"regions": {"nose": [0, 1, 2]}}', "'nose'"),
        ('{"regions": {"nose": [0, true]}}', "'nose'"),
        ('{"regions": {"nose": 3}}', "'nose'"),
        ("regions", "JSON"),
        (" " * (1 << 20) + "{}", "1,048,576"),
    ],
)
def test_invalid_layout_files_are_rejected(tmp_path, content, names):
    path = tmp_path / "layout.json"
    path.write_text(content)
    with pytest.raises(InputError, match=rf"layout\.json: .*{names}"):
        layout.regions_of(68, path)


def test_layout_file_may_lack_regions(tmp_path):
    path = tmp_path / "layout.json"
    path.write_text('{"points": ["left_eye", "right_eye"], "mirror": [1, 0]}')
    assert layout.regions_of(2, path) == {}


def test_missing_layout_file_is_rejected(tmp_path):
    with pytest.raises(InputError, match=r"layout\.json"):
        layout.regions_of(68, tmp_path / "layout.json")
