"""Checks a whole contest folder, every row and every image, as `train` and `augment` do.

Prints a table of the rows of train/ and test/ that can and cannot be used, the latter by reason.
--rejects lists every row that cannot be used: file name, row (the line in its table; the header is
1), reason. Files in the images folder that no row names are counted, and the first of them are
named. The exit status is 1 if a split has no row that can be used, or if a point has a place in no
row of train/.

What is checked:

    images   JPEG, PNG, WebP, AVIF, TIFF, BMP or HEIC, whatever their names end in, of at most 100
             million pixels; links must not lead out of the images folder
    points   may lie outside the image by at most its longer side; a point that was not placed in a
             photo has two empty cells, which are counted; a photo needs at least one point, and
             every point a place in at least one photo. Some programs write (-1, -1) or (0, 0) for
             "no place", which here is a place; points at exactly these are counted, if two photos
             have two or more, as `suspicious_points`
    rows     if several rows of one file name agree, the first is used; if they disagree, none is

Example:

    python -m keras_landmarks.check --data=contest --rejects=rejects.tsv
"""

import json
from pathlib import Path

from keras_landmarks import flags
from keras_landmarks.contest import folder_report
from keras_landmarks.contest.invalid_samples import write_invalid_samples
from keras_landmarks.utils.errors import InputError

check = folder_report.check_folder  # for Python: `from keras_landmarks.check import check`

FLAGS = flags.use("data", "rejects")


def main(_) -> dict:
    """Checks the folder, prints the report and returns the counts.

    Raises:
        InputError: as `folder_report.check_folder`; or a split has no row that can be used, or a
            point has a place in none, which is raised after the report and the counts have been
            printed.
    """
    flags.require("data")
    reports = folder_report.check_folder(Path(FLAGS.data))
    if FLAGS.rejects:
        samples = folder_report.all_invalid_samples(reports)
        write_invalid_samples(Path(FLAGS.rejects), samples)
    print(folder_report.format_reports(reports))
    counts = folder_report.count_rows(reports)
    try:
        folder_report.require_valid_rows(reports)
    except InputError:
        print(json.dumps(counts), flush=True)
        raise
    return counts


if __name__ == "__main__":
    flags.run(main)
