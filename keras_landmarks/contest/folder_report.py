"""A report on a whole data folder: which rows of each split are valid, and which files are unused.

`check_folder` makes the report. The other functions turn it into the list of rows that cannot be
used, counts, a text table, and an error if a split has no valid row.
"""

import dataclasses
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from absl import logging

from keras_landmarks.contest import landmark_tables, locations
from keras_landmarks.contest.checking import ValidSample, check_landmarks, check_test_points
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.contest.requested_points import RequestedPoints
from keras_landmarks.contest.table_files import printable
from keras_landmarks.layouts import gaps
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.progress import progress
from keras_landmarks.utils.text_tables import align_columns

_MAX_LISTED_FILES = 20
_SUSPICIOUS = "points at exactly (-1, -1) or (0, 0)"


@dataclass(frozen=True)
class SplitReport:
    """The result of checking a split.

    Attributes:
        table: the split's table.
        rows: the number of rows of the table.
        invalid_samples: the rows that cannot be used, by line.
        unlisted: files in the images folder that are not in the table.
        missing_points: the number of landmarks without a place, in valid rows.
        never_placed: names of the landmarks that have a place in no valid row.
        suspicious_points: the number of landmarks at exactly (-1, -1) or (0, 0), in valid rows, if
            at least two of these have two or more. They may mean that there is no place.
    """

    table: Path
    rows: int
    invalid_samples: list[InvalidSample]
    unlisted: list[str]
    missing_points: int = 0
    never_placed: Sequence[str] = ()
    suspicious_points: int = 0

    @property
    def num_valid(self) -> int:
        """The number of rows that can be used."""
        return self.rows - len(self.invalid_samples)


def check_folder(data: Path) -> dict[str, SplitReport]:
    """Checks every row and image of the train split and, if there is one, of the test split.

    Returns:
        The reports by split.

    Raises:
        InputError: the folder lacks train/images or train/landmarks.csv, or a table cannot be read.
    """
    images = locations.find_image_folder(data, "train")
    table = data / "train" / "landmarks.csv"
    num_landmarks = landmark_tables.count_points(table)
    reports = {"train": _check_split("train", table, images, check_landmarks(table, images))}
    try:
        images = locations.find_image_folder(data, "test")
        table = locations.find_test_points(data, "test")
    except InputError as error:
        logging.info("The test split is not checked: %s", error)
        return reports
    rows = check_test_points(table, images, num_landmarks)
    return reports | {"test": _check_split("test", table, images, rows)}


def _check_split(
    split: str,
    table: Path,
    image_folder: Path,
    rows: Iterable[ValidSample | RequestedPoints | InvalidSample],
) -> SplitReport:
    # By line: an invalid sample may follow for a row that was yielded as valid before.
    lines, listed, invalid, missing, placed = set(), set(), [], Counter(), False
    suspicious = Counter()
    for row in progress(rows, f"checking {split}", "rows"):
        lines.add(row.line)
        listed.add(os.path.normpath(row.file_name))
        if isinstance(row, InvalidSample):
            invalid.append(row)
        elif isinstance(row, ValidSample):
            missing[row.line] = int(gaps.count_missing(row.landmarks_photo_px))
            if count := int(gaps.are_placeholders(row.landmarks_photo_px).sum()):
                suspicious[row.line] = count
            placed = placed | (gaps.count_missing(row.landmarks_photo_px[:, None]) == 0)
    invalid.sort(key=lambda sample: sample.line)
    files = locations.list_files(image_folder)
    unlisted = [name for name in files if unicodedata.normalize("NFC", name) not in listed]
    num_missing = missing.total() - sum(missing[sample.line] for sample in invalid)
    never = np.flatnonzero(~placed) if num_missing else []
    names = landmark_tables.read_point_names(table) if len(never) else []
    for sample in invalid:
        suspicious.pop(sample.line, None)
    is_repeated = sum(count >= 2 for count in suspicious.values()) >= 2
    report = SplitReport(table, len(lines), invalid, unlisted, num_missing)
    return dataclasses.replace(
        report,
        never_placed=[names[point] for point in never],
        suspicious_points=suspicious.total() if is_repeated else 0,
    )


def all_invalid_samples(reports: dict[str, SplitReport]) -> list[InvalidSample]:
    """Returns the invalid samples of all splits; reasons outside train begin with the split."""
    return [
        sample if split == "train" else sample._replace(reason=f"{split}: {sample.reason}")
        for split, report in reports.items()
        for sample in report.invalid_samples
    ]


def count_rows(reports: dict[str, SplitReport]) -> dict:
    """Returns the numbers of rows, of valid (`sound`) and `rejected` ones, and of `unlisted` files.

    They are given for all splits together and by split, with the `missing_points` and the
    `suspicious_points` of the rows.
    """
    by_split = {split: _count_rows(report) for split, report in reports.items()}
    names = ("rows", "sound", "rejected", "unlisted", "missing_points", "suspicious_points")
    return {name: sum(counts[name] for counts in by_split.values()) for name in names} | by_split


def _count_rows(report: SplitReport) -> dict[str, int]:
    return {
        "rows": report.rows,
        "sound": report.num_valid,
        "rejected": len(report.invalid_samples),
        "unlisted": len(report.unlisted),
        "missing_points": report.missing_points,
        "suspicious_points": report.suspicious_points,
    }


def format_reports(reports: dict[str, SplitReport]) -> str:
    """Returns a text table: a column per split, invalid rows by reason, and unlisted files."""
    counts = [_count_rows(report) for report in reports.values()]
    kinds = [Counter(s.kind for s in report.invalid_samples) for report in reports.values()]
    total = sum(kinds, Counter())
    sorted_kinds = sorted(total, key=lambda kind: (-total[kind], kind))
    rows = [(name, [split[name] for split in counts]) for name in ("rows", "sound", "rejected")]
    rows += [(f"  {kind}", [split[kind] for split in kinds]) for kind in sorted_kinds]
    if any(split["missing_points"] for split in counts):
        rows.append(("points without a place", [split["missing_points"] for split in counts]))
    is_suspicious = any(split["suspicious_points"] for split in counts)
    if is_suspicious:
        rows.append((_SUSPICIOUS, [split["suspicious_points"] for split in counts]))
    rows.append(("files not in the table", [split["unlisted"] for split in counts]))
    cells = [("", *reports), *((title, *map("{:,}".format, row)) for title, row in rows)]
    lines = align_columns(cells, (60, *[12] * len(reports)))
    for split, report in reports.items():
        files = report.unlisted
        lines += [f"  {split}/images/{printable(name)}" for name in files[:_MAX_LISTED_FILES]]
        if len(files) > _MAX_LISTED_FILES:
            lines.append(f"  and {len(files) - _MAX_LISTED_FILES:,} more in {split}/images")
    if is_suspicious:
        lines.append(f'{_SUSPICIOUS} may mean "no place", which two empty cells say')
    return "\n".join(lines)


def require_valid_rows(reports: dict[str, SplitReport]) -> None:
    """Raises InputError if a split has no row that can be used, or a point has a place in none."""
    for report in reports.values():
        if report.num_valid and report.never_placed:
            raise landmark_tables.never_placed(report.table, report.never_placed)
        if report.num_valid:
            continue
        if not report.invalid_samples:
            raise InputError(f"{report.table}: there is no row under the header")
        name, line, reason = report.invalid_samples[0]
        raise InputError(
            f"{report.table}: none of its {report.rows:,} rows can be used; the first is line"
            f" {line} ({printable(name)}): {reason}"
        )
