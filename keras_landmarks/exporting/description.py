"""What a program must know to use an exported network: landmarks.json beside it.

It is a dict of JSON values; `HOW_TO` says in words what they mean, and is part of it.
"""

import dataclasses
import importlib.metadata
from pathlib import Path

import numpy as np

from keras_landmarks.images.face_crops import CONTEST_CROPPING
from keras_landmarks.layouts import layout, mirror
from keras_landmarks.models import networks
from keras_landmarks.models.spec import ModelSpec

FILE_NAME = "landmarks.json"
HOW_TO = {
    "input": "image: (N, height, width, 3) float32, RGB of 0 to 255; LiteRT takes one at a time."
    " Normalisation (pixels / 255, less the mean, over the deviation) is in the network.",
    "trim_bands": "If true, first cut off lines at the photo's edges without a value over 12 in any"
    " channel; but all of a side where that would take more than half of it stays.",
    "framing": "How a photo fills the input. crop: scaled by one factor until it covers it, the"
    " middle cut out. stretch: each side scaled to fit. pad: scaled by one factor until it is"
    " inside, in the middle, black around. A scaled photo's sides are whole pixels. Scaling is"
    " OpenCV's: crop resize(photo, size, INTER_AREA); stretch and pad the same to the smaller of"
    " both widths and of both heights, and from there resize(that, size, INTER_LINEAR).",
    "output": "landmarks: (N, points, 2) float32, x before y, in pixels of the input image, where"
    " (0, 0) is the middle of the upper left pixel. With uncertainty (N, points, 3): the third is"
    " the natural logarithm of the variance v of a coordinate, in those pixels squared; in the"
    " photo's its standard deviation is sqrt(v / (scale of x * scale of y)).",
    "back_to_the_photo": "For each axis: photo = (input + 0.5 + start) / scale - 0.5 + corner."
    " scale: the scaled side over the photo's; start: what was cut off the scaled photo (below 0:"
    " the black before it); corner: pixels trimmed.",
    "mirror": "Which point each becomes in a mirrored image: mirrored[i] = (width - 1 - x, y) of"
    " point mirror[i].",
    "regions": "Each region's first and last point.",
    "face_box": "Where a face's points lie as a rule: left, top, right, bottom as shares of the"
    " input's sides.",
    "cropping": "How a face is cut out of a larger photo, black beyond it, to be framed: as far"
    " from the middle of a box around it, left, up, right and down, as these numbers times the"
    " box's width or height, edges rounded to whole pixels. First `box`, brows to chin as a face"
    " detector finds it; then once more `points`, the outline of the points found first, those"
    " beyond the first crop moved to its edge. Only for faces cropped as the contest's are: for"
    " others see face_box.",
}


def describe(spec: ModelSpec, landmarks_px: np.ndarray, layout_file: Path | None = None) -> dict:
    """Describes a model, by what it predicts of some faces, (n, points, 2) in input pixels.

    Regions and mirror map are in the form of `--layout`, so what is returned is a layout, too.

    Raises:
        InputError: the layout's file is missing or wrong.
    """
    mean, std = networks.NORMALISATIONS[spec.normalisation]
    regions = layout.regions_of(spec.points, layout_file)
    mirror_map = mirror.known_map(spec.points, layout_file, spec.mirror, "model.json")
    facts = dataclasses.asdict(spec) | {
        "width": spec.frame.width,
        "height": spec.frame.height,
        "pixel_mean": mean,
        "pixel_std": std,
        "mirror": None if mirror_map is None else mirror_map.tolist(),
        "regions": layout.as_json(regions),
        "face_box": _face_box(landmarks_px, [spec.frame.width, spec.frame.height]),
        "cropping": {name: list(reach) for name, reach in CONTEST_CROPPING._asdict().items()},
        "made_by": f"keras_landmarks {importlib.metadata.version('keras_landmarks')}",
    }
    return facts | {"how_to": HOW_TO}


def _face_box(landmarks_px: np.ndarray, size_px: list[int]) -> list[float]:
    corners = [landmarks_px.min(axis=1), landmarks_px.max(axis=1)]
    shares = (np.stack(corners).mean(axis=1) + 0.5) / size_px
    return shares.ravel().round(4).tolist()
