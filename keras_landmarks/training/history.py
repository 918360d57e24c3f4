"""What a run notes of its epochs and its held-out images; whoever reads it needs no Keras."""

import csv
from pathlib import Path

from keras_landmarks.utils.errors import InputError

HISTORY_FILE = "history.csv"
VALIDATION_FILE = "validation.csv"  # the names of the images that were held out


def read_history(path: Path) -> list[dict[str, float]]:
    """Returns the figures of every epoch, by their columns; none if there is no such file.

    Raises:
        InputError: the file is damaged.
    """
    if not path.exists():
        return []
    try:
        with path.open(newline="") as file:
            rows = csv.DictReader(file)
            return [{name: float(value) for name, value in row.items() if value} for row in rows]
    except (ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{path}: damaged ({error})") from None
