import json

import pytest
from scored_files import write_better_predictions, write_files


@pytest.fixture
def paths(tmp_path):
    return write_files(tmp_path)


@pytest.fixture
def evaluate(run):
    """Runs the command with these flags."""
    return lambda **flags: run("evaluate", *[f"--{name}={flags[name]}" for name in flags])


def test_command_prints_table_and_json(evaluate, paths):
    del paths["submission"]
    result = evaluate(**paths)
    assert result.returncode == 0, result.stderr
    *lines, last = result.stdout.splitlines()
    results = json.loads(last)
    assert results["mse"] == 8.0625
    assert results["nme_asked"] == 0.0833333
    assert results["mse_interval"] == [3.125, 13]
    cells = "all points 8.062 3.125 to 13.000 4.792 2.083 to 7.500"
    assert any(line.split() == cells.split() for line in lines)
    assert not result.stderr


def test_command_takes_the_figures_of_papers(evaluate, paths):
    flags = {"truth": paths["truth"], "predictions": paths["predictions"]}
    flags |= {"normaliser": "points:0,1", "threshold": "0.02,0.10", "by_point": True}
    result = evaluate(**flags)
    assert result.returncode == 0, result.stderr
    results = json.loads(result.stdout.splitlines()[-1])
    assert results["normaliser"] == "points:0,1"
    assert results["failure_rate_at_0.02"] == 0.5
    assert results["pck_at_0.1"] == 0.875
    assert list(results["by_point"]) == [f"Point_M{point}" for point in range(4)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("normaliser", "eyes"),
        ("normaliser", "points:36"),
        ("normaliser", "points:36,36"),
        ("normaliser", "points:41-36,45"),
        ("normaliser", "size:"),
        ("threshold", "8"),
        ("threshold", "0"),
        ("threshold", "nan"),
        ("threshold", ""),
    ],
)
def test_other_figures_are_rejected(evaluate, paths, name, value):
    flags = {"truth": paths["truth"], "predictions": paths["predictions"], name: value}
    result = evaluate(**flags)
    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert f"--{name}" in line


def test_command_error_is_one_line(evaluate, paths):
    result = evaluate(truth=paths["truth"], submission=paths["submission"])
    assert result.returncode == 1
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert line.startswith(f"error: {paths['submission']}: ")
    assert "--test_points" in line


def test_command_compares_predictions(evaluate, paths, tmp_path):
    better = write_better_predictions(tmp_path)
    result = evaluate(compare=f"{paths['predictions']},{better}", truth=paths["truth"])
    assert result.returncode == 0, result.stderr
    *lines, last = result.stdout.splitlines()
    assert json.loads(last)["real"] is True
    assert lines[-1].startswith(f"{better} is better than {paths['predictions']}: ")
    assert not result.stderr


@pytest.mark.parametrize("flags", [{"compare": "a.npz"}, {"compare": "a,b", "predictions": "c"}])
def test_compare_takes_two_files_alone(evaluate, flags):
    result = evaluate(truth="t.csv", **flags)
    assert result.returncode == 1
    assert result.stderr.startswith("error: --compare=")
