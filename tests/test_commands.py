"""What all commands have in common.

The slow tests run each in a process of its own, as a user does; the others within this one.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import run_alone

from keras_landmarks.__main__ import commands
from keras_landmarks.flags import FLAGS

FLAGFILES = sorted((Path(__file__).parent.parent / "flags").glob("*.cfg"))
COMMANDS = [
    *["synthesize", "check", "augment", "train", "predict", "evaluate", "ensemble", "draw"],
    *["find_duplicates", "find_bad_labels", "convert", "benchmark", "report", "export"],
    *["landmarks", "cross_validate"],
]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_description_and_flags(run, command):
    done = run(command, "--help")
    assert f"python -m keras_landmarks.{command}" in done.stdout
    assert "--data" in done.stdout
    assert "--[no]showprefixforinfo" not in done.stdout
    assert "Files and folders" in done.stdout
    assert "\033" not in done.stdout  # colours are for terminals
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("command", "default"), [("landmarks", "yes"), ("predict", "no"), ("cross_validate", "no")]
)
def test_second_pass_is_the_default_of_landmarks_only(run, command, default):
    _, _, after = run(command, "--help").stdout.partition("--[no]two_pass")
    assert re.search(r"\[(yes|no)\]", after)[1] == default


@pytest.mark.slow
def test_results_for_a_closed_pipe_end_silently(faces):
    command = [sys.executable, "-m", "keras_landmarks.check", f"--data={faces}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        output = process.stderr.read().decode()
    assert "Traceback" not in output
    assert "error" not in output
    assert process.returncode == 141


def test_help_handles_closed_pipe():
    command = [sys.executable, "-m", "keras_landmarks.train", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("command", "flags", "message"),  # a regular expression
    [
        ("train", ["--data=nowhere", "--model=tiny"], "nowhere/train/images: "),
        ("train", [], "--data "),
        ("train", ["--data=faces", "--model=resnet19"], "--model=resnet19: .*tiny.*resnet18"),
        ("train", ["--data=faces", "--learning_rates=5:1"], "--learning_rates=5:1"),
        ("train", ["--data=x", "--precision=half"], "--precision=half"),
        ("train", ["--data=x", "--epochs=none"], "--epochs=none"),
        ("train", ["--dta=x"], "dta.* data"),
        ("report", ["--out=x.html"], "--out .*--help"),
        ("evaluate", ["--truth=x", "--noresume"], "--noresume .*--help"),
        ("draw", ["--data=x", "--out=sheet.webp"], r"sheet\.webp: .*\.png.*\.jpg"),
        ("train", ["--noprepare=yes"], "--noprepare=yes"),
        ("train", ["--" + "x" * 2000], "--flagfile"),
        ("train", ["data=x"], "'data=x' "),
        ("train", ["--flagfile=nowhere.cfg"], r"nowhere\.cfg"),
        ("train", ["--workdir="], "--workdir=: .*empty"),
        ("train", ["--workdir=faces/train/landmarks.csv"], r"landmarks\.csv: .*folder"),
        ("check", [], "--data "),
        ("check", ["--data=nowhere"], "nowhere/train/images: "),
        ("augment", ["--data=x"], "--augment_count "),
        ("predict", ["--data=nowhere"], "nowhere/test/images: "),
        ("predict", ["--data=x", "--rounding=up"], "--rounding=up"),
        ("evaluate", ["--truth=nowhere.csv"], "--predictions .*--submission"),
        ("evaluate", ["--truth=x", "--compare=a.npz"], "--compare=.* two "),
        ("ensemble", [], "--inputs "),
        ("ensemble", ["--inputs=a,b", "--combine=sum"], "--combine=sum"),
        ("ensemble", ["--inputs=a,b", "--weights=1,x"], "--weights=1,x: "),
        ("ensemble", ["--inputs=a.npz,b.npz", "--predictions=c.npz"], r"a\.npz: "),
        (
            "ensemble",
            ["--inputs=a, b.npz,c.npz", "--predictions=d.npz"],
            r"--submission \(.*comma.* --inputs=a,b\.npz,c\.npz .*3",
        ),
        (
            "evaluate",
            ["--truth=x", "--compare=a, b.npz,c.npz"],
            r" \(.*comma.* --compare=a,b\.npz,c\.npz .*3",
        ),
        ("find_duplicates", ["--data=nowhere"], "nowhere/train/images: "),
        ("find_bad_labels", ["--data=nowhere"], "nowhere/train/images: "),
        ("convert", ["--data=x"], "--source "),
        ("convert", ["--data=x", "--source=nowhere.csv"], r"nowhere\.csv: "),
        ("benchmark", ["--stages=read,sleep"], "--stages=sleep: .*parse,decode,"),
        ("benchmark", ["--model=resnet19"], "--model=resnet19: .*tiny.*resnet18"),
        (
            "train",
            ["--augment_online=colour,noise"],
            "'noise' .*affine, misplace, colour, blur",
        ),
        ("train", ["--image_size=12"], "--image_size=12: .*128x160"),
        ("train", ["--image_size=128x"], "--image_size=128x: .*128x160.* 32 px"),
        ("train", ["--framing=squeeze"], "--framing=squeeze"),
        ("benchmark", ["--data=nowhere"], "nowhere/train/images: "),
        ("export", ["--format=keras", "--workdir=nowhere"], r"nowhere/model\.json: "),
        ("export", ["--format=onxx"], "--format=onxx"),
        ("export", ["--format=coco"], "--format=coco: not of this command"),
        ("draw", ["--data=nowhere"], "nowhere/test/images: "),
        ("report", ["--workdir=nowhere"], "nowhere: .*--workdir"),
        ("report", ["--truth=x.csv"], "--predictions .*--truth"),
        ("draw", ["photo.jpg", "--data=nowhere"], r"'photo\.jpg' "),
        ("landmarks", [], r"photo\.jpg"),
        ("landmarks", ["nothing.jpg", "--out=x"], r"nothing\.jpg: "),
        ("landmarks", ["nothing.jpg", "--min_score=2"], "--min_score=2"),
        ("landmarks", ["nothing.jpg", "--ot=x"], "'ot'"),
    ],
)
def test_invalid_input_is_reported_in_one_line(run, faces, command, flags, message):
    done = run(command, *flags, folder=faces.parent)
    assert done.returncode != 0
    assert re.search(message, done.stderr)
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_process_reports_invalid_input_in_one_line():
    done = run_alone("train", "--data=nowhere")
    assert re.fullmatch(r"error: nowhere/train/images: .*\n", done.stderr)
    assert (done.returncode, done.stdout) == (1, "")


def test_package_lists_its_commands():
    command = [sys.executable, "-m", "keras_landmarks"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "keras_landmarks.train\n      Trains a model on a contest folder" in done.stdout
    assert set(commands()) == set(COMMANDS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_during_imports_prints_one_line(tmp_path, monkeypatch, number):
    # Sends the signal at the first import that takes a while.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "def stop(event, arguments):\n"
        "    if event == 'import' and arguments[0] == 'numpy':\n"
        f"        os.kill(os.getpid(), {int(number)})\n"
        "sys.addaudithook(stop)\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    assert run_alone("train", "--data=nowhere") == (130, "", "stopped\n")


def test_binary_flagfile_is_reported(run, tmp_path):
    (tmp_path / "flags.cfg").write_bytes(b"--data=\xff\n")
    done = run("train", f"--flagfile={tmp_path / 'flags.cfg'}")
    assert done.returncode == 1
    assert "--flagfile" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_paths_may_start_at_the_home_folder(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    done = run("check", "--data=~/own", folder=tmp_path)
    assert done.stderr.startswith(f"error: {tmp_path}/own/train/images: ")
    done = run("landmarks", "~/photo.jpg", "--workdir=~/run", folder=tmp_path)
    assert done.stderr.startswith(f"error: {tmp_path}/photo.jpg: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("encoding", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}])
def test_undisplayable_characters_are_replaced(own_faces, monkeypatch, encoding):
    environment = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"} | encoding
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    table, images = own_faces / "train" / "landmarks.csv", own_faces / "train" / "images"
    table.write_text(table.read_text().replace("face_000003.jpg", "schön.jpg"), encoding="utf-8")
    (images / "face_000003.jpg").rename(images / "schön.jpg")
    (images / "größe.jpg").write_bytes(b"")
    done = run_alone("check", f"--data={own_faces}")
    assert done.returncode == 0, done.stderr
    assert "train/images/gr??e.jpg" in done.stdout
    results = json.loads(done.stdout.splitlines()[-1])
    assert (results["rejected"], results["unlisted"]) == (0, 1)


def test_commands_are_listed_in_any_locale():
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "keras_landmarks"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "variable",
    ["JAX_PLATFORMS=cuda", pytest.param("JAX_PLATFORM_NAME=gpu", marks=pytest.mark.slow)],
)
def test_missing_jax_device_is_reported(mean_face, faces, monkeypatch, variable):
    name, _, value = variable.partition("=")
    monkeypatch.setenv(name, value)
    done = run_alone("predict", f"--workdir={mean_face}", f"--data={faces}")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert f" {variable}: " in line


def test_readme_commands_work_in_sequence(run, tmp_path):
    """The commands of the README; each reads what the one before wrote."""
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
    results = {}
    for command, flags in steps:
        results[command] = run(command, *flags).results
    assert results["synthesize"]["train_images"] == 40
    assert results["train"]["epochs"] == 2
    assert results["predict"]["images"] == 6
    assert results["evaluate"]["mse"] > 0
    assert results["export"]["file"] == str(work / "stablehlo" / "model.stablehlo")
    assert (tmp_path / "sheet.png").stat().st_size > 10_000
    assert results["report"]["bytes"] == (work / "report.html").stat().st_size > 100_000
    assert results["report"]["mse"] == results["evaluate"]["mse"]


@pytest.mark.parametrize("flagfile", FLAGFILES, ids=lambda path: path.stem)
def test_flagfiles_hold_existing_flags(flagfile):
    lines = [line for line in flagfile.read_text().splitlines() if line.startswith("--")]
    names = [line.removeprefix("--").partition("=")[0] for line in lines]
    known = {*FLAGS, "flagfile"}  # a flagfile may include another
    assert all(name in known or name.removeprefix("no") in known for name in names)
    assert len(names) == len(set(names))


@pytest.mark.slow
def test_full_disk_keeps_earlier_weights(tiny_run, tmp_path):
    settings, _ = tiny_run
    work = shutil.copytree(settings.files.workdir, tmp_path / "work")
    before = (work / "best.weights.h5").read_bytes()
    flags = [f"--flagfile={work / 'flags.cfg'}", f"--workdir={work}", "--epochs=3"]
    command = [sys.executable, "-m", "keras_landmarks.train", *flags]
    # No file may grow beyond 1 MB: neither the weights nor the checkpoint fit.
    limited = ["bash", "-c", 'ulimit -f 1000; exec "$@"', "bash", *command]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 1
    assert "File too large" in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
    assert (work / "best.weights.h5").read_bytes() == before
    assert not list(work.glob(".partial*"))


@pytest.mark.slow  # test_resume has a fast one
def test_interrupted_training_resumes(tiny_run, tmp_path):
    settings, _ = tiny_run
    work = tmp_path / "work"
    flags = [f"--flagfile={settings.files.workdir}/flags.cfg", f"--workdir={work}"]
    command = [sys.executable, "-m", "keras_landmarks.train", *flags, "--epochs=100000"]
    training = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while training.poll() is None and not (work / "last.safetensors").exists():
        time.sleep(0.1)
    training.send_signal(signal.SIGTERM)
    _, errors = training.communicate(timeout=600)
    assert training.returncode == 130
    assert re.fullmatch(r"stopped: .*epoch \d+, step \d+", errors.splitlines()[-1])
    done = len((work / "history.csv").read_text().splitlines()) - 1
    assert run_alone("train", *flags, f"--epochs={done + 1}").results["epochs"] == done + 1
