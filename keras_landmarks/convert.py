"""Makes a folder in the contest's form of faces that are annotated in another one.

Reads tables with other column names, COCO keypoints, lists such as WFLW's and CelebA's, and folders
of .pts files (300-W); see `keras_landmarks.annotations`. Points are in pixels of the photo unless
--points_unit says otherwise; points that cannot be pixels are refused. Each face is cut out of its
photo around its points, with black beyond the photo's edge, for the network looks at one face. One
or two points have no extent: their faces are cut out by the annotations' boxes or, where there are
none, the photos stay whole. Under --data it writes

    <split>/images, <split>/landmarks.csv   the faces; `train` takes them
    <split>/sources.csv                     which photo each face is from, a table of groups
    <split>/crops.csv                       and by which annotation (COCO's id, else its row), and
                                            where in it: add x0 and y0 to a crop's points
    <split>/rejects.csv                     what could not be used, if there was anything
    layout.json                             names, regions and mirror map, if they are known: for
                                            --mirror; one that is there stays

Examples:

    python -m keras_landmarks.convert --source=300w --data=faces --split=train
    python -m keras_landmarks.convert --source=annotations.json --photos=images --data=faces
    python -m keras_landmarks.train --data=faces --mirror=faces/layout.json --augment_online=mirror
"""

import contextlib
import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from absl import logging

from keras_landmarks import config
from keras_landmarks.annotations import cropping, plausibility, units, validation
from keras_landmarks.annotations.cropping import Cut
from keras_landmarks.annotations.face import Face, point_name
from keras_landmarks.annotations.reading import read_annotations
from keras_landmarks.contest import grouping, invalid_samples, landmark_tables, table_files
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.layouts import known_layouts, layout, mirror
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import atomic_folder, write_json
from keras_landmarks.utils.parallel import parallel_map
from keras_landmarks.utils.progress import progress

FLAGS = config.use(
    "source",
    "source_format",
    "points_unit",
    "photos",
    "face_share",
    "data",
    "split",
    "processes",
)


def main(_) -> dict:
    """Reads the flags, converts, returns the figures."""
    config.require("source", "data")
    return convert(
        Path(FLAGS.source),
        Path(FLAGS.data),
        FLAGS.split,
        FLAGS.source_format,
        Path(FLAGS.photos) if FLAGS.photos else None,
        FLAGS.face_share,
        FLAGS.processes,
        FLAGS.points_unit,
    )


def convert(
    source: Path,
    data: Path,
    split: str = "train",
    source_format: str = "auto",
    photos: Path | None = None,
    face_share: float = 0.6,
    processes: int | None = None,
    points_unit: str = "auto",
) -> dict:
    """Writes the faces of `source` as `data`/`split`.

    Args:
        source: a file or folder of annotations.
        data: the folder in the contest's form.
        split: its part to write.
        source_format: one of `annotations.reading.KINDS`, or `auto`.
        photos: what the photos' names are relative to; None for the annotations' own folder.
        face_share: share of a crop's width and height that the points take; 0 for whole photos.
        processes: workers; None for all cores.
        points_unit: `pixel`, `share` (0 to 1 of the photo's width and height), `percent`, or
            `auto`: pixels, unless the points look like one of the others, which is an error.

    Returns:
        Figures: faces, points, rejected, whether a mirror map is known.

    Raises:
        InputError: the source is not what it should be, no face can be used, the split is there,
            or what else is in `data` has other points.
    """
    folder = data / split
    if folder.exists():
        raise InputError(f"{folder}: it is there already; remove it, or give another --split")
    photos_are_told = photos is not None
    photos = photos or (source if source.is_dir() else source.parent)
    if not photos.is_dir():
        raise InputError(f"{photos}: no such folder; --photos says where the photos are")
    read = read_annotations(source, source_format, photos)
    if read.ignored:
        logging.info("columns that are no points: %s", ", ".join(read.ignored)[:200])
    found = list(read.faces)
    faces = list(validation.validate(found, photos))
    points, names = _check_faces(source, faces, read.names, points_unit)
    gaps = _most_gaps(found, read.names)
    if points:
        _check_points(data, points, names, source)
    whole_photos = face_share == 0 or not any(map(cropping.can_be_cut_out, faces))
    if whole_photos:
        faces = list(validation.leave_out_shared_photos(faces))
        if face_share and points:
            logging.warning(
                "faces of fewer than 3 points have no extent, and there are no boxes:"
                " the photos stay whole"
            )
    share = 0 if whole_photos else face_share
    cut = functools.partial(cropping.cut_face, photos, share, points_unit)
    cuts = parallel_map(cut, faces, processes)
    with _removed_if_new(data), atomic_folder(folder) as partial:
        cuts = progress(cuts, "cutting out", "faces", len(faces))
        written, rejects = _write_faces(partial, faces, cuts)
        if not written:
            raise InputError(_nothing_left(source, rejects, gaps, photos_are_told))
        if points_unit == "auto" and units.may_be_percent(written):
            raise InputError(
                f"{source}: all points are 0 to 100, in photos that are larger; give"
                " --points_unit=percent if they are percent of the width and height, or"
                " --points_unit=pixel"
            )
    landmarks = [cut.landmarks_photo_px - cut.offset_px for cut in written]
    known = _write_layout(data / "layout.json", landmarks, names)
    if rejects:
        summary = _summary(rejects) + gaps
        logging.warning("faces that cannot be used: %d (%s)", len(rejects), summary)
    return {
        "data": str(data),
        "split": split,
        "faces": len(written),
        "points": points,
        "rejected": len(rejects),
        "mirror": "mirror" in known,
    }


# ── what can be used ──


def _check_faces(
    source: Path, faces: Sequence[Face | InvalidSample], names: Sequence[str] | None, unit: str
) -> tuple[int, Sequence[str] | None]:
    """Returns how many points the faces have, and the points' names if they are of so many.

    Raises:
        InputError: the numbers of all faces together cannot be points.
    """
    usable = [face.landmarks_photo_px for face in faces if isinstance(face, Face)]
    if not usable:
        return 0, None
    points = len(usable[0])
    if unit == "auto" and units.are_shares(np.stack(usable)):
        raise InputError(
            f"{source}: all points are about 0 to 1, which are no pixels of a photo; if they are"
            " shares of its width and height, give --points_unit=share"
        )
    names = names if names and len(names) == points else None
    if fault := plausibility.find_fault(np.stack(usable), names):
        raise InputError(
            f"{source}: {fault}; write a table whose header names x and y of each point"
        )
    return points, names


def _most_gaps(faces: Sequence[Face | InvalidSample], names: Sequence[str] | None) -> str:
    """Says which point most often has no place; nothing if all have one."""
    count = Counter(
        point
        for face in faces
        if isinstance(face, Face)
        for point in np.flatnonzero(np.isnan(face.landmarks_photo_px).any(axis=1)).tolist()
    )
    if not count:
        return ""
    (point, most), *_ = count.most_common(1)
    return f"; {point_name(point, names)} has no place in {most} of {len(faces)} faces"


def _check_points(data: Path, points: int, names: Sequence[str] | None, source: Path) -> None:
    """Raises InputError if the layout or another split in `data` is of other points."""
    other = "; give another --data"
    for table in sorted(data.glob("[!.]*/landmarks.csv")):
        if (count := landmark_tables.count_points(table)) != points:
            raise InputError(f"{source} has {points} points, {table} {count}{other}")
    path = data / "layout.json"
    known = layout.read_json(path) if path.exists() else {}
    theirs = known.get("points") or known.get("mirror") or [] if isinstance(known, dict) else []
    if theirs and len(theirs) != points:
        raise InputError(f"{source} has {points} points, {path} {len(theirs)}{other}")
    named = names and known_layouts.are_names(names) and known_layouts.are_names(theirs)
    for point, (name, their) in enumerate(zip(names, theirs, strict=True) if named else ()):
        if name != their:
            raise InputError(f"{source}: point {point} is {name!r}, but {their!r} in {path}{other}")


# ── what is written ──


@contextlib.contextmanager
def _removed_if_new(folder: Path) -> Iterator[None]:
    """Leaves no empty folder where there was none, if the block fails."""
    is_new = not folder.exists()
    try:
        yield
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _write_faces(
    folder: Path, faces: Sequence[Face | InvalidSample], cuts: Iterable[Cut | InvalidSample]
) -> tuple[list[Cut], list[InvalidSample]]:
    """Writes the images and the tables; returns the crops, without JPEGs, and the rejects."""
    images = folder / "images"
    images.mkdir(parents=True)
    written, crops, rejects = [], [], []
    for face, cut in zip(faces, cuts, strict=True):
        if isinstance(cut, InvalidSample):
            rejects.append(cut)
            continue
        name = f"face_{len(written):06d}.jpg"
        (images / name).write_bytes(cut.jpeg)
        written.append(cut._replace(jpeg=b""))
        crops.append((name, face.photo, face.id or str(face.row), *map(str, cut.offset_px)))
    if written:
        names, photos = ([crop[column] for crop in crops] for column in (0, 1))
        landmarks = (cut.landmarks_photo_px - cut.offset_px for cut in written)
        landmark_tables.write_landmarks(folder / "landmarks.csv", names, landmarks)
        grouping.write_group_table(folder / "sources.csv", "photo", names, photos)
        columns = ("file_name", "photo", "annotation", "x0", "y0")
        table_files.write_rows(folder / "crops.csv", columns, crops)
    if rejects:
        invalid_samples.write_invalid_samples(folder / "rejects.csv", rejects)
    return written, rejects


def _write_layout(path: Path, landmarks: Sequence[np.ndarray], names: Sequence[str] | None) -> dict:
    """Writes what is known of the points, unless a layout is there; returns what it holds.

    What is taken to be known, for so many points or by their names, and does not fit the faces is
    left out.
    """
    if path.exists():
        known = layout.read_json(path)
        return known if isinstance(known, dict) else {"mirror": known}
    known = known_layouts.describe(len(landmarks[0]), names)
    if "mirror" in known:
        some = np.stack(landmarks[:: -(-len(landmarks) // mirror.MOST_FACES)])
        try:
            mirror.check_map(some, np.array(known["mirror"]), "the map known for such points")
        except InputError as error:
            logging.warning("layout.json gets no regions and no mirror map: %s", error)
            known = {"points": list(names)} if names else {}
    if known:
        write_json(path, known)
    return known


def _nothing_left(
    source: Path, rejects: Sequence[InvalidSample], gaps: str, photos_are_told: bool
) -> str:
    """Says why no face can be used, with the first for an example."""
    if not rejects:
        return f"{source}: there is no face in it"
    first = rejects[0]
    example = table_files.printable(f"{first.file_name}, row {first.line}: {first.reason}")
    lost = any(reject.kind == "there is no such image" for reject in rejects)
    hint = "; --photos says where the photos are" if lost and not photos_are_told else ""
    summary = _summary(rejects) + gaps
    return f"{source}: no face can be used: {summary}; the first is {example}{hint}"


def _summary(rejects: Sequence[InvalidSample]) -> str:
    """Returns how many there are of each reason, the commonest first."""
    counts = Counter(reject.kind for reject in rejects)
    return ", ".join(f"{reason}: {count}" for reason, count in counts.most_common())


if __name__ == "__main__":
    config.run(main, split="train")
