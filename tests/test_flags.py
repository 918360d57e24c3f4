import os
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from absl import flags as absl_flags

from keras_landmarks import flags, settings
from keras_landmarks.flags import FLAGS
from keras_landmarks.models import registry
from keras_landmarks.training.losses import LOSSES

ROOT = Path(__file__).parent.parent
PATHS = ["data", "prepared", "workdir", "split", "submission", "predictions", "truth", "out"]
PATHS += ["test_points", "layout", "rejects", "html", "source", "photos", "only", "exclude"]
PATHS += ["duplicates", "suspects", "init_weights", "mirror"]
SEVERAL_PATHS = ["validation_groups", "groups", "compare", "inputs", "held_out"]


@pytest.fixture(autouse=True)
def unparsed_flags():
    yield
    for flag in flags._own_flags():
        flag.unparse()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home folder, which is also the current directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parse(name, text):
    return FLAGS[name].parser.parse(text)


@pytest.mark.parametrize("name", PATHS)
def test_tilde_is_the_home_folder(home, name):
    assert parse(name, "~/run1") == f"{home}/run1"
    assert parse(name, "~") == str(home)
    assert parse(name, "a/~/b") == "a/~/b"


@pytest.mark.parametrize("name", SEVERAL_PATHS)
def test_tilde_in_a_list_of_paths(home, name):
    assert parse(name, "~/a.csv,b.csv, ~/c.csv") == [f"{home}/a.csv", "b.csv", f"{home}/c.csv"]


def test_tilde_without_a_home_is_refused(monkeypatch):
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user without a home
    with pytest.raises(ValueError, match=r"^~"):
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
def test_commas_in_names_of_files_are_kept(home, name, files, text, paths):
    for file in files:
        (home / file).write_text("")
    assert parse(name, text) == [path.replace("HOME", str(home)) for path in paths]


def test_comma_survives_a_flagfile(home):
    (home / "a, b.csv").write_text("")
    (home / "flags.cfg").write_text(settings.as_flag("validation_groups", ["a, b.csv"]))
    name, _, text = (home / "flags.cfg").read_text().strip().partition("=")
    assert parse(name.removeprefix("--"), text) == ["a, b.csv"]


def test_message_is_one_bounded_line(capsys):
    with pytest.raises(SystemExit):
        flags._stop("error: " + "very\nlong " * 10_000, status=1)
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert len(line) < 2000


@pytest.mark.parametrize(
    ("flag", "names"),
    [
        ("loss", LOSSES),
        ("head", registry.HEADS),
        ("normalisation", registry.NORMALISATIONS),
        ("model", [*registry.RESNETS, *registry.KERAS_APPLICATIONS]),
    ],
)
def test_choices_equal_those_of_the_library(flag, names):
    assert FLAGS[flag].parser.enum_values == list(names)


@pytest.mark.parametrize(("old", "new"), settings.RENAMED.items())
@pytest.mark.parametrize("in_flagfile", [False, True])
def test_old_names_point_to_the_new(tmp_path, capsys, old, new, in_flagfile):
    given = [f"--{old}=1"]
    if in_flagfile:
        (tmp_path / "old.cfg").write_text(f"--{old}=1\n")
        given = [f"--flagfile={tmp_path / 'old.cfg'}"]
    with pytest.raises(SystemExit):
        flags._parse_flags(["train", *given], takes_paths=False)
    assert f"--{old}: now --{new}" in capsys.readouterr().err


def test_old_augmentation_points_to_the_new():
    FLAGS["augment_online"].value = ["cut_out"]
    with pytest.raises(absl_flags.IllegalFlagValueError, match="coarse_dropout"):
        FLAGS.validate_all_flags()


@pytest.mark.parametrize("given", [["--flagfile=light"], ["-flagfile", "light"]])
def test_flagfiles_are_found_by_name(home, given):
    (home / "light").mkdir()  # a work directory
    flags._parse_flags(["train", *given], takes_paths=False)
    assert FLAGS["image_size"].value == "96x128"


def test_files_come_before_names(home):
    (home / "light").write_text("--seed=7\n")
    flags._parse_flags(["train", "--flagfile=light"], takes_paths=False)
    assert FLAGS["seed"].value == 7


def test_names_of_flagfiles_are_listed(capsys):
    with pytest.raises(SystemExit):
        flags._parse_flags(["train", "--flagfile=lihgt"], takes_paths=False)
    error = capsys.readouterr().err
    assert error.startswith("error: --flagfile=lihgt: ")
    assert "light, " in error
    assert error.count("\n") == 1


def test_installed_package_has_every_flagfile():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["keras_landmarks.flagfiles"]
    installed = [path for pattern in patterns for path in (ROOT / "flags").glob(pattern)]
    assert sorted(installed) == sorted((ROOT / "flags").glob("*.cfg"))


def test_installed_package_has_every_folder_of_modules():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    modules = ROOT.glob("keras_landmarks/**/__init__.py")
    packages = {".".join(path.parent.relative_to(ROOT).parts) for path in modules}
    assert set(listed) == packages | {"keras_landmarks.flagfiles"}


def test_flagfile_may_be_a_pipe(tmp_path):
    pipe = tmp_path / "flags"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(pipe.write_text, "--seed=7\n")
        flags._parse_flags(["train", f"--flagfile={pipe}"], takes_paths=False)
        writing.result()
    assert FLAGS["seed"].value == 7
