"""The package in a process of its own command, and in a program that uses it."""

import os
import subprocess
import sys

import pytest

from keras_landmarks import flags
from keras_landmarks.__main__ import commands
from keras_landmarks.utils import process


def run(*arguments, folder, **environment):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])} | environment,
    )


@pytest.mark.parametrize(
    ("arguments", "is_command"),
    [
        (["-m", "keras_landmarks.train", "--data=faces"], True),
        (["-m", "keras_landmarks"], True),
        (["-X", "dev", "-u", "-W", "error", "-m", "keras_landmarks.check"], True),
        (["-um", "keras_landmarks.check"], True),
        (["-Xdev", "-mkeras_landmarks.check"], True),
        (["-X", "-m", "-c", "-m", "keras_landmarks.check"], False),
        (["-m", "somebody.serve", "-m", "keras_landmarks.check"], False),
        (["-m", "keras_landmarks_plus.check"], False),
        (["-m", "ipykernel_launcher", "-f", "kernel.json"], False),
        (["serve.py", "-m", "keras_landmarks.check"], False),
        (["-c", "import keras_landmarks", "-m", "keras_landmarks.check"], False),
        ([], False),
    ],
)
def test_command_is_known_by_its_arguments(monkeypatch, arguments, is_command):
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, *arguments])
    assert process.is_command() == is_command


SERVE = """
import os, signal

import cv2  # which sets a variable of its own

def state():
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    return dict(os.environ), handlers

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
before = state()
try:
    import keras_landmarks
    import keras_landmarks.check, keras_landmarks.landmarks, keras_landmarks.train
    assert state() == before
    from keras_landmarks import Landmarker
    assert state() == before
    print("imported", flush=True)
    os.kill(os.getpid(), signal.SIGINT)
finally:
    print("finally")
"""


@pytest.mark.parametrize("backend", [{}, {"KERAS_BACKEND": "torch"}])
def test_import_leaves_signals_and_environment(tmp_path, backend):
    (tmp_path / "somebody").mkdir()
    (tmp_path / "somebody" / "serve.py").write_text(SERVE)
    done = run("-m", "somebody.serve", folder=tmp_path, **backend)
    assert done.stdout == "imported\nfinally\n", done.stderr
    assert done.stderr.endswith("KeyboardInterrupt\n")


def test_commands_override_the_backend(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    process.set_up()
    assert os.environ["KERAS_BACKEND"] == "jax"


def test_other_backend_is_an_error_of_one_line(tmp_path):
    program = """
import keras
try:
    from keras_landmarks.models import keras_models
except ValueError as error:
    print(type(error).__name__, error)
"""
    done = run("-c", program, folder=tmp_path, KERAS_BACKEND="numpy")
    (line,) = done.stdout.splitlines()
    assert line.startswith("InputError Keras runs on numpy"), done.stderr
    assert "KERAS_BACKEND=jax" in line


def test_environment_is_restored(monkeypatch):
    monkeypatch.setenv("HERE", "1")
    monkeypatch.delenv("THERE", raising=False)
    with process.environment(HERE="2", THERE="3"):
        assert (os.environ["HERE"], os.environ["THERE"]) == ("2", "3")
    assert os.environ["HERE"] == "1"
    assert "THERE" not in os.environ


def test_albumentations_makes_no_request(tmp_path):
    program = """
import urllib.request
urllib.request.urlopen = lambda *_, **__: print("asked")
from keras_landmarks.input import augmentation
"""
    environment = {"NO_ALBUMENTATIONS_UPDATE": "0"}
    assert run("-c", program, folder=tmp_path, **environment).stdout == ""


# ── systems that are not supported ──

WINDOWS = "import sys\nfor name in ('fcntl', 'resource'):\n    sys.modules[name] = None\n"


@pytest.mark.parametrize("command", commands())
def test_unsupported_system_ends_a_command(tmp_path, command):
    (tmp_path / "sitecustomize.py").write_text(WINDOWS)
    done = run("-m", f"keras_landmarks.{command}", "--help", folder=tmp_path)
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: keras_landmarks runs on Linux and macOS")
    assert (done.returncode, done.stdout) == (1, "")


def test_unsupported_system_fails_the_import(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(WINDOWS)
    done = run("-c", "from keras_landmarks import Landmarker", folder=tmp_path)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: keras_landmarks runs on Linux and macOS")


# ── commands within a program ──

NOTEBOOK = """
import os, runpy, signal, sys

def run(*flags):
    sys.argv = ["check", *flags]
    try:
        runpy.run_module("keras_landmarks.check", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        print("status", end.code, flush=True)

handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)]
run(f"--data={sys.argv[1]}", "--rejects=rejects.csv")
os.remove("rejects.csv")
run("--data=nowhere")
run("--dta=x")
run()
run("--help")
assert not os.path.exists("rejects.csv")
assert handlers == [
    signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)
]
"""


def test_program_survives_commands_within_it(faces, tmp_path):
    done = run("-c", NOTEBOOK, faces, folder=tmp_path)
    statuses = [line for line in done.stdout.splitlines() if line.startswith("status")]
    assert statuses == ["status None", "status 1", "status 1", "status 1", "status None"], done
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert errors[0].startswith("error: nowhere/train/images: no such folder")
    assert "--data is needed" in errors[2]  # the flags of an earlier run are forgotten
    assert "python -m keras_landmarks.check --data=contest" in done.stdout


def test_command_does_not_restart_a_program(monkeypatch):
    started = []
    monkeypatch.setattr(os, "execv", lambda *_: started.append("anew"))
    flags.use_huge_pages()
    assert not started


def test_kernel_survives_a_failed_command(faces, tmp_path):
    pytest.importorskip("IPython")
    (tmp_path / "cells.ipy").write_text(
        f"%run -m keras_landmarks.check -- --data={faces}\n"
        "print('first')\n"
        "%run -m keras_landmarks.check -- --data=nowhere\n"
        "print('alive')\n"
    )
    done = run("-m", "IPython", "cells.ipy", folder=tmp_path, IPYTHONDIR=str(tmp_path / "ipython"))
    assert "first\n" in done.stdout
    assert done.stdout.splitlines()[-1] == "alive"
    assert "error: nowhere/train/images: no such folder" in done.stderr


def test_reloading_the_flags_is_an_error(tmp_path):
    program = """
import importlib
from keras_landmarks import flags
try:
    importlib.reload(flags)
except ImportError as error:
    print(error)
print(flags.FLAGS["workdir"].default)
"""
    done = run("-c", program, folder=tmp_path)
    error, default = done.stdout.splitlines()
    assert error.startswith("keras_landmarks.flags "), done.stderr
    assert default == "work"
