import pytest
from folders import contents

from keras_landmarks import files


def write_half(whole, name, error):
    with whole as partial:
        (partial / name).write_text("half")
        raise error


def test_a_file_appears_whole_in_a_folder_made_for_it(tmp_path):
    path = tmp_path / "new" / "notes.json"
    with files.whole_file(path) as partial:
        partial.write_text("all")
        assert not path.exists()
        assert partial.suffix == ".json"
    assert contents(tmp_path) == {"new/notes.json": b"all"}


@pytest.mark.parametrize("earlier", [{}, {"notes.txt": b"earlier"}])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_file_leaves_what_was_there(tmp_path, earlier, error):
    for name, content in earlier.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error):
        write_half(files.whole_file(tmp_path / "notes.txt"), "", error)
    assert contents(tmp_path) == earlier


@pytest.mark.parametrize("earlier", ["nothing", "empty", "full"])
def test_a_folder_takes_the_place_of_an_earlier_one(tmp_path, earlier):
    path = tmp_path / "photos"
    if earlier != "nothing":
        path.mkdir()
    if earlier == "full":
        (path / "old.txt").write_text("earlier")
    with files.whole_folder(path) as partial:
        (partial / "new.txt").write_text("all")
    assert contents(tmp_path) == {"photos/new.txt": b"all"}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_folder_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "photos"
    files.write_whole(path / "old.txt", "earlier")
    with pytest.raises(error):
        write_half(files.whole_folder(path), "new.txt", error)
    assert contents(tmp_path) == {"photos/old.txt": b"earlier"}
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_of_the_same_number_left_is_no_obstacle(tmp_path):
    abandoned = files.whole_folder(tmp_path / "photos")
    abandoned.__enter__()
    with files.whole_folder(tmp_path / "photos") as partial:
        (partial / "new.txt").write_text("all")
    assert (tmp_path / "photos" / "new.txt").read_text() == "all"


@pytest.mark.parametrize(
    ("content", "written"), [("größer\n", "größer\n".encode()), (b"\x00\xff", b"\x00\xff")]
)
def test_text_and_bytes_are_written_whole(tmp_path, content, written):
    files.write_whole(tmp_path / "notes", content)
    assert contents(tmp_path) == {"notes": written}
