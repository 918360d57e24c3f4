import json

import pytest
from folders import with_gaps

from keras_landmarks.images import decoding


def read_rejects(path):
    header, *rows = path.read_text().splitlines()
    assert header == "file_name\trow\treason"
    return [tuple(row.split("\t")) for row in rows]


def test_valid_folder_has_no_rejects(run, faces, tmp_path):
    done = run("check", f"--data={faces}", f"--rejects={tmp_path / 'rejects.tsv'}")
    assert done.returncode == 0, done.stderr
    assert read_rejects(tmp_path / "rejects.tsv") == []
    none = {"rejected": 0, "unlisted": 0, "missing_points": 0, "suspicious_points": 0}
    train, test = {"rows": 24, "sound": 24, **none}, {"rows": 8, "sound": 8, **none}
    total = {name: train[name] + test[name] for name in train}
    assert json.loads(done.stdout.splitlines()[-1]) == {**total, "train": train, "test": test}


def test_points_without_a_place_are_counted(run, own_faces):
    with_gaps(own_faces, {0: [0, 5], 3: [970]})
    done = run("check", f"--data={own_faces}")
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts["train"]["missing_points"] == counts["missing_points"] == 3
    assert counts["rejected"] == 0
    assert "points without a place" in done.stdout


def test_point_that_is_never_placed_is_named(run, own_faces):
    with_gaps(own_faces, {row: [7] for row in range(24)})
    done = run("check", f"--data={own_faces}")
    assert done.returncode == 1
    assert "a place in none of the training photos: Point_M7;" in done.stderr.splitlines()[-1]


def test_invalid_rows_and_unlisted_files_are_reported(run, own_faces, tmp_path):
    images = own_faces / "train" / "images"
    (images / "unlisted \udce9.jpg").write_bytes(b"")
    (images / "face_000003.jpg").write_bytes(b"")
    (own_faces / "test" / "images" / "face_000001.jpg").write_bytes(b"")
    done = run("check", f"--data={own_faces}", f"--rejects={tmp_path / 'rejects.tsv'}")
    assert done.returncode == 0, done.stderr
    assert read_rejects(tmp_path / "rejects.tsv") == [
        ("face_000003.jpg", "5", "the file is empty"),
        ("face_000001.jpg", "3", "test: the file is empty"),
    ]
    counts = json.loads(done.stdout.splitlines()[-1])
    assert (counts["rows"], counts["sound"], counts["rejected"], counts["unlisted"]) == (
        32,
        30,
        2,
        1,
    )
    assert "  train/images/unlisted \\udce9.jpg\n" in done.stdout
    assert "the file is empty 1 1" in [" ".join(line.split()) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("table", "num_rows"), [("train/landmarks.csv", 24), ("test/test_points.csv", 8)]
)
def test_split_without_valid_row_is_an_error(run, own_faces, tmp_path, table, num_rows):
    """The error follows the report, the list and the JSON line."""
    for image in (own_faces / table).parent.joinpath("images").iterdir():
        image.unlink()
    done = run("check", f"--data={own_faces}", f"--rejects={tmp_path / 'rejects.tsv'}")
    assert done.returncode == 1
    *lines, last = done.stdout.splitlines()
    assert decoding.NO_FILE in " ".join(lines)
    counts = json.loads(last)
    split = table.partition("/")[0]
    assert counts[split]["rejected"] == counts[split]["rows"] == counts["rejected"] == num_rows
    assert len(read_rejects(tmp_path / "rejects.tsv")) == counts["rejected"]
    error = done.stderr.splitlines()[-1]
    assert error.startswith(f"error: {own_faces / table}: ")
    assert f" {num_rows} rows" in error
    assert "line 2 (face_000000.jpg)" in error


def test_table_without_rows_is_an_error(run, own_faces):
    table = own_faces / "train" / "landmarks.csv"
    table.write_text(table.read_text().splitlines(keepends=True)[0])
    done = run("check", f"--data={own_faces}")
    assert done.returncode == 1
    assert json.loads(done.stdout.splitlines()[-1])["train"]["rows"] == 0
    assert done.stderr.splitlines()[-1].startswith(f"error: {table}: ")


@pytest.mark.parametrize("missing", ["train/images", "train/landmarks.csv"])
def test_missing_part_is_named_in_one_line(run, own_faces, missing, tmp_path):
    (own_faces / missing).rename(own_faces / "elsewhere")
    done = run("check", f"--data={own_faces}", f"--rejects={tmp_path / 'rejects.tsv'}")
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert missing in line
    assert not (tmp_path / "rejects.tsv").exists()
