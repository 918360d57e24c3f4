"""A report as one HTML page that needs no other file, no network and no script.

What a page holds is said here, how it looks in `page.html`. Words may hold anything: Jinja escapes
them; and the page's own policy lets a browser run and load nothing at all.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import jinja2
import markupsafe

# From little to much: Matplotlib's inferno, the darkest least on a dark page, most on a light one.
HEAT_LIGHT = (
    *["#fcae12", "#f57d15", "#de5238", "#b93556"],
    *["#8d2369", "#61136e", "#340a5f", "#0a0722"],
)
HEAT_DARK = (
    *["#771c6d", "#9b2964", "#c03a51", "#de5238"],
    *["#f3761b", "#fc9f07", "#f9cb35", "#f3f68a"],
)


class Tile(NamedTuple):
    """One of the page's first figures, large."""

    name: str
    value: str
    note: str = ""


class Chart(NamedTuple):
    """A chart of `charts`, and the same in words for whoever does not see it."""

    title: str
    svg: str
    alt: str
    note: str = ""


class Cell(NamedTuple):
    """A figure and its interval, both as they are written."""

    value: str
    interval: str = ""


class Row(NamedTuple):
    """A row of a table; `inner` ones belong to the one above."""

    name: str
    cells: Sequence[Cell]
    inner: bool = False


class Table(NamedTuple):
    """A table; `columns` has a name for the rows' own, too."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Row]


class Face(NamedTuple):
    """A picture; `jpeg` is empty where there is none, and `note` says why."""

    title: str
    note: str
    alt: str = ""
    jpeg: bytes = b""
    width: int = 0
    height: int = 0


class Faces(NamedTuple):
    """Pictures that belong together."""

    title: str
    faces: Sequence[Face]


@dataclass(frozen=True)
class Section:
    """A part of the page, laid out in the order of these fields.

    Tables are `beside` the charts where the page is wide enough, or `below` them. `legend` has an
    RGB colour (0 to 255) for each name, `lists` lines of code for each title.
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
    """Lets a long name go on in the next line after each _ rather than anywhere."""
    return markupsafe.Markup("_<wbr>").join(name.split("_"))
