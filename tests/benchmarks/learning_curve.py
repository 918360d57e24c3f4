"""Measures how the error falls with the number of labelled photos, as flags/README.md shows it.

    python tests/benchmarks/learning_curve.py --data=contest --points=5,30,98 \\
        --photos=20,50,100,300 --draws=3 --out=curve --name=few -- --flagfile=few

Photos of --held_out people, drawn once, are scored; the training photos are drawn from the other
people's. `choose_points` draws the points from the contest's, each with its mirror partner. Flags
after -- go to `train`. OUT/results.csv gets a row for each training; rows that it has are not
trained again. The Markdown table is printed, and OUT/curve.svg shows all rows. --only=names.csv
leaves out all other photos.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from keras_landmarks.contest import grouping, landmark_tables
from keras_landmarks.layouts import layout

_KEY = ["name", "points", "photos", "draw", "flags"]  # columns that tell trainings apart


class Split(NamedTuple):
    """Indices of the photos that may be trained on, and of those that are scored."""

    pool: np.ndarray
    held_out: np.ndarray


def choose_points(count: int, mirror_map: np.ndarray) -> np.ndarray:
    """Draws points spread over the face, with their mirror partners: (count,), ascending."""
    candidates = np.linspace(0, len(mirror_map) - 1, 4 * count).astype(int)
    chosen = set()
    for point in np.random.default_rng(7).permutation(candidates).tolist():
        both = {point, int(mirror_map[point])}
        if not both & chosen and len(chosen | both) <= count:
            chosen |= both
    if len(chosen) < count:
        raise SystemExit(f"no {count} points with their partners; try {len(chosen)}")
    return np.array(sorted(chosen))


def split_by_person(file_names: list[str], person_of: dict[str, str], held_out: int) -> Split:
    """Holds out all photos of so many people."""
    people = np.array([person_of[name] for name in file_names])
    drawn = np.random.default_rng(0).permutation(np.unique(people))[:held_out]
    is_held_out = np.isin(people, drawn)
    return Split(np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out))


def write_subset(data: Path, folder: Path, names_of: dict[str, list[str]], points: np.ndarray):
    """Writes a contest folder with some images and points of a train split, and its mirror map."""
    table = landmark_tables.read_landmarks(data / "train" / "landmarks.csv")
    row_of = {name: row for row, name in enumerate(table.file_names)}
    person_of = grouping.read_group_table(data / "train" / "persons.csv")
    for split, names in names_of.items():
        (folder / split).mkdir(parents=True)
        (folder / split / "images").symlink_to((data / "train" / "images").resolve())
        rows = [row_of[name] for name in names]
        landmarks_px = table.landmarks_photo_px[rows][:, points]
        landmark_tables.write_landmarks(folder / split / "landmarks.csv", names, landmarks_px)
        people = [person_of[name] for name in names]
        grouping.write_group_table(folder / split / "persons.csv", "person", names, people)
    partners = np.searchsorted(points, layout.mirror_map()[points])
    (folder / "mirror.json").write_text(json.dumps(partners.tolist()))


def train_and_score(folder: Path, workdir: Path, flags: list[str]) -> dict[str, float]:
    """Trains on a subset, predicts what is held out; returns nme, nme_low, nme_high and mse."""
    data, predictions = f"--data={folder}", f"--predictions={workdir}.npz"
    prepared = f"--prepared={folder / 'prepared'}"
    mirror = f"--mirror={folder / 'mirror.json'}"
    _run("train", data, f"--workdir={workdir}", prepared, mirror, *flags)
    _run("predict", data, "--split=held", f"--workdir={workdir}", "--tta=mirror", predictions)
    truth = folder / "held"
    arguments = f"--truth={truth / 'landmarks.csv'}", f"--groups={truth / 'persons.csv'}"
    results = _run("evaluate", predictions, *arguments)
    low, high = results["nme_interval"]
    return {"nme": results["nme"], "nme_low": low, "nme_high": high, "mse": results["mse"]}


def _run(command: str, *flags: str) -> dict:
    arguments = [sys.executable, "-m", f"keras_landmarks.{command}", *flags]
    output = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def measure(options: argparse.Namespace, done: set[tuple]) -> Iterator[dict]:
    """Trains all subsets but those whose keys are done; yields a row of results for each."""
    data, out = Path(options.data), Path(options.out)
    file_names = landmark_tables.read_landmarks(data / "train" / "landmarks.csv").file_names
    if options.only:
        known = set(pd.read_csv(options.only)["file_name"])
        file_names = [name for name in file_names if name in known]
    person_of = grouping.read_group_table(data / "train" / "persons.csv")
    split = split_by_person(file_names, person_of, options.held_out)
    if max(options.photos) > len(split.pool):
        raise SystemExit(f"--photos: there are {len(split.pool)} besides those that are held out")
    for draw, count, photos in product(range(options.draws), options.points, options.photos):
        key = options.name, count, photos, draw, " ".join(options.flags)
        if key in done:
            continue
        rng = np.random.default_rng(draw)
        training = np.sort(rng.choice(split.pool, photos, replace=False))
        names_of = {
            split_name: [file_names[index] for index in indices]
            for split_name, indices in (("train", training), ("held", split.held_out))
        }
        name = "-".join(map(str, key[:4]))
        if not (folder := out / "data" / name).exists():
            points = choose_points(count, layout.mirror_map())
            begun = out / "data" / f"{name}.begun"
            shutil.rmtree(begun, ignore_errors=True)
            write_subset(data, begun, names_of, points)
            begun.rename(folder)
        yield dict(zip(_KEY, key, strict=True)) | train_and_score(folder, out / name, options.flags)


def as_table(results: pd.DataFrame) -> str:
    """Returns a Markdown table: the mean NME in % of the draws, and their range."""
    nme = (100 * results["nme"]).groupby([results[column] for column in _KEY[:3]])
    cells = nme.agg(lambda draws: f"{draws.mean():.2f} ({draws.min():.2f} to {draws.max():.2f})")
    table = cells.unstack("photos").fillna("").reset_index()
    lines = [list(map(str, table.columns)), ["---"] * len(table.columns), *table.to_numpy()]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def draw_curve(results: pd.DataFrame, path: Path) -> None:
    """Draws the mean NME over the number of photos, both logarithmic, with the intervals."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "curve", "svg.fonttype": "none"}):
        figure = Figure((6.4, 4.6), layout="constrained")
        axes = figure.subplots()
        for (name, points), rows in results.groupby(["name", "points"]):
            mean = 100 * rows.groupby("photos")[["nme", "nme_low", "nme_high"]].mean()
            (line,) = axes.plot(mean.index, mean["nme"], "o-", label=f"{name}, {points} points")
            band = mean["nme_low"], mean["nme_high"]
            axes.fill_between(mean.index, *band, color=line.get_color(), alpha=0.15, linewidth=0)
        axes.set(xscale="log", yscale="log", xlabel="labelled photos", ylabel="NME, %")
        axes.set_xticks(sorted(results["photos"].unique()), minor=False)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.set_minor_formatter(lambda value, _: f"{value:g}")
        axes.set_xticks([], minor=True)
        axes.grid(alpha=0.3)
        figure.legend(loc="outside upper center", ncols=2, frameon=False)
        figure.savefig(path, metadata={"Date": None})


def main(arguments: list[str]) -> None:
    """Measures, prints the table, draws the picture."""
    parser = argparse.ArgumentParser(usage=__doc__)
    numbers = lambda text: [int(number) for number in text.split(",")]  # noqa: E731
    parser.add_argument("--data", required=True)
    parser.add_argument("--only")
    parser.add_argument("--held_out", type=int, default=24)
    parser.add_argument("--points", type=numbers, default=[30])
    parser.add_argument("--photos", type=numbers, default=[20, 50, 100, 300])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--out", required=True)
    parser.add_argument("--name", default="few")
    parser.add_argument("flags", nargs="*")
    options = parser.parse_args(arguments)
    path = Path(options.out) / "results.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = {"name": str, "flags": str}
    rows = pd.read_csv(path, dtype=texts).to_dict("records") if path.exists() else []
    done = {tuple(row[name] for name in _KEY) for row in rows}
    for row in measure(options, done):
        rows.append(row)
        pd.DataFrame(rows).to_csv(path, index=False)
        print(row, flush=True)
    print(as_table(pd.DataFrame(rows)))
    draw_curve(pd.DataFrame(rows), path.parent / "curve.svg")


if __name__ == "__main__":
    main(sys.argv[1:])
