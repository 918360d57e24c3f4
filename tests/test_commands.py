"""What every command does alike, tried as a user does: in a process of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keras_landmarks.__main__ import commands
from keras_landmarks.config import FLAGS

FLAGFILES = sorted((Path(__file__).parent.parent / "flags").rglob("*.cfg"))
COMMANDS = [
    *["synthesize", "check", "augment", "train", "predict", "evaluate", "ensemble", "draw"],
    *["find_duplicates", "find_bad_labels", "convert", "benchmark", "report", "export"],
    *["landmarks", "cross_validate"],
]


def run(command, *flags, folder="."):
    arguments = [sys.executable, "-m", f"keras_landmarks.{command}", *map(str, flags)]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=300, cwd=folder)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_it_does_and_lists_its_flags(command):
    done = run(command, "--help")
    assert f"python -m keras_landmarks.{command}" in done.stdout
    assert "--data" in done.stdout
    assert "--[no]showprefixforinfo" not in done.stdout
    assert "Where things are" in done.stdout
    assert "\033" not in done.stdout  # colours are for terminals
    assert done.returncode == 0


def test_help_that_nobody_reads_to_its_end_says_nothing_of_it():
    command = [sys.executable, "-m", "keras_landmarks.train", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("command", "flags", "says"),
    [
        ("train", ["--data=nowhere", "--model=tiny"], "nowhere/train/images: no such folder"),
        ("train", [], "--data is needed"),
        ("train", ["--data=faces", "--model=resnet19"], "choose one of tiny, resnet18"),
        ("train", ["--data=faces", "--learning_rates=5:1"], "--learning_rates=5:1"),
        ("train", ["--data=x", "--precision=half"], "--precision=half"),
        ("train", ["--data=x", "--epochs=none"], "--epochs=none"),
        ("train", ["--dta=x"], "Did you mean: data"),
        ("report", ["--out=x.html"], "--out is another command's flag; --help lists this one's"),
        ("evaluate", ["--truth=x", "--noresume"], "--noresume is another command's flag"),
        ("draw", ["--data=x", "--out=sheet.webp"], "a picture's name ends in .png or .jpg or"),
        ("train", ["--noprepare=yes"], "--noprepare=yes does not take an argument"),
        ("train", ["--" + "x" * 2000], "a flag or the file of --flagfile is broken"),
        ("train", ["data=x"], "'data=x' is not a flag"),
        ("train", ["--flagfile=nowhere.cfg"], "error: Unable to open flagfile: [Errno 2]"),
        ("train", ["--workdir="], "flag --workdir=: it is empty; give a path"),
        ("train", ["--workdir=faces/train/landmarks.csv"], "landmarks.csv: it is no folder"),
        ("check", [], "--data is needed"),
        ("check", ["--data=nowhere"], "nowhere/train/images: no such folder"),
        ("augment", ["--data=x"], "--augment_count is needed"),
        ("predict", ["--data=nowhere"], "nowhere/test/images: no such folder"),
        ("predict", ["--data=x", "--rounding=up"], "--rounding=up"),
        ("evaluate", ["--truth=nowhere.csv"], "give either --predictions or --submission"),
        ("evaluate", ["--truth=x", "--compare=a.npz"], "--compare=a.npz,b.npz takes two files"),
        ("ensemble", [], "--inputs is needed"),
        ("ensemble", ["--inputs=a,b", "--combine=sum"], "--combine=sum"),
        ("ensemble", ["--inputs=a,b", "--weights=1,x"], "--weights=1,x: not numbers"),
        ("ensemble", ["--inputs=a.npz,b.npz", "--predictions=c.npz"], "a.npz: no such file"),
        (
            "ensemble",
            ["--inputs=a, b.npz,c.npz", "--predictions=d.npz"],
            "give --submission (a comma separates files: --inputs=a,b.npz,c.npz names 3)",
        ),
        (
            "evaluate",
            ["--truth=x", "--compare=a, b.npz,c.npz"],
            "no other is scored (a comma separates files: --compare=a,b.npz,c.npz names 3)",
        ),
        ("find_duplicates", ["--data=nowhere"], "nowhere/train/images: no such folder"),
        ("find_bad_labels", ["--data=nowhere"], "nowhere/train/images: no such folder"),
        ("convert", ["--data=x"], "--source is needed"),
        ("convert", ["--data=x", "--source=nowhere.csv"], "nowhere.csv: no such file or folder"),
        ("benchmark", ["--stages=read,sleep"], "--stages=sleep: choose from parse,decode,"),
        ("benchmark", ["--model=resnet19"], "choose one of tiny, resnet18"),
        (
            "train",
            ["--augment_online=colour,noise"],
            "'noise' is none of affine, colour, blur, cut_",
        ),
        ("train", ["--image_size=12"], "--image_size=12: 12 is no size such as 128 or 128x160"),
        ("train", ["--image_size=128x"], "128x is no size such as 128 or 128x160, sides of 32"),
        ("train", ["--framing=squeeze"], "--framing=squeeze"),
        ("benchmark", ["--data=nowhere"], "nowhere/train/images: no such folder"),
        ("benchmark", ["--peer=jax"], "--peer=jax"),
        ("export", ["--format=keras", "--workdir=nowhere"], "nowhere/model.json: no such file"),
        ("export", ["--format=onxx"], "--format=onxx"),
        ("draw", ["--data=nowhere"], "nowhere/test/images: no such folder"),
        ("report", ["--workdir=nowhere"], "nowhere: no training run"),
        ("report", ["--truth=x.csv"], "--predictions and --truth: give both"),
        ("draw", ["photo.jpg", "--data=nowhere"], "'photo.jpg' is not a flag"),
        ("landmarks", [], "name photos, folders or videos"),
        ("landmarks", ["nothing.jpg", "--out=x"], "nothing.jpg: no such file or folder"),
        ("landmarks", ["nothing.jpg", "--min_score=2"], "--min_score=2"),
        ("landmarks", ["nothing.jpg", "--ot=x"], "Unknown command line flag 'ot'"),
    ],
)
def test_a_mistake_is_one_line_and_a_status(faces, command, flags, says):
    done = run(command, *flags, folder=faces.parent)
    assert done.returncode != 0
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_the_package_lists_its_commands():
    command = [sys.executable, "-m", "keras_landmarks"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "keras_landmarks.train\n      Trains a model on a contest folder" in done.stdout
    assert set(commands()) == set(COMMANDS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_stopped_while_it_is_imported_says_no_more(tmp_path, monkeypatch, number):
    # At its first import that takes a while.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "def stop(event, arguments):\n"
        "    if event == 'import' and arguments[0] == 'numpy':\n"
        f"        os.kill(os.getpid(), {int(number)})\n"
        "sys.addaudithook(stop)\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    done = run("train", "--data=nowhere")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")


def test_a_flagfile_that_is_no_text_is_told_in_one_line(tmp_path):
    (tmp_path / "flags.cfg").write_bytes(b"--data=\xff\n")
    done = run("train", f"--flagfile={tmp_path / 'flags.cfg'}")
    assert done.returncode == 1
    assert "the file of --flagfile is broken" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_path_in_a_flag_may_begin_with_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    done = run("check", "--data=~/own", folder=tmp_path)
    assert done.stderr.startswith(f"error: {tmp_path}/own/train/images: no such folder")
    done = run("landmarks", "~/photo.jpg", "--workdir=~/run", folder=tmp_path)
    assert done.stderr == f"error: {tmp_path}/photo.jpg: no such file or folder\n"


@pytest.mark.parametrize("encoding", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}])
def test_what_a_terminal_cannot_show_is_a_question_mark(own_faces, monkeypatch, encoding):
    environment = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"} | encoding
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    table, images = own_faces / "train" / "landmarks.csv", own_faces / "train" / "images"
    table.write_text(table.read_text().replace("face_000003.jpg", "schön.jpg"), encoding="utf-8")
    (images / "face_000003.jpg").rename(images / "schön.jpg")
    (images / "größe.jpg").write_bytes(b"")
    done = run("check", f"--data={own_faces}")
    assert done.returncode == 0, done.stderr
    assert "train/images/gr??e.jpg" in done.stdout
    figures = json.loads(done.stdout.splitlines()[-1])
    assert (figures["rejected"], figures["unlisted"]) == (0, 1)


def test_the_commands_are_listed_on_any_terminal():
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "keras_landmarks"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("variable", ["JAX_PLATFORMS=cuda", "JAX_PLATFORM_NAME=gpu"])
def test_a_device_that_jax_does_not_have_is_one_line(mean_face, faces, monkeypatch, variable):
    name, _, value = variable.partition("=")
    monkeypatch.setenv(name, value)
    done = run("predict", f"--workdir={mean_face}", f"--data={faces}")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: JAX does not start with {variable}: ")
    assert line.endswith("; unset what is wrong")


def test_from_nothing_to_figures(tmp_path):
    """The README's path, each command reading what the one before wrote."""
    data, work = tmp_path / "faces", tmp_path / "work"
    small = [f"--data={data}", "--train_images=40", "--test_images=6", "--processes=1"]
    trained = [f"--data={data}", f"--prepared={tmp_path / 'prepared'}", f"--workdir={work}"]
    trained += ["--model=tiny", "--init_weights=none", "--image_size=32", "--batch_size=8"]
    trained += ["--epochs=2", "--augment_count=9", "--learning_rates=0:1e-2"]
    submission, predictions = work / "submission.csv", work / "predictions.npz"
    truth = f"--truth={data / 'test' / 'test_landmarks.csv'}"
    files = [f"--submission={submission}", f"--predictions={predictions}"]
    steps = [
        ("synthesize", small),
        ("train", trained),
        ("predict", [f"--workdir={work}", f"--data={data}", *files]),
        ("evaluate", [files[1], truth, f"--test_points={data / 'test' / 'test_points.csv'}"]),
        ("draw", [f"--data={data}", files[1], truth, f"--out={tmp_path / 'sheet.png'}"]),
        ("report", [f"--workdir={work}", files[1], truth]),
        ("export", [f"--workdir={work}", "--format=stablehlo"]),
    ]
    figures = {}
    for command, flags in steps:
        done = run(command, *flags)
        assert done.returncode == 0, done.stderr
        figures[command] = json.loads(done.stdout.splitlines()[-1])
    assert figures["synthesize"]["train_images"] == 40
    assert figures["train"]["epochs"] == 2
    assert figures["predict"]["images"] == 6
    assert figures["evaluate"]["mse"] > 0
    assert figures["export"]["file"] == str(work / "stablehlo" / "model.stablehlo")
    assert (tmp_path / "sheet.png").stat().st_size > 10_000
    assert figures["report"]["bytes"] == (work / "report.html").stat().st_size > 100_000
    assert figures["report"]["mse"] == figures["evaluate"]["mse"]


@pytest.mark.parametrize("flagfile", FLAGFILES, ids=lambda path: path.stem)
def test_flagfiles_hold_flags_that_exist_each_once(flagfile):
    lines = [line for line in flagfile.read_text().splitlines() if line.startswith("--")]
    names = [line.removeprefix("--").partition("=")[0] for line in lines]
    known = {*FLAGS, "flagfile"}  # one may build on another
    assert all(name in known or name.removeprefix("no") in known for name in names)
    assert len(names) == len(set(names))


def test_a_full_disk_is_one_line_and_leaves_earlier_weights(tiny_run, tmp_path):
    settings, _ = tiny_run
    work = shutil.copytree(settings.workdir, tmp_path / "work")
    before = (work / "best.weights.h5").read_bytes()
    flags = [f"--flagfile={work / 'flags.cfg'}", f"--workdir={work}", "--epochs=3"]
    command = [sys.executable, "-m", "keras_landmarks.train", *flags]
    # No file may grow beyond 1 MB: neither the weights nor the state fit.
    limited = ["bash", "-c", 'ulimit -f 1000; exec "$@"', "bash", *command]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "File too large" in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
    assert (work / "best.weights.h5").read_bytes() == before
    assert not list(work.glob(".partial*"))


def test_an_interrupted_training_leaves_at_once_and_goes_on_when_started_again(tiny_run, tmp_path):
    settings, _ = tiny_run
    work = tmp_path / "work"
    flags = [f"--flagfile={settings.workdir}/flags.cfg", f"--workdir={work}"]
    command = [sys.executable, "-m", "keras_landmarks.train", *flags, "--epochs=100000"]
    training = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while training.poll() is None and not (work / "last.safetensors").exists():
        time.sleep(0.1)
    training.send_signal(signal.SIGTERM)
    _, errors = training.communicate(timeout=60)
    assert training.returncode == 130
    assert errors.splitlines()[-1].startswith("stopped: the same command goes on with")
    done = len((work / "history.csv").read_text().splitlines()) - 1
    again = run("train", *flags, f"--epochs={done + 1}")
    assert json.loads(again.stdout.splitlines()[-1])["epochs"] == done + 1
