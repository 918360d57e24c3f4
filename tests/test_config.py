import os

import pytest

from keras_landmarks import config
from keras_landmarks.config import FLAGS

PATHS = ["data", "prepared", "workdir", "split", "submission", "predictions", "truth", "out"]
PATHS += ["test_points", "layout", "rejects", "html", "source", "photos", "only", "exclude"]
PATHS += ["duplicates", "suspects", "init_weights", "mirror"]
SEVERAL_PATHS = ["validation_groups", "groups", "compare", "inputs", "held_out"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home folder, where the process is as well."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parse(name, text):
    return FLAGS[name].parser.parse(text)


@pytest.mark.parametrize("name", PATHS)
def test_every_path_may_begin_with_the_home_folder(home, name):
    assert parse(name, "~/run1") == f"{home}/run1"
    assert parse(name, "~") == str(home)
    assert parse(name, "a/~/b") == "a/~/b"


@pytest.mark.parametrize("name", SEVERAL_PATHS)
def test_so_may_each_of_several(home, name):
    assert parse(name, "~/a.csv,b.csv, ~/c.csv") == [f"{home}/a.csv", "b.csv", f"{home}/c.csv"]


def test_without_a_home_a_path_that_begins_there_is_an_error(monkeypatch):
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # of a user whom nobody knows
    with pytest.raises(ValueError, match="this user has none; give the whole path"):
        parse("workdir", "~/run1")


@pytest.mark.parametrize("name", SEVERAL_PATHS)
@pytest.mark.parametrize(
    ("files", "text", "paths"),
    [
        (["a, b.csv"], "a, b.csv", ["a, b.csv"]),
        (["a, b.csv"], "a, b.csv,a, b.csv", ["a, b.csv", "a, b.csv"]),
        (["a, b.csv", "c.csv"], "c.csv, a, b.csv", ["c.csv", "a, b.csv"]),
        (["a, b.csv"], "~/a, b.csv", ["HOME/a, b.csv"]),
        (["a.csv", "b.csv"], "a.csv,b.csv", ["a.csv", "b.csv"]),
        (["a.csv"], "a.csv,b.csv", ["a.csv", "b.csv"]),
        ([], "a.csv, b.csv", ["a.csv", "b.csv"]),
        ([], "", []),
    ],
)
def test_a_comma_separates_paths_unless_it_is_part_of_a_files_name(home, name, files, text, paths):
    for file in files:
        (home / file).write_text("")
    assert parse(name, text) == [path.replace("HOME", str(home)) for path in paths]


def test_a_path_with_a_comma_comes_back_from_a_flagfile(home):
    (home / "a, b.csv").write_text("")
    config.write_flagfile(home / "flags.cfg", {"validation_groups": ["a, b.csv"]})
    name, _, text = (home / "flags.cfg").read_text().strip().partition("=")
    assert parse(name.removeprefix("--"), text) == ["a, b.csv"]


def test_a_message_is_one_line_of_bounded_length(capsys):
    with pytest.raises(SystemExit):
        config._stop("error: " + "very\nlong " * 10_000, status=1)
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert len(line) < 2000
