"""Formats metrics and their intervals, for JSON and for text tables."""

from typing import Any

from keras_landmarks.evaluation import bootstrap


def round_floats(value: Any) -> Any:
    """Rounds every float, at any depth of dicts and lists, to 6 significant digits."""
    if isinstance(value, dict):
        return {name: round_floats(item) for name, item in value.items()}
    if isinstance(value, list):
        return [round_floats(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def format_interval(interval: list[float] | None, scale: float = 1) -> str:
    """Returns an interval times `scale` as "1.000 to 2.000"; "" if there is none."""
    return f"{scale * interval[0]:.3f} to {scale * interval[1]:.3f}" if interval else ""


def format_image_count(num_scored: int, num_listed: int) -> str:
    """Returns "1 image", or "60 of the truth's 300 images" if not all of them are scored."""
    if num_scored < num_listed:
        return f"{num_scored:,} of the truth's {num_listed:,} images"
    return f"{num_scored:,} image{'s' * (num_scored != 1)}"


def describe_intervals(num_images: int, num_groups: int) -> str:
    """Returns a line that says how the intervals were computed, or why there are none."""
    if num_groups < 2:
        return "no intervals: they need two groups of images or more"
    units = "single images" if num_groups == num_images else f"{num_groups:,} groups of images"
    return f"intervals: 95 %, from {bootstrap.DRAWS:,} draws of {units}"


def describe_invalid_rows(num_rejected: int) -> list[str]:
    """Returns a line with the number of rejected rows of the truth; no line if there are none."""
    if not num_rejected:
        return []
    return [f"rows of the truth that cannot be used: {num_rejected:,}"]


def describe_missing(results: dict[str, Any]) -> list[str]:
    """Returns lines about missing points and faces without a size; none if there are none."""
    lines = []
    if count := results.get("missing_points"):
        lines.append(
            f"points missing from the truth: {count:,}; an image is scored by its other points"
            + ", and its box is theirs" * (results.get("normaliser") in ("box", "diagonal"))
        )
    if count := results.get("without_size"):
        lines.append(f"faces without a size to divide by, so without an NME: {count:,}")
    return lines
