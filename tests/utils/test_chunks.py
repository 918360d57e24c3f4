import pytest

from keras_landmarks.utils.chunks import evenly_spread, in_chunks


def test_last_chunk_may_be_shorter():
    assert in_chunks([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4], [5]]


@pytest.mark.parametrize(
    ("length", "expected"), [(0, []), (2, [0, 1]), (4, [0, 1, 2]), (7, [0, 2, 4]), (9, [0, 3, 6])]
)
def test_sample_is_evenly_spread(length, expected):
    assert evenly_spread(length, 3).tolist() == expected
