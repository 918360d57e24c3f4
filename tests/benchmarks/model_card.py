"""Prints a model's error by source, yaw, size of the face and light, for its card.

    python -m keras_landmarks.predict --workdir=@faces --data=faces --split=train \\
        --only=work/validation.csv --predictions=held_out.npz
    python tests/benchmarks/model_card.py held_out.npz faces/train [sources.tsv]

The first argument is what `predict` wrote, the second a split with images/ and landmarks.csv, the
third a table of file_name and source.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from keras_landmarks.contest import landmark_tables, prediction_files
from keras_landmarks.evaluation import metrics, pose
from keras_landmarks.layouts import layout

_BINS = {
    "|yaw|, degrees": [0, 15, 30, 45, 90],
    "width of the face, px": [0, 60, 90, 120, np.inf],
    "mean brightness, 0 to 255": [0, 60, 100, 140, 255],
}


def faces_table(predictions: Path, split: Path, sources: Path | None) -> pd.DataFrame:
    """Returns a row for each predicted image: its errors, and what the errors may depend on."""
    predicted = prediction_files.read(predictions)
    truth = landmark_tables.read_landmarks(split / "landmarks.csv")
    row_of = {name: row for row, name in enumerate(truth.file_names)}
    names = predicted.file_names
    true_px = np.float64(truth.landmarks_photo_px[[row_of[name] for name in names]])
    error_px = np.float64(predicted.landmarks_photo_px) - true_px
    mirror_map = layout.mirror_map()
    yaw = pose.yaw_deg(true_px, pose.mean_face(true_px, mirror_map), mirror_map)
    grey = [cv2.imread(str(split / "images" / name), cv2.IMREAD_GRAYSCALE) for name in names]
    table = pd.DataFrame(
        {
            "mse": np.square(error_px).mean(axis=(1, 2)),
            "nme": np.hypot(*np.moveaxis(error_px, -1, 0)).mean(axis=1)
            / metrics.face_sizes(true_px),
            "|yaw|, degrees": np.abs(yaw),
            "width of the face, px": np.ptp(true_px[..., 0], axis=1),
            "mean brightness, 0 to 255": [image.mean() for image in grey],
        },
        index=names,
    )
    if sources:
        table["source"] = pd.read_csv(sources, sep="\t", index_col="file_name")["source"]
    return table


def print_errors(table: pd.DataFrame, by: pd.Series, title: str) -> None:
    """Prints a Markdown table of the errors of each group."""
    print(f"\n| {title} | faces | MSE, px² | median | NME, % |\n| --- | --- | --- | --- | --- |")
    for name, faces in table.groupby(by, observed=True):
        mse, nme = faces["mse"], 100 * faces["nme"].mean()
        print(f"| {name} | {len(faces)} | {mse.mean():.2f} | {mse.median():.2f} | {nme:.2f} |")


def main(predictions: str, split: str, sources: str | None = None) -> None:
    """Prints all tables."""
    table = faces_table(Path(predictions), Path(split), Path(sources) if sources else None)
    print_errors(table, pd.Series("all", table.index), "faces")
    if sources:
        print_errors(table, table["source"], "source")
    for name, edges in _BINS.items():
        print_errors(table, pd.cut(table[name], edges, include_lowest=True), name)
    print("\nWorst:", ", ".join(table["mse"].nlargest(5).index))


if __name__ == "__main__":
    main(*sys.argv[1:])
