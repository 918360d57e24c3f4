"""Makes a folder in the contest's form of faces that are annotated in another one.

Reads tables with other column names, COCO keypoints, WFLW's and CelebA's lists and folders of .pts
files (300-W); see `data.annotations`. Each face is cut out of its photo around its points, with
black beyond the photo's edge, for the network looks at one face. Under --data it writes

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
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging

from keras_landmarks import config
from keras_landmarks.data import (
    annotations,
    contest,
    image_files,
    known_layouts,
    layout,
    mirror,
    samples,
)
from keras_landmarks.data.annotations import Face
from keras_landmarks.data.contest import Reject
from keras_landmarks.data.geometry import Region, cut_out
from keras_landmarks.errors import InputError
from keras_landmarks.files import whole_folder, write_json
from keras_landmarks.parallel import parallel_map
from keras_landmarks.progress import progress

FLAGS = config.use("source", "source_format", "photos", "face_share", "data", "split", "processes")


class Cut(NamedTuple):
    """A face cut out: its crop, and where in the photo that begins, x and y in pixels."""

    jpeg: bytes
    offset_px: tuple[int, int]


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
    )


def convert(
    source: Path,
    data: Path,
    split: str = "train",
    source_format: str = "auto",
    photos: Path | None = None,
    face_share: float = 0.6,
    processes: int | None = None,
) -> dict:
    """Writes the faces of `source` as `data`/`split`.

    Args:
        source: a file or folder of annotations.
        data: the folder in the contest's form.
        split: its part to write.
        source_format: one of `annotations.KINDS`, or `auto`.
        photos: what the photos' names are relative to; None for the annotations' own folder.
        face_share: share of a crop's width and height that the points take; 0 for whole photos.
        processes: workers; None for all cores.

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
    read = annotations.read_annotations(source, source_format)
    said = list(read.faces)
    faces = list(_sift(said, photos))
    gaps = _most_gaps(said, read.names)
    points = next((len(face.landmarks_photo_px) for face in faces if isinstance(face, Face)), 0)
    names = read.names if read.names and len(read.names) == points else None
    if points:
        _check_points(data, points, names, source)
    cuts = parallel_map(functools.partial(cut_face, photos, face_share), faces, processes)
    with _removed_if_new(data), whole_folder(folder) as partial:
        cuts = progress(cuts, "cutting out", "faces", len(faces))
        landmarks, rejects = _write_faces(partial, faces, cuts)
        if not landmarks:
            raise InputError(_nothing_left(source, rejects, gaps, photos_are_told))
    known = _write_layout(data / "layout.json", landmarks, names)
    if rejects:
        summary = _summary(rejects) + gaps
        logging.warning("faces that cannot be used: %d (%s)", len(rejects), summary)
    return {
        "data": str(data),
        "split": split,
        "faces": len(landmarks),
        "points": points,
        "rejected": len(rejects),
        "mirror": "mirror" in known,
    }


# ── what can be used ──


def _sift(faces: Iterable[Face | Reject], photos: Path) -> Iterator[Face | Reject]:
    """Yields the faces with their photos' paths from `photos`; rejects for those of no use."""
    inside = {f"{os.path.abspath(photos)}/", f"{os.path.realpath(photos)}/"}
    points, rows = 0, {}
    for face in faces:
        if isinstance(face, Face):
            for folder in inside:
                face = face._replace(photo=face.photo.removeprefix(folder))
            landmarks_px = face.landmarks_photo_px
            points = points or len(landmarks_px)
            first = rows.setdefault((face.photo, hash(landmarks_px.tobytes())), face.row)
            gaps = int(np.isnan(landmarks_px).any(axis=1).sum())
            if gaps:
                reason = f"points without a place: {gaps} of {len(landmarks_px)}"
            elif len(landmarks_px) != points:
                reason = f"not as many points as the first face: {len(landmarks_px)}, not {points}"
            elif first != face.row:
                reason = f"repeated: the same as row {first}"
            else:
                reason = _fault_of_photo(photos, face.photo)
            face = Reject(face.photo, face.row, reason) if reason else face
        yield face


def _fault_of_photo(photos: Path, name: str) -> str:
    if not contest.can_be_listed(name):
        return f"not a path below the photos' folder: {name!r}"
    if not os.path.exists(photos / name):
        hint = "; folders are separated by /" if "\\" in name else ""
        return f"there is no such image: {photos / name}{hint}"
    return ""


def _most_gaps(faces: Sequence[Face | Reject], names: Sequence[str] | None) -> str:
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
    name = annotations.point_name(point, names)
    return f"; {name} has no place in {most} of {len(faces)} faces"


def _check_points(data: Path, points: int, names: Sequence[str] | None, source: Path) -> None:
    """Raises InputError if the layout or another split in `data` is of other points."""
    other = "; give another --data"
    for table in sorted(data.glob("[!.]*/landmarks.csv")):
        if (count := contest.count_points(table)) != points:
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


# ── crops ──


def cut_face(photos: Path, face_share: float, face: Face | Reject) -> Cut | Reject:
    """Returns a face's crop, as JPEG, with its points in it; or why it has none."""
    if isinstance(face, Reject):
        return face
    try:
        image = image_files.read_listed_image(photos, face.photo)
    except ValueError as error:
        return Reject(face.photo, face.row, str(error))
    (box,) = samples.boxes(face.landmarks_photo_px[None])
    if samples.lies_far_outside(box, image.shape[1::-1]):
        return Reject(face.photo, face.row, "points far outside the image")
    if not face_share:
        return Cut(image_files.encode_jpeg(image), (0, 0))
    region = region_around(box, face_share)
    return Cut(image_files.encode_jpeg(cut_out(image, region)), region[:2])


def region_around(box: list[float], share: float) -> Region:
    """Returns what to cut out so that a box (low x, low y, high x, high y) takes `share` of it.

    A box that is flat counts as half as wide as it is long.
    """
    low, high = np.array(box[:2]), np.array(box[2:])
    sides = high - low + 1
    sides = np.maximum(sides, sides.max() / 2) / share
    first = np.floor((low + high - sides) / 2).astype(int)
    return Region(*first.tolist(), *(first + np.ceil(sides).astype(int)).tolist())


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
    folder: Path, faces: Sequence[Face | Reject], cuts: Iterable[Cut | Reject]
) -> tuple[list[np.ndarray], list[Reject]]:
    """Writes the images and the tables; returns the points of each crop, and the rejects."""
    images = folder / "images"
    images.mkdir(parents=True)
    names, crops, landmarks, rejects = [], [], [], []
    for face, cut in zip(faces, cuts, strict=True):
        if isinstance(cut, Reject):
            rejects.append(cut)
            continue
        name = f"face_{len(names):06d}.jpg"
        (images / name).write_bytes(cut.jpeg)
        names.append(name)
        crops.append((name, face.photo, face.id or str(face.row), *map(str, cut.offset_px)))
        landmarks.append(face.landmarks_photo_px - cut.offset_px)
    if landmarks:
        contest.write_landmarks(folder / "landmarks.csv", names, landmarks)
        contest.write_groups(folder / "sources.csv", "photo", names, [crop[1] for crop in crops])
        columns = ("file_name", "photo", "annotation", "x0", "y0")
        contest.write_rows(folder / "crops.csv", columns, crops)
    if rejects:
        contest.write_rejects(folder / "rejects.csv", rejects)
    return landmarks, rejects


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


def _nothing_left(source: Path, rejects: Sequence[Reject], gaps: str, photos_are_told: bool) -> str:
    """Says why no face can be used, with the first for an example."""
    if not rejects:
        return f"{source}: there is no face in it"
    first = rejects[0]
    example = contest.printable(f"{first.file_name}, row {first.line}: {first.reason}")
    lost = any(reject.kind == "there is no such image" for reject in rejects)
    hint = "; --photos says where the photos are" if lost and not photos_are_told else ""
    summary = _summary(rejects) + gaps
    return f"{source}: no face can be used: {summary}; the first is {example}{hint}"


def _summary(rejects: Sequence[Reject]) -> str:
    """Returns how many there are of each reason, the commonest first."""
    counts = Counter(reject.kind for reject in rejects)
    return ", ".join(f"{reason}: {count}" for reason, count in counts.most_common())


if __name__ == "__main__":
    config.run(main, split="train")
