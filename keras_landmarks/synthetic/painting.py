"""Paints the heads of `faces`: background, skin, hair, features, and the flaws of a camera.

Coordinates are canvas pixels unless stated otherwise; (0, 0) is the centre of the upper left one.
Colours are RGB. Functions named `_paint_...` paint on the canvas in place.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from keras_landmarks.layouts.layout import REGIONS

_SUBPIXEL_BITS = 4
_ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


@dataclass(frozen=True)
class PlacedHead:
    """A head with its position on the canvas.

    Attributes:
        points: (971, 2).
        surface: (rows, columns, 3) x, y and depth, which grows towards the viewer.
        project: maps (..., 3) head coordinates to (..., 3) x, y and depth.
    """

    points: np.ndarray
    surface: np.ndarray
    project: Callable[[np.ndarray], np.ndarray]

    def region(self, name: str) -> np.ndarray:
        """Returns the points of one of the layout's regions: (n, 2)."""
        return self.points[REGIONS[name]]

    def outline(self, upper: str, lower: str) -> np.ndarray:
        """Returns the closed outline between two regions that run in the same direction."""
        return np.concatenate([self.region(upper), self.region(lower)[::-1]])

    def at(self, x: float, y: float, z: float) -> np.ndarray:
        """Returns a point given in head coordinates: (2,)."""
        return self.project(np.array([x, y, z]))[:2]

    @property
    def unit(self) -> float:
        """Pixels per half face width, measured vertically, where foreshortening is small."""
        return np.linalg.norm(self.at(0, 1, 0) - self.at(0, 0, 0))

    def ellipse(self, centre: tuple[float, float, float], rx: float, ry: float) -> np.ndarray:
        """Returns an upright ellipse that is given in head coordinates: (24, 2)."""
        ring = np.pad(_CIRCLE * [rx, ry], ((0, 0), (0, 1))) + centre
        return self.project(ring)[:, :2]


@dataclass(frozen=True)
class _Palette:
    skin: np.ndarray
    hair: np.ndarray
    lips: np.ndarray
    iris: np.ndarray
    clothes: np.ndarray


def paint(rng: np.random.Generator, head: PlacedHead, size: tuple[int, int]) -> np.ndarray:
    """Paints a head on a canvas of `size` (width, height); returns (height, width, 3) uint8."""
    palette = _random_palette(rng)
    is_bald = rng.random() < 0.12
    canvas = _background(rng, size)
    if not is_bald:
        _paint_back_hair(rng, canvas, head, palette.hair)
    _paint_body(rng, canvas, head, palette)
    _paint_skull(canvas, head, palette.skin if is_bald else palette.hair)
    _paint_skin(rng, canvas, head, palette)
    _paint_ears(canvas, head, palette.skin)
    _paint_nose(canvas, head, palette.skin)
    _paint_mouth(rng, canvas, head, palette)
    for side in ("left", "right"):
        _paint_eye(canvas, head, side, palette)
        _fill(canvas, head.region(f"brow_{side}"), 0.75 * palette.hair)
    if not is_bald:
        _paint_front_hair(rng, canvas, head, palette.hair)
    if rng.random() < 0.2:
        _paint_glasses(rng, canvas, head)
    return canvas


def _random_palette(rng: np.random.Generator) -> _Palette:
    darkness = rng.random() ** 1.5
    skin = (1 - darkness) * np.array([236, 196, 168]) + darkness * np.array([92, 60, 44])
    skin = skin * rng.uniform(0.93, 1.07, 3)
    hairs = [[28, 22, 20], [66, 44, 30], [120, 78, 44], [196, 160, 100], [150, 70, 40], [170] * 3]
    irises = [[70, 42, 24], [60, 90, 130], [70, 100, 60], [40, 28, 20]]
    return _Palette(
        skin=skin,
        hair=np.array(rng.choice(hairs)) * rng.uniform(0.7, 1.15),
        lips=skin * rng.uniform([0.78, 0.42, 0.45], [1.0, 0.72, 0.75]),
        iris=np.array(rng.choice(irises)) * rng.uniform(0.8, 1.2),
        clothes=_muted_colours(rng, ()),
    )


def _muted_colours(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Returns random colours of low saturation: (*shape, 3) float64."""
    grey = rng.uniform(20, 235, (*shape, 1))
    return np.clip(grey + rng.normal(0, 30, (*shape, 3)), 0, 255)


def _background(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Returns a gradient with blobs and stripes, more or less out of focus."""
    width, height = size
    corners = _muted_colours(rng, (2, 2)).astype(np.uint8)
    scene = cv2.resize(corners, (width // 2, height // 2), interpolation=cv2.INTER_LINEAR)
    for _ in range(rng.integers(9)):
        at = rng.integers(0, scene.shape[1::-1]).tolist()
        to = rng.integers(0, scene.shape[1::-1]).tolist()
        colour = _muted_colours(rng, ()).tolist()
        match rng.integers(3):
            case 0:
                cv2.circle(scene, at, int(rng.integers(4, 40)), colour, -1)
            case 1:
                cv2.rectangle(scene, at, to, colour, -1)
            case 2:
                cv2.line(scene, at, to, colour, int(rng.integers(1, 10)))
    scene = cv2.GaussianBlur(scene, (0, 0), rng.uniform(0.6, 4))
    return cv2.resize(scene, size, interpolation=cv2.INTER_LINEAR)


def _paint_back_hair(
    rng: np.random.Generator, canvas: np.ndarray, head: PlacedHead, hair: np.ndarray
) -> None:
    """Long hair behind the neck, on some heads."""
    if rng.random() < 0.55:
        return
    width, end = rng.uniform(1.1, 1.45), rng.uniform(0.8, 2.6)
    corners = [(-1.1, -0.5), (-width, 0.6), (-width, end), (width, end), (width, 0.6), (1.1, -0.5)]
    outline = np.array([head.at(x, y, -0.4) for x, y in corners])
    _fill(canvas, outline, 0.8 * hair)


def _paint_body(
    rng: np.random.Generator, canvas: np.ndarray, head: PlacedHead, palette: _Palette
) -> None:
    """Neck and shoulders; they point straight down in every pose."""
    throat = head.at(0, 1.2, -0.2)
    neck = rng.uniform(0.55, 0.8)
    collar = rng.uniform(1.0, 1.4)
    neck_outline = np.array([[-neck, -0.5], [-neck, 2.5], [neck, 2.5], [neck, -0.5]])
    _fill(canvas, throat + neck_outline * head.unit, 0.72 * palette.skin)
    slope = rng.uniform(0.2, 0.6)
    right = np.array([[0, collar + 0.4], [neck, collar - 0.2], [4, collar + 3 * slope], [4, 9]])
    shirt = np.concatenate([right, right[::-1] * [-1, 1]])
    _fill(canvas, throat + shirt * head.unit, palette.clothes)


def _paint_skull(canvas: np.ndarray, head: PlacedHead, scalp: np.ndarray) -> None:
    """The back of the head, a sphere."""
    _fill(canvas, head.at(0, -0.2, -0.25) + 1.1 * head.unit * _CIRCLE, 0.85 * scalp)


def _paint_ears(canvas: np.ndarray, head: PlacedHead, skin: np.ndarray) -> None:
    across = head.at(1, 0, 0) - head.at(-1, 0, 0)
    for side in (-1, 1):
        beyond_temple = head.at(1.1 * side, 0.2, -0.25) - head.at(side, 0.2, 0)
        if side * beyond_temple @ across < 0:
            continue  # hidden behind the turned face
        for radius, tone in ((1, 0.8), (0.6, 0.65)):
            ear = head.ellipse((1.1 * side, 0.2, -0.25), 0.12 * radius, 0.27 * radius)
            _fill(canvas, ear, tone * skin)


def _paint_skin(
    rng: np.random.Generator, canvas: np.ndarray, head: PlacedHead, palette: _Palette
) -> None:
    light = _shading(rng, head.surface, canvas.shape[:2])
    inside = (light > 0).astype(np.float32)
    # Division by the blurred mask keeps the blurred light from darkening at the outline.
    blurred_inside = cv2.GaussianBlur(inside, (11, 11), 0) + 1e-3
    light = cv2.GaussianBlur(light, (11, 11), 0) / blurred_inside
    alpha = cv2.blur(inside, (3, 3))
    layers = _make_up(rng, head, palette, canvas.shape[:2])
    planes = cv2.split(canvas)  # several times faster than all channels at once
    for channel, plane in enumerate(planes):
        skin = np.full(light.shape, palette.skin[channel], np.float32)
        for colour, opacity in layers:
            skin += opacity * (np.float32(colour[channel]) - skin)
        plane[:] = plane + alpha * (np.minimum(skin * light, 255) - plane)
    cv2.merge(planes, canvas)


def _shading(rng: np.random.Generator, surface: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Returns Lambertian shading: float32 of `shape`, about 0.4 to 1.1, and 0 outside the head."""
    down = surface[1:, :-1] - surface[:-1, :-1]
    across = surface[:-1, 1:] - surface[:-1, :-1]
    normals = np.cross(across, down)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True) + 1e-6
    lamp = np.array([rng.uniform(-0.9, 0.9), rng.uniform(-0.8, 0.2), 1])
    lamp /= np.linalg.norm(lamp)
    ambient = rng.uniform(0.35, 0.6)
    light = 1.1 * (ambient + (1 - ambient) * np.maximum(0, normals @ lamp))

    corners = [surface[:-1, :-1], surface[:-1, 1:], surface[1:, 1:], surface[1:, :-1]]
    tiles = np.stack(corners, axis=2).reshape(-1, 4, 3)
    far_to_near = np.argsort(tiles[..., 2].mean(axis=1))
    outlines = _to_fixed_point(tiles[far_to_near, :, :2])
    shades = light.ravel()[far_to_near].tolist()
    shading = np.zeros(shape, np.float32)
    for outline, shade in zip(outlines, shades, strict=True):
        cv2.fillConvexPoly(shading, outline, shade, shift=_SUBPIXEL_BITS)
    return shading


def _make_up(
    rng: np.random.Generator, head: PlacedHead, palette: _Palette, shape: tuple[int, int]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns layers of colour over the skin, each with its opacity (height, width) in 0..1."""
    layers = []
    if rng.random() < 0.4:
        cheeks = [head.ellipse((x, 0.55, 0.5), 0.25, 0.2) for x in (-0.6, 0.6)]
        layers.append((palette.skin * [1.05, 0.7, 0.7], _soft_mask(cheeks, shape, 31, 0.6)))
    if rng.random() < 0.25:
        jaw = np.concatenate([head.region("jaw_left")[20:], head.region("jaw_right")[:19:-1]])
        under_nose = head.region("nose_left")[-1]
        moustache = 0.6 * head.region("lip_upper_outer")[::-1] + 0.4 * under_nose
        beard = np.concatenate([jaw, moustache])
        layers.append((0.8 * palette.hair, _soft_mask([beard], shape, 11, rng.uniform(0.3, 0.9))))
    if rng.random() < 0.15:
        spots = rng.uniform([-0.7, 0, 0.6], [0.7, 0.9, 0.8], (40, 3))
        freckles = [head.ellipse(tuple(spot), 0.018, 0.018) for spot in spots]
        layers.append((0.6 * palette.skin, _soft_mask(freckles, shape, 3, 0.7)))
    return layers


def _soft_mask(
    polygons: list[np.ndarray], shape: tuple[int, int], blur: int, opacity: float
) -> np.ndarray:
    """Returns a mask of blurred polygons; `blur` is the odd width of the kernel."""
    mask = np.zeros(shape, np.float32)
    for polygon in polygons:
        cv2.fillPoly(mask, [_to_fixed_point(polygon)], opacity, shift=_SUBPIXEL_BITS)
    return cv2.GaussianBlur(mask, (blur, blur), 0)


def _paint_nose(canvas: np.ndarray, head: PlacedHead, skin: np.ndarray) -> None:
    shadow = 0.55 * skin
    for side in ("left", "right"):
        outline = head.region(f"nose_{side}")
        _stroke(canvas, outline[28:50], shadow, 2)
        nostril = 0.6 * outline[55] + 0.4 * head.region("nose_midline")[50]
        _fill(canvas, nostril + _CIRCLE * [4.5, 2.5], 0.3 * skin)


def _paint_mouth(
    rng: np.random.Generator, canvas: np.ndarray, head: PlacedHead, palette: _Palette
) -> None:
    _fill(canvas, head.outline("lip_upper_outer", "lip_lower_outer"), palette.lips)
    _fill(canvas, head.outline("lip_upper_inner", "lip_lower_inner"), np.array([60, 18, 18]))
    upper, lower = head.region("lip_upper_inner"), head.region("lip_lower_inner")
    teeth = upper + rng.uniform(0.3, 0.7) * (lower - upper)
    _fill(canvas, np.concatenate([upper[3:-3], teeth[-4:2:-1]]), np.array([232, 226, 212]))


def _paint_eye(canvas: np.ndarray, head: PlacedHead, side: str, palette: _Palette) -> None:
    upper, lower = head.region(f"eye_{side}_upper"), head.region(f"eye_{side}_lower")
    pupil = head.region(f"pupil_{side}")
    radius = 0.26 * np.linalg.norm(upper[-1] - upper[0])
    opening = np.zeros(canvas.shape[:2], np.uint8)
    _fill(opening, head.outline(f"eye_{side}_upper", f"eye_{side}_lower"), 255)
    eyeball = np.full_like(canvas, 230)
    _fill(eyeball, pupil + radius * _CIRCLE, palette.iris)
    _fill(eyeball, pupil + 0.45 * radius * _CIRCLE, np.array([8, 8, 8]))
    cv2.copyTo(eyeball, opening, canvas)
    _stroke(canvas, upper, 0.25 * palette.skin, 2)
    _stroke(canvas, lower, 0.6 * palette.skin, 1)


def _paint_front_hair(
    rng: np.random.Generator, canvas: np.ndarray, head: PlacedHead, hair: np.ndarray
) -> None:
    """A cap between a wavy hairline near the upper oval and an arch over the crown."""
    oval = head.region("oval_upper")[::6]
    across = np.linspace(-1, 1, len(oval))
    wave = np.sin(rng.uniform(1, 4) * across + rng.uniform(0, 2 * np.pi))
    lift = (1 - across**4) * (rng.uniform(-0.1, 0.2) + rng.uniform(0, 0.15) * wave)
    hairline = oval + lift[:, None] * (head.at(0, -1, 0.5) - head.at(0, 0, 0.5))

    volume = rng.uniform(1.03, 1.25)
    angle = np.linspace(-0.05, 1.05, len(oval)) * np.pi
    arch = np.stack([-1.05 * np.cos(angle), -0.1 - 1.15 * np.sin(angle)], axis=1) * volume
    arch = head.project(np.pad(arch, ((0, 0), (0, 1))))[:, :2]
    _fill(canvas, np.concatenate([hairline, arch[::-1]]), hair)
    for root, tip in zip(arch[2:-2:2], hairline[2:-2:2], strict=True):
        _stroke(canvas, np.stack([root, tip]), rng.uniform(0.85, 1.15) * hair, 3)


def _paint_glasses(rng: np.random.Generator, canvas: np.ndarray, head: PlacedHead) -> None:
    colour = rng.uniform(0, 110, 3)
    rx, ry = rng.uniform(0.26, 0.36), rng.uniform(0.2, 0.28)
    for x in (-0.45, 0.45):
        rim = head.ellipse((x, 0.03, 0.85), rx, ry)
        _stroke(canvas, np.concatenate([rim, rim[:1]]), colour, 2)
    _stroke(canvas, np.stack([head.at(x, 0, 0.9) for x in (rx - 0.45, 0.45 - rx)]), colour, 3)


def photograph(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Adds what a camera and the crop add: tone, blur, noise and black bands at the edges."""
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.1))
    grain = rng.standard_normal(image.shape[:2], dtype=np.float32) * rng.uniform(0, 9)
    lift = np.float32(rng.uniform(-10, 25))
    gains = np.float32(rng.uniform(0.7, 1.08) * rng.uniform(0.88, 1.12, 3))
    planes = [(image[..., i] + grain) * gain + lift for i, gain in enumerate(gains)]
    image = np.clip(cv2.merge(planes), 0, 255).astype(np.uint8)
    if rng.random() < 0.38:
        _paint_bands(rng, image)
    return image


def _paint_bands(rng: np.random.Generator, image: np.ndarray) -> None:
    """Blackens one or two sides of the image, in place."""
    columns = image.swapaxes(0, 1)
    from_sides = [columns, columns[::-1], image, image[::-1]]
    for side in rng.choice(4, rng.integers(1, 3), replace=False):
        lines = from_sides[side]
        lines[: round(rng.uniform(0.02, 0.17) * len(lines))] = 0


def _to_fixed_point(points: np.ndarray) -> np.ndarray:
    """Converts points to OpenCV's fixed-point coordinates."""
    return np.round(points * 2**_SUBPIXEL_BITS).astype(np.int32)


def _fill(canvas: np.ndarray, polygon: np.ndarray, colour: np.ndarray | float) -> None:
    colour = np.clip(np.atleast_1d(colour), 0, 255).tolist()
    cv2.fillPoly(canvas, [_to_fixed_point(polygon)], colour, cv2.LINE_AA, _SUBPIXEL_BITS)


def _stroke(canvas: np.ndarray, line: np.ndarray, colour: np.ndarray, thickness: int) -> None:
    colour = np.clip(colour, 0, 255).tolist()
    cv2.polylines(
        canvas, [_to_fixed_point(line)], False, colour, thickness, cv2.LINE_AA, _SUBPIXEL_BITS
    )
