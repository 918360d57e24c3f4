"""Predicts the landmarks of every face in photo and video files: the work of `landmarks`."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from absl import logging

from keras_landmarks.contest import table_files
from keras_landmarks.images import video
from keras_landmarks.inference.annotation_files import (
    ANNOTATIONS,
    OUTPUTS,
    WRITERS,
    Predictions,
    write_annotations,
)
from keras_landmarks.inference.face_tables import ImageFaces, can_head_columns
from keras_landmarks.inference.input_files import list_input_files
from keras_landmarks.inference.landmarker import Landmarker
from keras_landmarks.inference.photo_files import NO_FACE, predict_photos
from keras_landmarks.inference.videos.smoothing import Smoothing
from keras_landmarks.inference.videos.video_files import predict_videos
from keras_landmarks.models.packaged import display_name
from keras_landmarks.settings import TABLES_ALONE, LandmarksSettings
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.folders import atomic_folder, finish_replacing

_DEFAULT_SETTINGS = LandmarksSettings()
_SKIPPED = "skipped.csv"
_OUTPUTS = {"landmarks.csv", "landmarks.json", "pictures", "videos", _SKIPPED}
_OUTPUTS |= OUTPUTS
_LINKED_FOLDER = "a link to a folder; name the folder itself"


def predict_files(
    paths: Iterable[str | Path],
    workdir: str | Path,
    out: Path,
    settings: LandmarksSettings = _DEFAULT_SETTINGS,
) -> dict:
    """Predicts the landmarks of every face in photos and videos, and writes them into a folder.

    Args:
        paths: photos, videos, and folders, of which all files but hidden ones are read.
        workdir: the model, as `Landmarker.load` takes it.
        out: the folder to write. At the end it replaces the folder of an earlier run, unless that
            holds annotations.
        settings: how to detect, predict and draw.

    Returns:
        The number of readable photos, of faces, and the rate; the results of each video; how many
        photos and videos are `without_face`; how many files were `skipped`, entirely or partly; and
        the `model`.

    Raises:
        InputError: a path does not exist, no file is readable, `out` holds annotations or other
            files, there is no such model, or annotations cannot be written in the format.
    """
    finish_replacing(out.resolve())  # annotations of a run that was killed after writing all count
    _validate_output_folder(out)
    files, linked_folders = list_input_files(paths, out)
    videos = {name: files[name] for name in sorted(files) if _is_video(name)}
    photos = {name: path for name, path in files.items() if name not in videos}
    _validate_format(settings.format, bool(photos))

    landmarker = _load_landmarker(workdir, settings)
    smoothing = Smoothing(settings.min_cutoff, settings.beta) if settings.smooth else None
    names = _names_for_columns(landmarker) if settings.names else None

    with atomic_folder(out) as partial:
        results, skipped = {}, {}
        if photos:
            results, skipped = _predict_photos(
                photos, landmarker, settings, names, partial, out, display_name(workdir)
            )
        results["videos"], skipped_videos = predict_videos(
            videos, landmarker, partial / "videos", settings.draw, smoothing, names
        )
        skipped |= skipped_videos
        if not results.get("photos") and not results["videos"]:
            raise InputError(_none_readable(skipped, files))
        skipped |= dict.fromkeys(linked_folders, _LINKED_FOLDER)
        _write_skipped(partial / _SKIPPED, skipped)

    _log_skipped(skipped, out)
    without_face = list(skipped.values()).count(NO_FACE)
    counts = {"without_face": without_face, "skipped": len(skipped) - without_face}
    return results | counts | {"model": display_name(workdir), "out": str(out)}


def _predict_photos(
    photos: dict[str, Path],
    landmarker: Landmarker,
    settings: LandmarksSettings,
    names: Sequence[str] | None,
    partial: Path,
    out: Path,
    model: str,
) -> tuple[dict, dict[str, str]]:
    """Returns the results of `predict_photos`; writes annotations, too, if they are asked for."""
    if settings.format == TABLES_ALONE:
        return predict_photos(photos, landmarker, partial, settings.draw, names)
    images: list[ImageFaces] = []
    found = predict_photos(photos, landmarker, partial, settings.draw, names, images.append)
    labels = landmarker.point_names or list(map(str, range(landmarker.num_landmarks)))
    predictions = Predictions(images, photos, labels, model)
    write_annotations(settings.format, predictions, partial, out)
    return found


def _validate_format(name: str, has_photos: bool) -> None:
    """Raises InputError for --format=onnx, which is another command's, and for videos alone."""
    if name not in (TABLES_ALONE, *WRITERS):
        choices = ", ".join((TABLES_ALONE, *WRITERS))
        raise InputError(f"--format={name}: not of this command, which writes {choices}")
    if name != TABLES_ALONE and not has_photos:
        raise InputError(f"--format={name}: annotations are written of photos, and there is none")


def _validate_output_folder(out: Path) -> None:
    """Raises InputError if the folder, which will be replaced, is not that of an earlier run.

    It is kept, too, if it holds annotations, because people correct them where they are.
    """
    names = {path.name for path in out.glob("*")}
    is_earlier_run = not names or _SKIPPED in names
    if others := names - _OUTPUTS or (set() if is_earlier_run else names):
        raise InputError(f"{out}: holds {min(others)}; give a new folder as --out")
    if annotations := names & ANNOTATIONS:
        raise InputError(
            f"{out}: holds annotations ({min(annotations)}), which may have been corrected since;"
            " give another --out, or remove the folder"
        )


def _is_video(name: str) -> bool:
    return Path(name).suffix.lower() in video.SUFFIXES


def _load_landmarker(workdir: str | Path, settings: LandmarksSettings) -> Landmarker:
    return Landmarker.load(
        workdir,
        data=settings.data,
        two_pass=settings.two_pass,
        tta=settings.tta,
        mirror=settings.mirror,
        min_score=settings.min_score,
        smallest_face=settings.smallest_face,
    )


def _names_for_columns(landmarker: Landmarker) -> Sequence[str] | None:
    """Returns the points' names, unless there are none or they cannot head a table's columns."""
    names = landmarker.point_names
    if names is None or can_head_columns(names):
        return names
    logging.warning("the points' names would be misread as titles of columns; they get numbers")
    return None


def _none_readable(skipped: dict[str, str], files: dict[str, Path]) -> str:
    """Returns the error message that no file can be used, with the first file and its reason."""
    name, reason = next(iter(skipped.items()))
    how_many = f" ({len(files)} files, none can be used)" if len(files) > 1 else ""
    return f"{files[name]}: {reason}{how_many}"


def _write_skipped(table: Path, skipped: dict[str, str]) -> None:
    rows = sorted((table_files.printable(name), reason) for name, reason in skipped.items())
    table_files.write_rows(table, ("file_name", "reason"), rows)


def _log_skipped(skipped: dict[str, str], out: Path) -> None:
    """Logs one line for each reason, with the first of its files."""
    for reason in sorted(set(skipped.values())):
        names = sorted(name for name, its_reason in skipped.items() if its_reason == reason)
        more = f" and {len(names) - 1} more; {out / _SKIPPED} lists them" if names[1:] else ""
        logging.warning("%s: %s%s", reason, table_files.printable(names[0]), more)
