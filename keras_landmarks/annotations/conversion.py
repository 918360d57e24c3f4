"""Converts annotations to a split of a data folder in the contest's format."""

import contextlib
import functools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from absl import logging

from keras_landmarks.annotations import cropping, plausibility, units, validation
from keras_landmarks.annotations.cropping import FaceCrop
from keras_landmarks.annotations.face import (
    NO_POINTS,
    AnnotatedFace,
    Annotations,
    describe_point,
)
from keras_landmarks.annotations.reading import read_annotations
from keras_landmarks.contest import (
    checking,
    grouping,
    invalid_samples,
    landmark_tables,
    table_files,
)
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.images import decoding
from keras_landmarks.images.geometry import bounding_boxes
from keras_landmarks.layouts import gaps, layout, mirror_estimation, standard_layouts
from keras_landmarks.utils.chunks import evenly_spread
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import write_json
from keras_landmarks.utils.folders import atomic_folder
from keras_landmarks.utils.parallel import parallel_map
from keras_landmarks.utils.progress import progress

_Faces = Sequence[AnnotatedFace | InvalidSample]
# Roboflow exports several changed copies of a photo, a.jpg, as a_jpg.rf.<digits>.jpg.
_ROBOFLOW_COPY = re.compile(r"\.rf\.[0-9a-zA-Z]{16,}(?=\.\w+$)")


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
    """Writes the faces of `source` as `data`/`split`; the command's --help lists the files.

    Args:
        source: a file or folder of annotations.
        data: the data folder.
        split: the split to write.
        source_format: a key of `annotations.reading.READERS`, or "auto".
        photos: the folder that the photos' names are relative to; None for that of the annotations.
        face_share: the share of a crop's width and height that the face takes; 0 for whole photos.
        processes: the number of worker processes; None for all cores.
        points_unit: "pixel", "share" (0 to 1 of the photo's width and height), "percent", or
            "auto": pixels, and an error if the landmarks look like one of the others, or the unit
            that the format prescribes.

    Returns:
        data, split, the numbers of faces, points of a face, rejected faces and missing points of
        all faces, and whether a mirror map is known, by name.

    Raises:
        InputError: the split exists; the annotations cannot be read; no face can be used; the
            numbers cannot be landmarks; they are other landmarks than those in `data`; or `data`
            has none yet and a point is missing in all faces.
    """
    folder = data / split
    if folder.exists():
        raise InputError(f"{folder}: it exists already; remove it, or give another --split")
    is_photos_given = photos is not None
    photos = photos or (source if source.is_dir() else source.parent)
    if not photos.is_dir():
        raise InputError(f"{photos}: no such folder; --photos says where the photos are")
    annotations = read_annotations(source, source_format, photos)
    if annotations.ignored:
        logging.info("Not used: %s", ", ".join(annotations.ignored)[:200])
    points_unit = _choose_unit(source, annotations.unit, points_unit)
    annotations = _order_as_layout(source, annotations, data / layout.FILE_NAME)
    faces = _without_placeholders(source, list(annotations.faces))
    faces = list(validation.validate_faces(faces, photos))
    is_new = not _has_landmarks(data)
    num_landmarks, names = _check_landmarks(source, faces, annotations, points_unit, is_new)
    if num_landmarks:
        _check_same_landmarks(data, num_landmarks, names, source)
    faces, face_share = _choose_crops(faces, face_share)
    crop = functools.partial(cropping.crop_face, photos, face_share, points_unit)
    crops = parallel_map(crop, faces, processes)
    with _removed_if_new(data), atomic_folder(folder) as partial:
        crops = progress(crops, "cropping", "faces", len(faces))
        written, invalid = _write_faces(partial, faces, crops)
        if not written:
            raise InputError(_describe_failure(source, invalid, is_photos_given))
        _check_photo_sizes(source, written, points_unit)
        num_missing = _count_gaps([crop.landmarks_photo_px for crop in written])
        if is_new:
            _check_all_placed(source, num_missing, len(written), names)
    known = _write_layout(data / layout.FILE_NAME, _crop_landmarks(written), names)
    if invalid:
        logging.warning("faces that cannot be used: %d (%s)", len(invalid), _summarise(invalid))
    _warn_of_gaps(num_missing, len(written), names)
    return {
        "data": str(data),
        "split": split,
        "faces": len(written),
        "points": num_landmarks,
        "rejected": len(invalid),
        "missing_points": int(num_missing.sum()),
        "mirror": "mirror" in known,
    }


# ── all faces together ──


def _choose_unit(source: Path, prescribed: str | None, requested: str) -> str:
    """Returns the unit of the points; InputError if the format prescribes another one."""
    if prescribed and requested not in ("auto", prescribed):
        raise InputError(f"{source}: its points are in {prescribed}; leave out --points_unit")
    return prescribed or requested


def _order_as_layout(source: Path, annotations: Annotations, path: Path) -> Annotations:
    """Returns the annotations with their points in the order of the layout in `path`.

    That is done only where the annotations have no order of their own and the layout has their
    names. Points that only the layout has are missing in all faces.

    Raises:
        InputError: the layout has some of the names, but not all.
    """
    ordered = layout.names_of(layout.read_if_exists(path), path)
    names = list(annotations.names or [])
    if annotations.is_ordered or not set(names) & set(ordered):
        return annotations
    if others := [name for name in names if name not in ordered]:
        raise InputError(
            f"{source}: {path} has no point {', '.join(others)[:80]}; rename or remove it, or give"
            " another --data"
        )
    indices = [names.index(name) if name in names else len(names) for name in ordered]

    def reorder(face: AnnotatedFace | InvalidSample) -> AnnotatedFace | InvalidSample:
        if isinstance(face, InvalidSample):
            return face
        padded = np.concatenate([face.landmarks, np.full((1, 2), np.nan)])
        return face._replace(landmarks=padded[indices])

    return annotations._replace(faces=map(reorder, annotations.faces), names=ordered)


def _without_placeholders(source: Path, faces: _Faces) -> _Faces:
    """Returns the faces in which landmarks at exactly (0, 0) or (-1, -1) are missing.

    Many programs write these for a landmark without a place. A single one may be a real place.
    """
    found = [
        gaps.are_placeholders(face.landmarks) if isinstance(face, AnnotatedFace) else np.array(0)
        for face in faces
    ]
    if (total := sum(int(points.sum()) for points in found)) < 2:
        return faces
    logging.warning(
        "%s: %d points at exactly (0, 0) or (-1, -1), of %d faces, are taken as missing",
        *(source, total, sum(points.any() for points in found)),
    )
    return [
        _remove_points(face, points) if points.any() else face
        for face, points in zip(faces, found, strict=True)
    ]


def _remove_points(face: AnnotatedFace, points: np.ndarray) -> AnnotatedFace | InvalidSample:
    if points.all():
        return InvalidSample(face.photo, face.row, NO_POINTS)
    return face._replace(landmarks=np.where(points[:, None], np.nan, face.landmarks))


def _check_landmarks(
    source: Path, faces: _Faces, annotations: Annotations, unit: str, is_new: bool
) -> tuple[int, Sequence[str] | None]:
    """Returns the number of landmarks of a face, and their names if there are as many.

    Raises:
        InputError: the numbers of all faces taken together cannot be landmarks in this unit; or
            `is_new`, whether the data folder has no landmarks yet, and a point is in no face.
    """
    usable = [face.landmarks for face in faces if isinstance(face, AnnotatedFace)]
    if not usable:
        return 0, None
    landmarks = np.stack(usable)
    num_landmarks = landmarks.shape[1]
    if unit == "auto" and units.look_like_shares(landmarks):
        raise InputError(
            f"{source}: all coordinates are about 0 to 1, so they are not pixels; if they are"
            " shares of the photo's width and height, give --points_unit=share"
        )
    names = annotations.names
    names = names if names and len(names) == num_landmarks else None
    if is_new:
        _check_all_placed(source, _count_gaps(landmarks), len(landmarks), names)
    # Formats with a unit leave no doubt about which numbers are points.
    if annotations.unit is None and (problem := plausibility.find_problem(landmarks, names)):
        raise InputError(
            f"{source}: {problem}; write a table whose header names x and y of each point"
        )
    return num_landmarks, names


def _check_same_landmarks(
    data: Path, num_landmarks: int, names: Sequence[str] | None, source: Path
) -> None:
    """Raises InputError if the layout or another split in `data` has other landmarks."""
    hint = "; give another --data"
    for table in sorted(data.glob("[!.]*/landmarks.csv")):
        if (count := landmark_tables.count_points(table)) != num_landmarks:
            raise InputError(f"{source} has {num_landmarks} points, {table} has {count}{hint}")
    path = data / layout.FILE_NAME
    known = layout.read_if_exists(path)
    earlier = layout.names_of(known, path) or known.get("mirror") or []
    if earlier and len(earlier) != num_landmarks:
        raise InputError(f"{source} has {num_landmarks} points, {path} has {len(earlier)}{hint}")
    if not (
        names
        and standard_layouts.are_descriptive(names)
        and standard_layouts.are_descriptive(earlier)
    ):
        return
    for point, (name, other) in enumerate(zip(names, earlier, strict=True)):
        if name != other:
            raise InputError(f"{source}: point {point} is {name!r}, but {other!r} in {path}{hint}")


def _has_landmarks(data: Path) -> bool:
    """Whether a data folder has a layout or a split, which say what its landmarks are."""
    return (data / layout.FILE_NAME).exists() or any(data.glob("[!.]*/landmarks.csv"))


def _count_gaps(landmarks: Sequence[np.ndarray]) -> np.ndarray:
    """Returns in how many faces, of (k, 2) points each, every point is missing, (k,) int64."""
    return np.isnan(landmarks).any(axis=2).sum(axis=0)


def _check_all_placed(
    source: Path, gaps: np.ndarray, num_faces: int, names: Sequence[str] | None
) -> None:
    """Raises InputError if a point is missing in all faces."""
    for point in np.flatnonzero(gaps == num_faces).tolist():
        raise InputError(
            f"{source}: {describe_point(point, names)} is missing in all {num_faces} faces;"
            " leave it out of the annotations, or annotate it in some"
        )


def _check_photo_sizes(source: Path, crops: Sequence[FaceCrop], unit: str) -> None:
    """Raises InputError if landmarks look like percent; warns if they are of larger photos."""
    landmarks = [crop.landmarks_photo_px for crop in crops]
    sizes_px = [crop.photo_size_px for crop in crops]
    boxes = map(bounding_boxes, landmarks)
    checking.warn_of_other_size(source, list(map(checking.extends_beyond, boxes, sizes_px)))
    if unit == "auto" and units.look_like_percent(landmarks, sizes_px):
        raise InputError(
            f"{source}: all coordinates are 0 to 100, in photos that are larger; give"
            " --points_unit=percent if they are percent of the photo's width and height, or"
            " --points_unit=pixel"
        )


def _choose_crops(faces: _Faces, face_share: float) -> tuple[_Faces, float]:
    """Returns the faces and the share to crop them by, which is 0 if none has an extent."""
    if face_share and any(map(cropping.has_extent, faces)):
        return faces, face_share
    whole = list(validation.reject_shared_photos(faces))
    if face_share and any(isinstance(face, AnnotatedFace) for face in faces):
        logging.warning(
            "faces of fewer than 3 points have no extent, and there are no boxes:"
            " the photos are not cropped"
        )
    return whole, 0


# ── writing ──


@contextlib.contextmanager
def _removed_if_new(folder: Path) -> Iterator[None]:
    """Removes `folder` if the block fails, it is empty, and it did not exist before."""
    is_new = not folder.exists()
    try:
        yield
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _write_faces(
    folder: Path, faces: _Faces, crops: Iterable[FaceCrop | InvalidSample]
) -> tuple[list[FaceCrop], list[InvalidSample]]:
    """Writes the images and tables of a split; returns the crops, without JPEGs, and the rest."""
    images = folder / "images"
    images.mkdir(parents=True)
    written, rows, invalid = [], [], []
    for face, crop in zip(faces, crops, strict=True):
        if isinstance(crop, InvalidSample):
            invalid.append(crop)
            continue
        name = f"face_{len(written):06d}.jpg"
        (images / name).write_bytes(crop.jpeg)
        written.append(crop._replace(jpeg=b""))
        rows.append((name, face.photo, face.id or str(face.row), *map(str, crop.offset_px)))
    if written:
        names, photos = ([row[column] for row in rows] for column in (0, 1))
        landmark_tables.write_landmarks(folder / "landmarks.csv", names, _crop_landmarks(written))
        originals = [_ROBOFLOW_COPY.sub("", photo) for photo in photos]
        grouping.write_group_table(folder / grouping.SOURCES_FILE, "photo", names, originals)
        columns = ("file_name", "photo", "annotation", "x0", "y0")
        table_files.write_rows(folder / "crops.csv", columns, rows)
    if invalid:
        invalid_samples.write_invalid_samples(folder / "rejects.csv", invalid)
    return written, invalid


def _crop_landmarks(crops: Sequence[FaceCrop]) -> list[np.ndarray]:
    """Returns the landmarks of each face, (k, 2), in pixels of its crop; NaN where missing."""
    return [crop.landmarks_photo_px - crop.offset_px for crop in crops]


def _write_layout(
    path: Path, landmarks_crop_px: Sequence[np.ndarray], names: Sequence[str] | None
) -> dict:
    """Writes what is known about the landmarks, unless there is a layout; returns its contents.

    What is known by the number or names of the landmarks is left out if it does not fit the faces.
    """
    if path.exists():
        return layout.read(path)
    known = standard_layouts.describe(len(landmarks_crop_px[0]), names)
    if "mirror" in known:
        rows = evenly_spread(len(landmarks_crop_px), mirror_estimation.MAX_FACES)
        sample = np.stack([landmarks_crop_px[row] for row in rows])
        try:
            mirror_estimation.check_map(
                sample, np.array(known["mirror"]), "the map known for such points"
            )
        except InputError as error:
            logging.warning("layout.json gets no regions and no mirror map: %s", error)
            known = {"points": list(names)} if names else {}
    if known:
        write_json(path, known)
    return known


# ── messages ──


def _warn_of_gaps(gaps: np.ndarray, num_faces: int, names: Sequence[str] | None) -> None:
    if gaps.any():
        often = describe_point(int(gaps.argmax()), names)
        where = f"{often} in {gaps.max()} of {num_faces} faces"
        logging.warning("missing points: %d, most often %s", gaps.sum(), where)
    if never := np.flatnonzero(gaps == num_faces).tolist():
        described = ", ".join(describe_point(point, names) for point in never)
        logging.warning("points that are missing in all faces: %s", described[:200])


def _summarise(invalid: Sequence[InvalidSample]) -> str:
    """Returns the number of faces by reason, the most frequent first."""
    counts = Counter(sample.kind for sample in invalid)
    return ", ".join(f"{kind}: {count}" for kind, count in counts.most_common())


def _describe_failure(source: Path, invalid: Sequence[InvalidSample], is_photos_given: bool) -> str:
    """Returns why no face can be used, with the first as an example."""
    if not invalid:
        return f"{source}: there is no face in it"
    first = invalid[0]
    example = table_files.printable(f"{first.file_name}, row {first.line}: {first.reason}")
    is_photo_missing = any(sample.kind == decoding.NO_FILE for sample in invalid)
    hint = (
        "; --photos says where the photos are" if is_photo_missing and not is_photos_given else ""
    )
    return f"{source}: no face can be used: {_summarise(invalid)}; the first is {example}{hint}"
