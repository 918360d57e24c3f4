"""A self-contained HTML page: no other files, no network, no scripts.

The classes here define the contents of a page, the template `page.html` its looks. Text may contain
anything: Jinja escapes it, and the page's content security policy forbids scripts and downloads.

A page does not say when it was made, so that the same files give the same bytes.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import jinja2
import markupsafe

# From low to high: Matplotlib's inferno. High values contrast most with the page, light or dark.
HEAT_LIGHT = (
    *["#fcae12", "#f57d15", "#de5238", "#b93556"],
    *["#8d2369", "#61136e", "#340a5f", "#0a0722"],
)
HEAT_DARK = (
    *["#771c6d", "#9b2964", "#c03a51", "#de5238"],
    *["#f3761b", "#fc9f07", "#f9cb35", "#f3f68a"],
)


class Tile(NamedTuple):
    """A headline number at the top of the page."""

    name: str
    value: str
    note: str = ""


class Chart(NamedTuple):
    """A chart from `charts` with a title, a text alternative and an optional note."""

    title: str
    svg: str
    alt: str
    note: str = ""


class Cell(NamedTuple):
    """A formatted number and its interval."""

    value: str
    interval: str = ""


class Row(NamedTuple):
    """A row of a table; an `inner` row is indented below the row that it details."""

    name: str
    cells: Sequence[Cell]
    inner: bool = False


class Table(NamedTuple):
    """A table; `columns` includes the header of the row names."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Row]


class Face(NamedTuple):
    """A picture of a face; if `jpeg` is empty, there is no picture and `note` says why."""

    title: str
    note: str
    alt: str = ""
    jpeg: bytes = b""
    width: int = 0
    height: int = 0


class Faces(NamedTuple):
    """A row of pictures with a title."""

    title: str
    faces: Sequence[Face]


@dataclass(frozen=True)
class Section:
    """A section of the page, laid out in the order of these fields.

    Attributes:
        title: heading, also the source of the section's id.
        texts: paragraphs.
        beside: tables beside the charts, if the page is wide enough.
        charts: charts in a grid.
        below: tables below the charts.
        legend: RGB colour (0 to 255) of each name.
        faces: rows of pictures.
        lists: lines of code by title.
    """

    title: str
    texts: Sequence[str] = ()
    beside: Sequence[Table] = ()
    charts: Sequence[Chart] = ()
    below: Sequence[Table] = ()
    legend: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    faces: Sequence[Faces] = ()
    lists: dict[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """The whole page."""

    title: str
    lead: str
    tiles: Sequence[Tile]
    sections: Sequence[Section]
    version: str
    heat_light: Sequence[str] = HEAT_LIGHT
    heat_dark: Sequence[str] = HEAT_DARK


def render(page: Page) -> str:
    """Returns the page as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["b64"] = lambda content: base64.b64encode(content).decode()
    environment.filters["slug"] = lambda title: title.lower().replace(" ", "-")
    environment.filters["unbroken"] = lambda text: text.replace(" %", "\u00a0%")
    environment.filters["breakable"] = _breakable
    return environment.get_template("page.html").render(page=page)


def _breakable(name: str) -> markupsafe.Markup:
    """Allows line breaks after each _ of a long name."""
    return markupsafe.Markup("_<wbr>").join(name.split("_"))
