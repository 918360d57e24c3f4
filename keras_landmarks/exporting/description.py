"""What a program must know to use an exported network: the contents of landmarks.json.

`HOW_TO` explains its keys in words, for whoever writes such a program, and is part of it.
"""

import importlib.metadata
from pathlib import Path

import numpy as np

from keras_landmarks.images.face_crops import CONTEST_CROPPING
from keras_landmarks.images.geometry import bounding_boxes
from keras_landmarks.layouts import layout, mirror
from keras_landmarks.models import registry
from keras_landmarks.models.spec import FILE_NAME as MODEL_FILE
from keras_landmarks.models.spec import ModelSpec
from keras_landmarks.models.weight_files import EMBEDDED

FILE_NAME = EMBEDDED  # model files hold it, too
HOW_TO = {
    "input": "image: (N, height, width, 3) float32, RGB from 0 to 255; LiteRT takes one image at a"
    " time. The network itself normalises: (pixels / 255 - pixel_mean) / pixel_std.",
    "trim_bands": "If true, first cut off the rows and columns at the photo's edges that have no"
    " value above 12 in any channel. A side that would lose more than half of its length keeps all"
    " of it.",
    "framing": "How a photo fills the input. crop: scaled by one factor until it covers the input,"
    " then the middle is cut out. stretch: each side is scaled to fit. pad: scaled by one factor"
    " until it fits inside, and centred on black. The sides of a scaled photo are whole pixels."
    " Scaling is OpenCV's. crop: resize(photo, size, INTER_AREA). stretch and pad: INTER_AREA to"
    " the smaller of the two widths and of the two heights, then INTER_LINEAR to the final size.",
    "output": "landmarks: (N, points, 2) float32, x before y, in pixels of the input image, where"
    " (0, 0) is the centre of the upper left pixel. With uncertainty, (N, points, 3): the third"
    " number is the natural logarithm of the variance v of each coordinate, in square pixels of the"
    " input. In photo pixels the standard deviation is sqrt(v / (scale of x * scale of y)).",
    "back_to_the_photo": "For each axis: photo = (input + 0.5 + start) / scale - 0.5 + corner."
    " scale: the scaled side divided by the photo's. start: pixels cut off the scaled photo, or"
    " minus the pixels of black before it. corner: pixels trimmed off the photo.",
    "mirror": "The partner of each point in a mirrored image: mirrored[i] = (width - 1 - x, y) of"
    " point mirror[i].",
    "regions": "The first and the last point of each region.",
    "face_box": "Where a face's points usually lie: left, top, right and bottom as fractions of the"
    " input's sides.",
    "cropping": "How to cut a face out of a larger photo before it is framed: from the centre of a"
    " box around the face, this many times the box's width or height to the left, up, right and"
    " down, with edges rounded to whole pixels and black beyond the photo. First use `box` with a"
    " face detector's box from brows to chin. Then use `points` with the bounding box of the points"
    " that were found, points beyond the first crop moved to its edge. This is for faces cropped as"
    " the contest's are; for others see face_box.",
}


def describe(spec: ModelSpec, landmarks_px: np.ndarray, layout_file: Path | None = None) -> dict:
    """Returns the contents of landmarks.json, which can also be used as a layout file.

    Args:
        spec: the model's.
        landmarks_px: its predictions for some faces, (N, num_landmarks, 2) in pixels of the input.
        layout_file: a layout with regions and a mirror map; None for those known for the number of
            landmarks.

    Raises:
        InputError: the layout file is missing or wrong.
    """
    mean, std = registry.NORMALISATIONS[spec.normalisation]
    regions = layout.regions_of(spec.num_landmarks, layout_file)
    mirror_map = mirror.resolve_map(spec.num_landmarks, layout_file, spec.mirror, MODEL_FILE)
    values = spec.to_json() | {
        "width": spec.crop_spec.width,
        "height": spec.crop_spec.height,
        "pixel_mean": mean,
        "pixel_std": std,
        "mirror": None if mirror_map is None else mirror_map.tolist(),
        "regions": layout.regions_to_json(regions),
        "face_box": _face_box(landmarks_px, [spec.crop_spec.width, spec.crop_spec.height]),
        "cropping": {name: list(reach) for name, reach in CONTEST_CROPPING._asdict().items()},
        "made_by": f"keras_landmarks {importlib.metadata.version('keras_landmarks')}",
    }
    return values | {"how_to": HOW_TO}


def _face_box(landmarks_px: np.ndarray, size_px: list[int]) -> list[float]:
    """Returns the mean bounding box of faces as fractions of the input's width and height.

    Pixel edges count: half a pixel is added because (0, 0) is the centre of a pixel.
    """
    corners = bounding_boxes(landmarks_px).mean(axis=0).reshape(2, 2)
    shares = (corners + 0.5) / size_px
    return shares.ravel().round(4).tolist()
