import numpy as np

from keras_landmarks.data import layout


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
