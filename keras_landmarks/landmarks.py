"""Finds the faces in your own photos and videos and predicts the points of each.

    python -m keras_landmarks.landmarks photo.jpg folder/ clip.mp4 --workdir=work --out=found

Writes under --out

    landmarks.csv      a row a face: file_name, face, box_x0, box_y0, box_x1, box_y1, the points
    landmarks.json     the same by photo, with the boxes' scores and, if the model tells how sure it
                       is of them, the points' standard deviations
    pictures/          the photos with their points; landmarks.json says which is whose
    videos/            of each video the same three; its table has a column more, the frame
    skipped.csv        photos and videos without a face, and what could not be used, wholly or in
                       part: file_name, reason

Photos are JPEG or PNG, whatever their names; videos end in .3g2 .3gp .asf .avi .flv .m2ts .m2v .m4v
.mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogv .ts .vob .webm .wmv. Folders are read with all that they
hold but hidden files and links to folders.

file_name is the path below the folder that all inputs share. Everything is in pixels of the photo,
turned as its EXIF orientation says; (0, 0) is the middle of the upper left pixel. Faces are counted
from 0, the largest first; in a video a face keeps its number. What is written of a photo or video
has its name and, where that is another's already (IMG_1 and IMG_1.jpg, A.jpg and a.jpg), a number.
Faces are cropped as the contest's photos are or, with --data, as the model's own training photos.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from absl import logging

from keras_landmarks import config
from keras_landmarks.contest import table_files
from keras_landmarks.images import video
from keras_landmarks.inference.following import Smoothing
from keras_landmarks.inference.landmarker import Landmarker
from keras_landmarks.inference.output_names import own_names
from keras_landmarks.inference.photo_files import NO_FACE, landmark_photos
from keras_landmarks.inference.video_files import landmark_video, outputs
from keras_landmarks.utils import compilation_cache
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import NameTooLongError, atomic_folder

_SKIPPED = "skipped.csv"
_LINKED = "a link to a folder; name the folder itself"
_WRITTEN = {"landmarks.csv", "landmarks.json", "pictures", "videos", _SKIPPED}


@dataclass(frozen=True)
class LandmarksSettings:
    """How faces are found and predicted: the values of the flags of these names."""

    data: str | None = None
    batch_size: int = 256
    refine: bool = True
    tta: str = "none"
    mirror: str | None = None
    min_score: float = 0.75
    smallest_face: float = 0.03
    draw: bool = True
    smooth: bool = False
    min_cutoff: float = 1.0
    beta: float = 30.0


FLAGS = config.use("workdir", "out", LandmarksSettings, "compilation_cache")


def main(paths: list[str]) -> dict:
    """Reads the flags, finds and predicts, returns the figures."""
    if not paths:
        raise InputError("name photos, folders or videos: landmarks photo.jpg folder/")
    smoothing = [name for name in ("min_cutoff", "beta") if FLAGS[name].present]
    if smoothing and not FLAGS.smooth:
        raise InputError(f"--{smoothing[0]}: without --smooth nothing is steadied")
    config.use_huge_pages()
    compilation_cache.use(FLAGS.compilation_cache)
    settings = config.read(LandmarksSettings)
    return landmarks(paths, Path(FLAGS.workdir), Path(FLAGS.out or "found"), settings)


def landmarks(
    paths: Iterable[str | Path],
    workdir: Path,
    out: Path,
    settings: LandmarksSettings = LandmarksSettings(),
) -> dict:
    """Predicts the points of every face in photos and videos, and writes them into `out`.

    Args:
        paths: photos, videos, and folders, all of whose files are taken but hidden ones.
        workdir: of the model.
        out: folder to write; what an earlier run wrote there is replaced at the end.
        settings: how.

    Returns:
        Figures: photos that could be read, faces, rate; frames and jitter of each video; how many
        of both are `without_face` and how many files were `skipped`, wholly or in part.

    Raises:
        InputError: a path does not exist, no file could be used, `out` holds something else, or
            there is no such model.
    """
    _check_is_own(out)
    files, linked = _list_files(paths, out)
    landmarker = _load(workdir, settings)
    with atomic_folder(out) as partial:
        figures, skipped = _landmark_files(files, landmarker, partial, settings)
        if not figures.get("photos") and not figures["videos"]:
            raise InputError(_why_none(skipped, files))
        skipped |= dict.fromkeys(linked, _LINKED)
        rows = sorted((table_files.printable(name), reason) for name, reason in skipped.items())
        table_files.write_rows(partial / _SKIPPED, ("file_name", "reason"), rows)
    _log_skipped(rows, out)
    without_face = sum(reason == NO_FACE for _, reason in rows)
    counts = {"without_face": without_face, "skipped": len(rows) - without_face}
    return figures | counts | {"out": str(out)}


def _check_is_own(out: Path) -> None:
    """Raises InputError if the folder holds what is not an earlier run's: it will be replaced."""
    names = {path.name for path in out.glob("*")}
    if others := names - _WRITTEN or (names if names and _SKIPPED not in names else None):
        raise InputError(f"{out}: holds {min(others)}; give a new folder as --out")


def _list_files(paths: Iterable[str | Path], out: Path) -> tuple[dict[str, Path], list[str]]:
    """Returns the files by their paths below the folder that all inputs share, and linked folders.

    What lies in `out` is not an input but what an earlier run wrote.
    """
    written = os.path.join(os.path.abspath(out), "")
    files, folders, linked = [], [], []
    for path in map(os.path.abspath, paths):
        if os.path.isdir(path):
            for parent, inner, names in os.walk(path):
                inner[:] = sorted(name for name in inner if not name.startswith("."))
                names = sorted(name for name in names if not name.startswith("."))
                files += [os.path.join(parent, name) for name in names]
                # Not followed: one may lead back, or out into all the disk.
                linked += filter(os.path.islink, (os.path.join(parent, name) for name in inner))
            folders.append(path)
        elif os.path.exists(path):
            files.append(path)
            folders.append(os.path.dirname(path))
        else:
            raise InputError(f"{path}: no such file or folder")
    files = [file for file in files if not file.startswith(written)]
    if not files:
        raise InputError(f"{', '.join(dict.fromkeys(folders))}: no files there")
    root = os.path.commonpath(folders)
    by_name = {os.path.relpath(file, root): Path(file) for file in files}
    return by_name, [os.path.relpath(folder, root) for folder in linked]


def _load(workdir: Path, settings: LandmarksSettings) -> Landmarker:
    return Landmarker.load(
        workdir,
        data=settings.data,
        refine=settings.refine,
        tta=settings.tta,
        mirror=settings.mirror,
        min_score=settings.min_score,
        smallest_face=settings.smallest_face,
        batch_size=settings.batch_size,
    )


def _landmark_files(
    files: dict[str, Path], landmarker: Landmarker, out: Path, settings: LandmarksSettings
) -> tuple[dict, dict[str, str]]:
    """Writes everything but the list of skipped files; returns figures, and who is skipped why."""
    videos = sorted(name for name in files if Path(name).suffix.lower() in video.SUFFIXES)
    photos = {name: path for name, path in files.items() if name not in set(videos)}
    figures, skipped = {}, {}
    if photos:
        figures, skipped = landmark_photos(photos, landmarker, out, settings.draw)
    figures["videos"] = {}
    smoothing = Smoothing(settings.min_cutoff, settings.beta) if settings.smooth else None
    own_name = own_names(videos, outputs)
    for name in videos:
        written = out / "videos" / own_name[name]
        of_video = name, files[name], landmarker, written, settings.draw, smoothing
        try:
            of_video = figures["videos"][name] = landmark_video(*of_video)
        except video.UnreadableError as error:
            skipped[name] = str(error)
            continue
        except NameTooLongError:
            skipped[name] = "the names of what would be written are too long; give it a shorter one"
            continue
        if "frames_expected" in of_video:
            skipped[name] = "{frames} of {frames_expected} frames can be read".format(**of_video)
        elif not of_video["faces"]:
            skipped[name] = NO_FACE
    return figures, skipped


def _why_none(skipped: dict[str, str], files: dict[str, Path]) -> str:
    name, reason = next(iter(skipped.items()))
    of_all = f" ({len(files)} files, none can be used)" if len(files) > 1 else ""
    return f"{files[name]}: {reason}{of_all}"


def _log_skipped(rows: list[tuple[str, str]], out: Path) -> None:
    for reason in sorted({why for _, why in rows}):
        first, *others = (name for name, why in rows if why == reason)
        more = f" and {len(others)} more; {out / _SKIPPED} lists them" if others else ""
        logging.warning("%s: %s%s", reason, first, more)


if __name__ == "__main__":
    config.run(main, takes_paths=True)
