import numpy as np

from keras_landmarks.utils.journal import Journal


def test_only_an_incomplete_record_is_lost(tmp_path):
    path, record = tmp_path / "journal", np.dtype([("kept", bool), ("points", np.int16, (3, 2))])
    rows = np.zeros(3, record)
    rows["points"] = np.arange(18).reshape(3, 3, 2)
    with Journal(path, record) as journal:
        assert len(journal) == len(journal.read()) == 0
        for row in rows[:2]:
            journal.append(row)
    with path.open("ab") as file:
        file.write(rows[2].tobytes()[:-1])
    with Journal(path, record) as journal:
        assert len(journal) == 2
        journal.append(rows[2])
        np.testing.assert_array_equal(journal.read(), rows)


def test_truncated_journal_keeps_the_first_records(tmp_path):
    record = np.dtype((np.int16, (3,)))
    with Journal(tmp_path / "journal", record) as journal:
        for number in range(4):
            journal.append(np.full(3, number, np.int16))
        journal.truncate(2)
        assert len(journal) == 2
        journal.append(np.full(3, 9, np.int16))
        assert journal.read()[:, 0].tolist() == [0, 1, 9]
