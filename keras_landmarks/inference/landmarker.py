"""The landmarks of every face in photos and videos, for Python programs.

from keras_landmarks import Landmarker

landmarker = Landmarker.load()
for faces in landmarker([photo]):
    for face in faces:
        face.landmarks_photo_px
for frame in landmarker.video("clip.mp4", smooth=True):
    for number, face in frame.faces.items():
        frame.time_s, number, face.landmarks_photo_px
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from keras_landmarks.contest.point_names import find_names
from keras_landmarks.images import face_crops, video
from keras_landmarks.images.face_crops import CONTEST_CROPPING, Cropping, crop_faces
from keras_landmarks.images.face_detector import Detections, FaceDetector
from keras_landmarks.images.geometry import Region, bounding_boxes, rotate_back
from keras_landmarks.inference.face import Face
from keras_landmarks.inference.photo_arguments import as_photos
from keras_landmarks.inference.predictor import Predictor
from keras_landmarks.inference.runtimes import load_for_photos
from keras_landmarks.inference.training_cropping import measure_training_cropping
from keras_landmarks.inference.videos.smoothing import Smoothing
from keras_landmarks.inference.videos.video_tracking import VideoFrame, VideoTracker, track_video
from keras_landmarks.layouts import layout
from keras_landmarks.models.packaged import FACES
from keras_landmarks.settings import PhotoSettings, PredictionSettings
from keras_landmarks.utils import cores
from keras_landmarks.utils.errors import InputError


class Landmarker:
    """Detects the faces in photos and videos and predicts the landmarks of each.

    Threads may share an instance.

    Attributes:
        num_landmarks: the number of landmarks of a face.
        point_names: the names of the landmarks; None if they have none.
    """

    def __init__(
        self,
        predictor: Predictor,
        detector: FaceDetector,
        cropping: Cropping = CONTEST_CROPPING,
        two_pass: bool = PhotoSettings.two_pass,
        point_names: Sequence[str] | None = None,
    ):
        """Combines a model and a face detector; `load` creates both."""
        self.num_landmarks = predictor.spec.num_landmarks
        self.point_names = point_names
        self._predictor = predictor
        self._detector = detector
        self._cropping = cropping
        self._two_pass = two_pass

    @classmethod
    def load(
        cls,
        workdir: str | Path = FACES,
        *,
        data: str | Path | None = None,
        two_pass: bool = PhotoSettings.two_pass,
        tta: str = PredictionSettings.tta,
        mirror: str | None = None,
        min_score: float = PhotoSettings.min_score,
        smallest_face: float = PhotoSettings.smallest_face,
    ) -> "Landmarker":
        """Loads a trained model.

        Args:
            workdir: the name of a model that is part of the package, such as "@faces"; the work
                directory of a training run; or a model in one file, as `export` writes it with
                --format=safetensors.
            data: the contest folder that the model was trained on; faces are cropped like its
                training photos. By default, like the contest's photos.
            two_pass: crop each face a second time, around the landmarks predicted first.
            tta: test-time augmentation, the mean of several predictions: "none", "mirror",
                "crops" or "mirror,crops".
            mirror: the mirror map, for `tta` with "mirror", of a model that was trained without
                one: "contest" or the path of a JSON file.
            min_score: the detector's minimum confidence in a face, 0 to 1.
            smallest_face: width of the smallest face to detect, as a share of the photo's longer
                side.

        Raises:
            InputError: there is no such model or no mirror map; `data` has no training photos, or
                another number of landmarks; or the landmarks are not the contest's and there is no
                `data`.
            TypeError: a number is not one.
            ValueError: `tta`, `min_score` or `smallest_face` is out of range.
        """
        _validate_numbers(min_score=min_score, smallest_face=smallest_face)
        predictor = Predictor(*load_for_photos(workdir), tta, mirror)
        detector = FaceDetector(min_score, smallest_face)
        num_landmarks = predictor.spec.num_landmarks
        cropping = CONTEST_CROPPING
        if data:
            cropping = measure_training_cropping(Path(data), detector, num_landmarks)
        elif two_pass and num_landmarks != layout.CONTEST_POINTS:
            raise InputError(
                f"{workdir}: a model of {num_landmarks} points of its own, not the contest's; give"
                " --data, the folder with train/landmarks.csv that it was trained on, which shows"
                " how to crop faces"
            )
        names = predictor.spec.point_names
        if names is None and data:  # trained before model.json had names
            names = find_names(Path(data) / "train" / "landmarks.csv", num_landmarks)
        return cls(predictor, detector, cropping, two_pass, names)

    def __call__(self, images: Sequence[np.ndarray | str | Path]) -> list[list[Face]]:
        """Returns the faces of each photo, the largest first; an empty list where there is none.

        Args:
            images: photos, (H, W, 3) uint8 RGB, or the paths of files.

        Raises:
            InputError: a file, named, cannot be read.
            TypeError: `images` is a single photo or path, or one of them is not a photo.
            ValueError: a photo has no pixels.
        """
        photos = as_photos(images)
        detections = [
            (owner, *detection)
            for owner, found in enumerate(self._detect(photos))
            for detection in zip(*found, strict=True)
        ]
        upright = [_rotate_upright(photos[owner], box, turn) for owner, box, _, turn in detections]
        predicted = self._predict(*zip(*upright, strict=True)) if detections else []
        faces = [[] for _ in photos]
        for (owner, box, score, turn), values in zip(detections, predicted, strict=True):
            landmarks = rotate_back(values[:, :2], turn, photos[owner].shape[1::-1])
            sigmas = values[:, 2] if values.shape[1] == 3 else None
            face = Face(box, float(score), np.float32(landmarks), sigmas, self.point_names)
            faces[owner].append(face)
        return faces

    def video(
        self,
        path: str | Path,
        *,
        smooth: bool = False,
        min_cutoff: float = PhotoSettings.min_cutoff,
        beta: float = PhotoSettings.beta,
    ) -> Iterator[VideoFrame]:
        """Yields the frames of a video; a face keeps its number from frame to frame.

        Args:
            path: the video file.
            smooth: smooth the faces by a one-euro filter.
            min_cutoff: the filter's cutoff frequency for points at rest, Hz; a lower one smooths
                more.
            beta: how much the cutoff frequency rises, in Hz, at a speed of one face size per
                second; a higher one lags less.

        Raises:
            InputError: the file cannot be read.
        """
        try:
            clip = video.Video(Path(path))
        except video.UnreadableVideoError as error:
            raise InputError(f"{path}: {error}") from None
        smoothing = Smoothing(min_cutoff, beta) if smooth else None
        return track_video(clip, self, VideoTracker(clip.frames_per_s, smoothing))

    def _detect(self, photos: Sequence[np.ndarray]) -> list[Detections]:
        """Detects the faces of each photo, in as many threads as there are cores.

        One small network gains little from several cores.
        """
        if len(photos) < 2:
            return list(map(self._detector, photos))
        with ThreadPoolExecutor(cores.usable()) as pool:
            return list(pool.map(self._detector, photos))

    def _predict(self, photos: Sequence[np.ndarray], boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Predicts the face in each photo's box: (n, k, values_per_landmark), photo px."""
        regions = [face_crops.face_region(box, self._cropping.box) for box in boxes]
        predicted = self._predict_regions(photos, regions)
        if not self._two_pass:
            return predicted
        regions = [
            face_crops.region_of_points(points[:, :2], first_region, self._cropping.points)
            for points, first_region in zip(predicted, regions, strict=True)
        ]
        return self._predict_regions(photos, regions)

    def _predict_regions(self, photos: Sequence[np.ndarray], regions: list[Region]) -> np.ndarray:
        return self._predictor(*crop_faces(photos, regions, self._predictor.spec.crop_spec))


def _validate_numbers(**options: Any) -> None:
    for name, value in options.items():
        if not isinstance(value, Real):
            raise TypeError(f"{name}={value!r} is not a number")


def _rotate_upright(photo: np.ndarray, box: np.ndarray, turn: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns `np.rot90(photo, turn)`, in which the box's face is upright, and the box in it."""
    rotated = np.rot90(photo, turn)
    corners = rotate_back(box.reshape(2, 2), -turn % 4, rotated.shape[1::-1])
    return rotated, bounding_boxes(corners)
