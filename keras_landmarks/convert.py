"""Makes a folder in the contest's form of faces that are annotated in another one.

Reads tables with other column names, COCO keypoints, WFLW's and CelebA's lists and folders of .pts
files (300-W); see `data.annotations`. Each face is cut out of its photo around its points, with
black beyond the photo's edge, for the network looks at one face. Under --data it writes

    <split>/images, <split>/landmarks.csv   the faces; `train` takes them
    <split>/sources.csv                     which photo each face is from, a table of groups
    <split>/rejects.csv                     what could not be used, if there was anything
    layout.json                             regions and mirror map, if they are known: for --mirror

Examples:

    python -m keras_landmarks.convert --source=300w --data=faces --split=train
    python -m keras_landmarks.convert --source=annotations.json --photos=images --data=faces
    python -m keras_landmarks.train --data=faces --mirror=faces/layout.json --augment_online=mirror
"""

import functools
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging

from keras_landmarks import config
from keras_landmarks.data import annotations, contest, image_files, known_layouts, samples
from keras_landmarks.data.annotations import Face
from keras_landmarks.data.contest import Reject
from keras_landmarks.data.geometry import Region, cut_out
from keras_landmarks.errors import InputError
from keras_landmarks.files import whole_folder, write_json
from keras_landmarks.parallel import parallel_map
from keras_landmarks.progress import progress

FLAGS = config.use("source", "source_format", "photos", "face_share", "data", "split", "processes")


class Cut(NamedTuple):
    """A face cut out: of which photo, by which row of the annotations, with its points (k, 2)."""

    photo: str
    row: int
    jpeg: bytes
    landmarks_px: np.ndarray


def main(_) -> dict:
    """Reads the flags, converts, returns the figures."""
    config.require("source", "data")
    return convert(
        Path(FLAGS.source),
        Path(FLAGS.data),
        FLAGS.split if FLAGS["split"].present else "train",
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
        InputError: the source is not what it should be, no face can be used, or the split is there.
    """
    folder = data / split
    if folder.exists():
        raise InputError(f"{folder}: it is there already; remove it, or give another --split")
    photos_are_told = photos is not None
    photos = photos or (source if source.is_dir() else source.parent)
    if not photos.is_dir():
        raise InputError(f"{photos}: no such folder; --photos says where the photos are")
    read = annotations.read_annotations(source, source_format)
    cut = parallel_map(functools.partial(cut_face, photos, face_share), read.faces, processes)
    with whole_folder(folder) as partial:
        landmarks, rejects = _write_faces(partial, progress(cut, "cutting out", "faces"))
        if not landmarks:
            hint = "" if photos_are_told else "; --photos says where the photos are"
            raise InputError(f"{source}: no face can be used: {_summary(rejects)}{hint}")
        points = len(landmarks[0])
    known = known_layouts.describe(points, read.names)
    if known:
        write_json(data / "layout.json", known)
    if rejects:
        logging.warning("faces that cannot be used: %d (%s)", len(rejects), _summary(rejects))
    return {
        "data": str(data),
        "split": split,
        "faces": len(landmarks),
        "points": points,
        "rejected": len(rejects),
        "mirror": "mirror" in known,
    }


def cut_face(photos: Path, face_share: float, face: Face | Reject) -> Cut | Reject:
    """Returns a face's crop, as JPEG, with its points in it; or why it has none."""
    if isinstance(face, Reject):
        return face
    try:
        image = image_files.read_listed_image(photos, face.photo)
    except ValueError as error:
        return Reject(face.photo, face.row, str(error))
    landmarks_px = face.landmarks_photo_px
    (box,) = samples.boxes(landmarks_px[None])
    if samples.lies_far_outside(box, image.shape[1::-1]):
        return Reject(face.photo, face.row, "points far outside the image")
    if face_share:
        region = region_around(box, face_share)
        image, landmarks_px = cut_out(image, region), landmarks_px - region[:2]
    return Cut(face.photo, face.row, image_files.encode_jpeg(image), landmarks_px)


def region_around(box: list[float], share: float) -> Region:
    """Returns what to cut out so that a box (low x, low y, high x, high y) takes `share` of it.

    A box that is flat counts as half as wide as it is long.
    """
    low, high = np.array(box[:2]), np.array(box[2:])
    sides = high - low + 1
    sides = np.maximum(sides, sides.max() / 2) / share
    first = np.floor((low + high - sides) / 2).astype(int)
    return Region(*first.tolist(), *(first + np.ceil(sides).astype(int)).tolist())


def _write_faces(
    folder: Path, cut: Iterable[Cut | Reject]
) -> tuple[list[np.ndarray], list[Reject]]:
    """Writes the images and the tables; returns the points of each face, and the rejects."""
    images = folder / "images"
    images.mkdir(parents=True)
    names, sources, landmarks, rejects = [], [], [], []
    for face in cut:
        if isinstance(face, Cut) and landmarks and len(face.landmarks_px) != len(landmarks[0]):
            reason = f"not as many points as the first face: {len(face.landmarks_px)}"
            face = Reject(face.photo, face.row, reason)
        if isinstance(face, Reject):
            rejects.append(face)
            continue
        name = f"face_{len(names):06d}.jpg"
        (images / name).write_bytes(face.jpeg)
        names.append(name)
        sources.append(face.photo)
        landmarks.append(face.landmarks_px)
    if landmarks:
        contest.write_landmarks(folder / "landmarks.csv", names, landmarks)
        contest.write_groups(folder / "sources.csv", "photo", names, sources)
    if rejects:
        contest.write_rejects(folder / "rejects.csv", rejects)
    return landmarks, rejects


def _summary(rejects: list[Reject]) -> str:
    """Returns how many there are of each reason, the commonest first."""
    counts = Counter(reject.kind for reject in rejects)
    return ", ".join(f"{reason}: {count}" for reason, count in counts.most_common())


if __name__ == "__main__":
    config.run(main)
