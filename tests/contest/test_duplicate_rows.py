import numpy as np

from keras_landmarks.contest.duplicate_rows import DuplicateRowCheck

FIRST, OTHER = np.array([[1, 2]]), np.array([[1, 3]])


def test_equal_row_alone_is_invalid():
    rows = DuplicateRowCheck()
    assert rows.add("a.jpg", 2, FIRST) == []
    [sample] = rows.add("./a.jpg", 3, FIRST.astype(np.float32))
    assert (sample.file_name, sample.line) == ("./a.jpg", 3)
    assert sample.reason.endswith(": line 2")


def test_contradicting_rows_are_all_invalid():
    rows = DuplicateRowCheck()
    assert rows.add("a.jpg", 2, FIRST) == []
    assert rows.add("b.jpg", 3, FIRST) == []
    assert [sample.line for sample in rows.add("a.jpg", 4, OTHER)] == [2, 4]
    assert [sample.line for sample in rows.add("a.jpg", 5, FIRST)] == [5]


def test_negative_zero_equals_zero():
    rows = DuplicateRowCheck()
    rows.add("a.jpg", 2, np.array([[0.0, 1.5]]))
    assert len(rows.add("a.jpg", 3, np.array([[-0.0, 1.5]]))) == 1
