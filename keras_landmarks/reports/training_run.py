"""Reads what the report shows of a training run from its work directory."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_landmarks.contest import table_files
from keras_landmarks.evaluation.matching import Truth
from keras_landmarks.layouts import mirror
from keras_landmarks.models.spec import FILE_NAME as MODEL_FILE
from keras_landmarks.settings import FIRST_STAGE
from keras_landmarks.training.records import (
    FLAGS_FILE,
    HISTORY_FILE,
    VALIDATION_FILE,
    VERSIONS_FILE,
    read_history,
)
from keras_landmarks.utils.errors import InputError


@dataclass(frozen=True)
class TrainingRun:
    """A training run; what its work directory lacks is empty.

    Attributes:
        workdir: the work directory.
        history: the metrics of each epoch, by name.
        flag_lines: the lines of its flag file.
        model: the contents of model.json.
        versions: the contents of versions.json.
        first: the training of --first_epochs; None without.
    """

    workdir: Path
    history: Sequence[dict[str, float]]
    flag_lines: Sequence[str]
    model: dict[str, Any]
    versions: dict[str, Any]
    first: "TrainingRun | None" = None

    @property
    def flags(self) -> dict[str, str]:
        """The values of the flag file, by flag."""
        pairs = (line.removeprefix("--").partition("=") for line in self.flag_lines)
        return {name: value for name, _, value in pairs}

    @property
    def progress(self) -> str:
        """The number of epochs done: "18" or, if the run is not finished, "5 of 18"."""
        done, planned = len(self.history), self.flags.get("epochs", "")
        unfinished = planned.isdecimal() and done < int(planned)
        return f"{done} of {planned}" if unfinished else f"{done}"

    def column(self, name: str) -> np.ndarray:
        """Returns a column of the history: (epochs,) float64, NaN where it has no value."""
        return np.array([row.get(name, np.nan) for row in self.history], float)

    def count_training_images(self, truth: Truth) -> int:
        """Returns how many of the truth's images the model was trained on.

        The result is 0 unless the truth is the train table of this run.
        """
        own = Path(self.flags.get("data", "")) / "train" / "landmarks.csv"
        held_out = self.workdir / VALIDATION_FILE
        if truth.path.resolve() != own.resolve() or not held_out.exists():
            return 0
        return len(set(truth.file_names).difference(table_files.read_names(held_out)))

    def mirror_map(self, num_landmarks: int, layout: Path | None) -> np.ndarray | None:
        """Returns the mirror map (k,) of the layout file, the model or the contest; or None."""
        matches = self.model.get("points") == num_landmarks
        trained = self.model.get("mirror") if matches else None
        return mirror.resolve_map(num_landmarks, layout, trained, str(self.workdir / MODEL_FILE))


def read_training_run(workdir: Path) -> TrainingRun:
    """Reads a training run from its work directory.

    Raises:
        InputError: it is not the work directory of a training run, or a file in it is damaged.
    """
    flag_file, first = workdir / FLAGS_FILE, workdir / FIRST_STAGE
    if not _is_run(workdir) and not _is_run(first):
        raise InputError(f"{workdir}: no training run; --workdir must be a folder of `train`")
    text = flag_file.read_text(errors="replace") if flag_file.exists() else ""
    lines = [line for line in text.splitlines() if line.strip()]
    is_of_another_run = "--first_epochs=0" in lines
    return TrainingRun(
        workdir,
        read_history(workdir / HISTORY_FILE),
        lines,
        _read_json(workdir / MODEL_FILE),
        _read_json(workdir / VERSIONS_FILE),
        read_training_run(first) if _is_run(first) and not is_of_another_run else None,
    )


def _is_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in (HISTORY_FILE, FLAGS_FILE, MODEL_FILE))


def _read_json(path: Path) -> dict[str, Any]:
    """Returns the object in a JSON file; an empty one if there is no such file."""
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged ({error})") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: damaged (no object)")
    return value
