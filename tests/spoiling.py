"""Copies of images and wrong labels, made on purpose, for tests of what finds them."""

import cv2
import numpy as np

COPIES = ("recompressed", "resized", "mirrored", "cropped", "all")


def jpeg(image, quality):
    """Returns the bytes of an (H, W, 3) RGB image as a JPEG."""
    options = [cv2.IMWRITE_JPEG_QUALITY, int(quality)]
    return cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), options)[1].tobytes()


def copy_of(image, how, rng):
    """Returns a JPEG of the image, spoiled as one of COPIES says, or in all these ways at once."""
    everything = how == "all"
    if everything or how == "cropped":
        image = _cropped(image, rng)
    if everything or how == "mirrored":
        image = image[:, ::-1]
    if everything or how == "resized":
        scale = rng.uniform(0.5, 1.5)
        how_scaled = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=how_scaled)
    return jpeg(image, rng.uniform(30, 95) if everything or how == "recompressed" else 95)


def _cropped(image, rng):
    """5 % of each side less: all at one end, or 5 % at each end."""
    height, width = image.shape[:2]
    if rng.random() < 0.5:
        top, bottom, left, right = [0.05] * 4
    else:
        top, left = rng.choice([0, 0.05], 2)
        bottom, right = 0.05 - top, 0.05 - left
    rows = slice(round(top * height), height - round(bottom * height))
    return image[rows, round(left * width) : width - round(right * width)]


def shifted(landmarks_px, rng, least=0.1, most=0.3):
    """Moves (k, 2) points by `least` to `most` of the face's size in a random direction."""
    size = np.sqrt(np.prod(np.ptp(landmarks_px.astype(float), axis=0)))
    angle = rng.uniform(0, 2 * np.pi)
    shift = rng.uniform(least, most) * size * np.array([np.cos(angle), np.sin(angle)])
    return landmarks_px + np.rint(shift).astype(landmarks_px.dtype)
