"""The points of every face in photos and videos, from Python:

from keras_landmarks import Landmarker

landmarker = Landmarker.load("work")
for faces in landmarker([photo]):
    for face in faces:
        face.landmarks_photo_px
for frame in landmarker.video("clip.mp4", smooth=True):
    for number, face in frame.faces.items():
        frame.time_s, number, face.landmarks_photo_px
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_landmarks.contest import labels, landmark_tables, listed_images, locations
from keras_landmarks.images import decoding, face_crops, video
from keras_landmarks.images.face_crops import CONTEST_CROPPING, Cropping
from keras_landmarks.images.face_detector import FaceDetector
from keras_landmarks.images.geometry import CropTransform, Region, rotate_back
from keras_landmarks.inference.following import Follower, Smoothing, VideoFrame, follow
from keras_landmarks.layouts import layout
from keras_landmarks.utils import compilation_cache
from keras_landmarks.utils.errors import InputError

if TYPE_CHECKING:  # Keras takes seconds to import
    from keras_landmarks.inference.predictor import Predictor

_LOGGER = logging.getLogger(__name__)  # absl's would bring absl's flags
# Photos to see the cropping by, evenly spaced over so many rows: a table may have gigabytes.
_MEASURED_PHOTOS, _MEASURED_ROWS = 100, 8192


@dataclass(frozen=True, eq=False)  # arrays have no single truth
class Face:
    """A face in a photo.

    Everything is in pixels of the photo, turned as its EXIF orientation says; (0, 0) is the middle
    of the upper left pixel. Box and points may lie beyond the photo.

    Attributes:
        box_photo_px: (4,) float32, left, top, right, bottom, as found: square, brows to chin.
        score: of the box, how likely it is a face, 0 to 1.
        landmarks_photo_px: (k, 2) float32, x and y of each point.
        sigmas_photo_px: (k,) float32, the standard deviation of each point's x and of its y; None
            unless the model was trained to tell it.
    """

    box_photo_px: np.ndarray
    score: float
    landmarks_photo_px: np.ndarray
    sigmas_photo_px: np.ndarray | None = None


class Landmarker:
    """Finds the faces in photos and videos and predicts the points of each.

    Attributes:
        points: how many each face has.
    """

    def __init__(
        self,
        predictor: "Predictor",
        detector: FaceDetector,
        cropping: Cropping = CONTEST_CROPPING,
        refine: bool = True,
        batch_size: int = 64,
    ):
        """Puts the parts together; `load` makes them."""
        self.points = predictor.spec.points
        self._predictor = predictor
        self._detector = detector
        self._cropping = cropping
        self._refine = refine
        self._batch_size = batch_size

    @classmethod
    def load(
        cls,
        workdir: str | Path,
        *,
        data: str | Path | None = None,
        refine: bool = True,
        tta: str = "none",
        mirror: str | None = None,
        min_score: float = 0.75,
        smallest_face: float = 0.03,
        batch_size: int = 64,
    ) -> "Landmarker":
        """Loads the model of a training's work directory; takes some seconds.

        The model is compiled once for each number of faces predicted together, rounded up to a
        power of two. What is compiled is kept for other processes in ~/.cache/keras_landmarks/xla,
        unless JAX has a compilation cache, or has it turned off, already.

        Args:
            workdir: with model.json and best.weights.h5.
            data: the folder that the model was trained on: faces are cropped as its training photos
                are. Without, as the contest's.
            refine: crop each face a second time, by the points found in the first crop.
            tta: none, mirror, crops or "mirror,crops": predict several views, take the mean.
            mirror: the mirror map of a model that was trained without: contest, or a JSON file.
            min_score: from which score on, 0 to 1, a face counts.
            smallest_face: width of the smallest face to look for, as a share of the longer side.
            batch_size: faces to predict at once, at most.

        Raises:
            InputError: Keras runs on another backend than JAX, there is no such model, no mirror
                map, no photos in `data` or photos of another number of points, or the points are
                not the contest's and there is no `data`.
            TypeError: what should be a number is none.
            ValueError: `tta`, `min_score`, `smallest_face` or `batch_size` is none that there is.
        """
        from keras_landmarks.inference.predictor import Predictor

        _check_numbers(min_score=min_score, smallest_face=smallest_face, batch_size=batch_size)
        if batch_size != int(batch_size) or batch_size < 1:
            raise ValueError(f"batch_size={batch_size} is not 1 or more")
        compilation_cache.use_unless_set()
        predictor = Predictor(Path(workdir), tta, mirror)
        detector = FaceDetector(min_score, smallest_face)
        points = predictor.spec.points
        cropping = measure_cropping(Path(data), detector, points) if data else CONTEST_CROPPING
        if refine and not data and points != layout.CONTEST_POINTS:
            raise InputError(
                f"{workdir}: {points} points, not the contest's; give --data, the"
                " photos that the model was trained on, so that faces are cropped alike"
            )
        return cls(predictor, detector, cropping, refine, int(batch_size))

    def __call__(self, images: Sequence[np.ndarray | str | Path]) -> list[list[Face]]:
        """Returns the faces of each photo, the largest first; an empty list where there is none.

        Args:
            images: photos, (H, W, 3) uint8 RGB, or the paths of JPEG or PNG files.

        Raises:
            InputError: a file, named, cannot be read.
            TypeError: `images` is a single photo or path, or one of them is no photo.
            ValueError: a photo is empty.
        """
        is_single = isinstance(images, (str, Path)) or getattr(images, "ndim", 4) != 4
        if is_single or not isinstance(images, Iterable):
            raise TypeError(
                f"images must be a list, not {_kind(images)}; put a single photo or path into [ ]"
            )
        photos = list(map(_as_photo, images))
        found = [
            (owner, *face)
            for owner, photo in enumerate(photos)
            for face in zip(*self._detector(photo), strict=True)
        ]
        uprights = [_upright(photos[owner], box, turn) for owner, box, _, turn in found]
        predicted = self._predict(*zip(*uprights, strict=True)) if found else []
        faces = [[] for _ in photos]
        for (owner, box, score, turn), of_face in zip(found, predicted, strict=True):
            points = rotate_back(of_face[:, :2], turn, photos[owner].shape[1::-1])
            sigmas = of_face[:, 2] if of_face.shape[1] == 3 else None
            faces[owner].append(Face(box, float(score), np.float32(points), sigmas))
        return faces

    def video(
        self,
        path: str | Path,
        *,
        smooth: bool = False,
        min_cutoff: float = Smoothing().min_cutoff_hz,
        beta: float = Smoothing().beta,
    ) -> Iterator[VideoFrame]:
        """Yields the frames of a video, with their faces by numbers that they keep.

        Args:
            path: of the file.
            smooth: steady the faces, by a one-euro filter.
            min_cutoff: of it: cutoff of points at rest, Hz; less steadies more.
            beta: of it: Hz that the cutoff rises at a speed of one face a second; more lags less.

        Raises:
            InputError: the file cannot be read.
        """
        try:
            clip = video.Video(Path(path))
        except video.UnreadableError as error:
            raise InputError(f"{path}: {error}") from None
        smoothing = Smoothing(min_cutoff, beta) if smooth else None
        return follow(clip, self, Follower(clip.frames_per_s, smoothing))

    def _predict(self, photos: Sequence[np.ndarray], boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Returns the points of the face in each photo's box: (n, k, 2 or 3), as Predictor does."""
        regions = [face_crops.crop_region(box, self._cropping.box) for box in boxes]
        predicted = self._predict_regions(photos, regions)
        if not self._refine:
            return predicted
        # Within the first crop, lest one point that is far off makes a huge second one.
        limits = np.reshape(regions, (-1, 2, 1, 2))
        inside = predicted[..., :2].clip(limits[:, 0], limits[:, 1])
        outlines = face_crops.outline(inside)
        regions = [face_crops.crop_region(box, self._cropping.points) for box in outlines]
        return self._predict_regions(photos, regions)

    def _predict_regions(self, photos: Sequence[np.ndarray], regions: list[Region]) -> np.ndarray:
        frame = self._predictor.spec.frame
        predicted = []
        for start in range(0, len(regions), self._batch_size):
            rows = slice(start, start + self._batch_size)
            pairs = zip(photos[rows], regions[rows], strict=True)
            framed = [face_crops.frame_region(*pair, frame) for pair in pairs]
            # The model is compiled for every number of crops: so for few numbers only.
            count = len(framed)
            framed += framed[-1:] * (_next_power_of_2(count) - count)
            crops, framings = zip(*framed, strict=True)
            framing = CropTransform(*map(np.stack, zip(*framings, strict=True)))
            predicted.append(self._predictor(np.stack(crops), framing)[:count])
        return np.concatenate(predicted)


def measure_cropping(data: Path, detector: FaceDetector, points: int) -> Cropping:
    """Returns how the training photos of a folder in the contest's form are cut around faces.

    Raises:
        InputError: the folder has no such photos, their faces have not as many `points`, or faces
            are found in too few of them.
    """
    table = data / "train" / "landmarks.csv"
    folder = locations.find_image_folder(data, "train")
    # The outline of other points would crop elsewhere, and nothing would show it.
    if (there := landmark_tables.count_points(table)) != points:
        raise InputError(f"{table}: {there} points, the model has {points}")
    return face_crops.measure(_some_photos(table, folder), detector, str(folder))


def _some_photos(table: Path, folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields photos and their points, evenly spaced over the table's first rows.

    Broken rows and photos are left out; the log has how many there are.
    """
    first = labels.read(table, limit=_MEASURED_ROWS)
    rows = range(0, len(first.file_names), max(1, len(first.file_names) // _MEASURED_PHOTOS))
    broken = []
    for row in rows:
        try:
            photo = listed_images.read_listed_image(folder, first.file_names[row])
        except ValueError as error:
            broken.append(f"{folder / first.file_names[row]}: {error}")
            continue
        yield photo, first.points[row].astype(np.float32)
    if broken:
        _LOGGER.warning(
            "%s; %d of %d photos cannot be used and are skipped", broken[0], len(broken), len(rows)
        )


def _as_photo(image: np.ndarray | str | Path) -> np.ndarray:
    if isinstance(image, (str, Path)):
        try:
            return decoding.read_photo(image)
        except ValueError as error:
            raise InputError(f"{image}: {error}") from None
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape[2:] != (3,):
        given = f"{_kind(image)}{_advice(image)}"
        raise TypeError(f"a photo is an array (H, W, 3) uint8, RGB, or a path; not {given}")
    if not image.size:
        raise ValueError(f"a photo without pixels: {image.shape}")
    return image


def _kind(image: Any) -> str:
    """Returns in words what was given for a photo."""
    is_array = isinstance(image, np.ndarray)
    return f"{image.dtype} {image.shape}" if is_array else type(image).__name__


def _advice(image: Any) -> str:
    """Returns how to make a photo of what is nearly one, for an error."""
    shape, dtype = getattr(image, "shape", ()), getattr(image, "dtype", None)
    if dtype != np.uint8 and shape[2:] == (3,):
        return "; of values from 0 to 1 (255 * image).astype(np.uint8) makes one"
    if len(shape) == 2 or shape[2:] == (1,):
        return "; cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) makes one"
    return "; cv2.cvtColor(image, cv2.COLOR_RGBA2RGB) makes one" if shape[2:] == (4,) else ""


def _check_numbers(**options: Any) -> None:
    for name, value in options.items():
        if not isinstance(value, Real):
            raise TypeError(f"{name}={value!r} is no number")


def _upright(photo: np.ndarray, box: np.ndarray, turn: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the photo turned so that the box's face is upright, and the box in it."""
    turned = np.rot90(photo, turn)
    corners = rotate_back(box.reshape(2, 2), -turn % 4, turned.shape[1::-1])
    return turned, np.concatenate([corners.min(axis=0), corners.max(axis=0)])


def _next_power_of_2(number: int) -> int:
    return 1 << (number - 1).bit_length()
