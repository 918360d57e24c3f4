import json
import subprocess
import sys


def run_command(**flags):
    command = [sys.executable, "-m", "keras_landmarks.draw"]
    command += [f"--{name}={value}" for name, value in flags.items()]
    return subprocess.run(command, capture_output=True, text=True)


def test_command_prints_results(faces, tmp_path):
    out = tmp_path / "sheet.png"
    result = run_command(data=faces, split="train", out=out, count=3)
    assert result.returncode == 0, result.stderr
    last = result.stdout.splitlines()[-1]
    assert json.loads(last) == {"images": 3, "skipped": 0, "out": str(out)}
    assert out.read_bytes().startswith(b"\x89PNG")


def test_errors_are_one_line(faces, tmp_path):
    result = run_command(data=faces, split="holiday", out=tmp_path / "sheet.png")
    assert result.returncode == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "holiday" in result.stderr
