import errno

import numpy as np
import pytest
from folders import contents

from keras_landmarks.synthetic.dataset import synthesize_dataset
from keras_landmarks.utils import disk
from keras_landmarks.utils.files import atomic_write, write_atomically
from keras_landmarks.utils.folders import atomic_folder, resumable_folder
from keras_landmarks.utils.journal import Journal


def fill_file(folder):
    with atomic_write(folder / "notes.txt") as partial:
        partial.write_bytes(bytes(500_000))


def fill_folder(folder):
    with atomic_folder(folder / "photos") as partial:
        for number in range(50):
            (partial / str(number)).write_bytes(bytes(10_000))


def fill_journal(folder):
    record = np.dtype((np.uint8, (9_999,)))
    with (
        resumable_folder(folder / "points.npz", "key") as scratch,
        Journal(scratch / "journal", record) as journal,
    ):
        for _ in range(50):
            journal.append(np.zeros(9_999, np.uint8))


@pytest.mark.parametrize(
    ("fill", "name", "earlier"),
    [
        (fill_file, "notes.txt", "notes.txt"),
        (fill_folder, "photos", "photos/earlier"),
        (fill_journal, "points.npz", "points.npz"),
    ],
)
def test_full_disk_is_named_and_spares_what_was_there(small_disk, fill, name, earlier):
    write_atomically(small_disk / earlier, "x")
    before = contents(small_disk)
    with pytest.raises(OSError, match=rf"/{name}: No space left on device"):
        fill(small_disk)
    left = {path: content for path, content in contents(small_disk).items() if path[0] != "."}
    assert left == before


def test_words_of_hdf5_are_left_out(tmp_path):
    words = "Can't synchronously write data (file write failed: filename = 'x', errno = 28, error"
    with (
        pytest.raises(OSError, match=r"/notes: No space left on device; [^(]*$"),
        disk.explain_full_disk(tmp_path / "notes"),
    ):
        raise OSError(errno.ENOSPC, words)


def test_free_space_is_checked_beforehand(small_disk):
    disk.require_free_space(small_disk / "notes.txt", 100_000)
    with (
        pytest.raises(OSError, match=r"/notes\.txt: No space left on device"),
        disk.explain_full_disk(small_disk / "notes.txt"),
    ):
        disk.require_free_space(small_disk / "notes.txt", 300_000)


def test_synthesize_leaves_nothing_on_a_full_disk(small_disk):
    with pytest.raises(OSError, match="/faces: No space left on device"):
        synthesize_dataset(small_disk / "faces", train_images=24, test_images=8, processes=1)
    assert contents(small_disk) == {}
