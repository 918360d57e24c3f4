"""Checks a whole contest folder, every row and every image, as `train` and `augment` do.

Prints what was found, counted by reason, and with --rejects lists every row that cannot be used:
file name, row (the line in its table; the header is 1), reason. Files that no row names are counted
and, the first of them, named. The exit status is 1 if a split has no row that can be used.

Example:

    python -m keras_landmarks.check --data=contest --rejects=rejects.tsv
"""

import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from absl import logging

from keras_landmarks import config
from keras_landmarks.contest import invalid_samples, landmark_tables, locations, table_files
from keras_landmarks.contest.checking import Sample, check_landmarks, check_test_points
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.contest.requested_points import RequestedPoints
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.progress import progress

_UNLISTED_NAMED = 20

FLAGS = config.use("data", "rejects")


@dataclass(frozen=True)
class Report:
    """What was found in a split.

    Attributes:
        table: its file.
        rows: how many the table has.
        rejects: those of them that cannot be used, by line.
        unlisted: files in the images folder that no row names.
    """

    table: Path
    rows: int
    rejects: list[InvalidSample]
    unlisted: list[str]


def main(_) -> dict:
    """Reads the flags, checks, prints the table, returns the figures.

    Raises:
        InputError: as `check`, or a split has no sound row; that is raised when table and figures
            have been printed.
    """
    config.require("data")
    reports = check(Path(FLAGS.data))
    rejects = [
        reject if split == "train" else reject._replace(reason=f"{split}: {reject.reason}")
        for split, report in reports.items()
        for reject in report.rejects
    ]
    if FLAGS.rejects:
        invalid_samples.write_invalid_samples(Path(FLAGS.rejects), rejects)
    print(table(reports))
    figures = {split: _figures(report) for split, report in reports.items()}
    names = ("rows", "sound", "rejected", "unlisted")
    figures = {name: sum(f[name] for f in figures.values()) for name in names} | figures
    if hopeless := [report for report in reports.values() if report.rows == len(report.rejects)]:
        print(json.dumps(figures), flush=True)
        raise InputError(_why_hopeless(hopeless[0]))
    return figures


def _why_hopeless(report: Report) -> str:
    if not report.rejects:
        return f"{report.table}: there is no row under the header"
    name, line, reason = report.rejects[0]
    return (
        f"{report.table}: none of its {report.rows:,} rows can be used; the first is line {line}"
        f" ({table_files.printable(name)}): {reason}"
    )


def check(data: Path) -> dict[str, Report]:
    """Checks the train split and, if there is one, the test split.

    Raises:
        InputError: the folder lacks train/images or train/landmarks.csv, or a table is none.
    """
    images = locations.find_image_folder(data, "train")
    landmarks = data / "train" / "landmarks.csv"
    points = landmark_tables.count_points(landmarks)
    reports = {"train": _report("train", landmarks, check_landmarks(landmarks, images), images)}
    try:
        images = locations.find_image_folder(data, "test")
        asked = locations.find_test_points(data, "test")
    except InputError as error:
        logging.info("no test split is checked: %s", error)
        return reports
    reports["test"] = _report("test", asked, check_test_points(asked, images, points), images)
    return reports


def _report(
    split: str,
    table: Path,
    checked: Iterable[Sample | RequestedPoints | InvalidSample],
    image_folder: Path,
) -> Report:
    lines, named, rejects = set(), set(), []
    for item in progress(checked, f"checking {split}", "rows"):
        lines.add(item.line)  # a set: a reject may follow for the row of a sample
        named.add(os.path.normpath(item.file_name))
        if isinstance(item, InvalidSample):
            rejects.append(item)
    rejects.sort(key=lambda reject: reject.line)
    files = locations.list_files(image_folder)
    unlisted = [name for name in files if unicodedata.normalize("NFC", name) not in named]
    return Report(table, len(lines), rejects, unlisted)


def _figures(report: Report) -> dict[str, int]:
    rejected = len(report.rejects)
    return {
        "rows": report.rows,
        "sound": report.rows - rejected,
        "rejected": rejected,
        "unlisted": len(report.unlisted),
    }


# ── the table for people ──


def table(reports: dict[str, Report]) -> str:
    """Lays out what `check` returns: a column a split, rejects by reason, unlisted files."""
    figures = [_figures(report) for report in reports.values()]
    reasons = [Counter(reject.kind for reject in report.rejects) for report in reports.values()]
    total = sum(reasons, Counter())
    kinds = sorted(total, key=lambda kind: (-total[kind], kind))
    lines = [_line("", reports)]
    lines += [_line(name, [f[name] for f in figures]) for name in ("rows", "sound", "rejected")]
    lines += [_line(f"  {kind}", [counts[kind] for counts in reasons]) for kind in kinds]
    lines.append(_line("files that no row names", [f["unlisted"] for f in figures]))
    for split, report in reports.items():
        named, more = report.unlisted[:_UNLISTED_NAMED], len(report.unlisted) - _UNLISTED_NAMED
        lines += [f"  {split}/images/{table_files.printable(name)}" for name in named]
        lines += [f"  and {more:,} more in {split}/images"] if more > 0 else []
    return "\n".join(lines)


def _line(title: str, cells: Iterable) -> str:
    cells = [cell if isinstance(cell, str) else f"{cell:,}" for cell in cells]
    return f"{title:60}" + "".join(f"{cell:>12}" for cell in cells)


if __name__ == "__main__":
    config.run(main)
