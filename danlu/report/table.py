"""A table as the page draws it: what is read and what is sorted by are two things ("1.2 MB" and 1200000)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import numbers


@dataclass(frozen=True)
class Column:
    """`numeric` columns are right-aligned and sort by value, largest first on the first click."""

    label: str
    numeric: bool = False
    title: str = ""


@dataclass(frozen=True)
class Cell:
    """`sort` orders the rows (None is always last); `share` in [0, 1] draws a bar behind the text; `kind` picks the style.

    `href` makes a link of the text.
    """

    text: str
    sort: float | str | None = None
    share: float | None = None
    kind: str = ""
    title: str = ""
    href: str = ""


@dataclass(frozen=True)
class Line:
    """A row; `facets` are the values that the filters match, `mark` highlights it."""

    cells: list[Cell]
    facets: dict[str, str] = field(default_factory=dict)
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """`filters` maps a facet's name to the values it can take; `search` offers a text filter."""

    id: str
    caption: str
    columns: list[Column]
    lines: list[Line]
    filters: dict[str, list[str]] = field(default_factory=dict)
    search: bool = False
    sortable: bool = True


def text(value: object, kind: str = "", title: str = "") -> Cell:
    """A cell of words, sorted without regard to case; an empty one sorts last."""
    shown = "" if value is None else str(value)
    return Cell(shown, shown.lower() or None, None, kind, title)


def number(
    value: float | None, show: Callable[[float | None], str], whole: float | None = None, title: str = "", kind: str = ""
) -> Cell:
    """A cell of a figure; with `whole` a bar shows its share of it."""
    share = min(max(value / whole, 0.0), 1.0) if value is not None and whole else None
    return Cell(show(value), value, share, kind, title)


def build(
    id: str, caption: str, rows: Sequence[Any], columns: Sequence[tuple[Column, Callable[[Any], Cell]]], **options: Any
) -> Table:
    """A table from rows and one function a column."""
    lines = [Line([make(row) for _, make in columns]) for row in rows]
    return Table(id, caption, [column for column, _ in columns], lines, **options)


def spread(low: float | None, high: float | None) -> str:
    """'80 % of runs: 0.40 to 0.45 ms', or nothing."""
    if low is None or high is None:
        return ""
    return f"80 % of runs: {numbers.plain(low)} to {numbers.plain(high)} ms"
