"""A CSV of path,label or path,label,split. Paths are relative to the file; a header row is optional and names the columns."""

import csv
import io
import os
from pathlib import Path, PurePath

from ...errors import UsageError
from ..decoding import Header, header
from ..layout import IMAGE_SUFFIXES, Listing, split_index
from ._base import Reader, key_of, stamp

_COLUMNS = {
    "path": {"path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img", "name"},
    "label": {"label", "class", "category", "target", "class_name", "y"},
    "split": {"split", "set", "subset", "partition", "phase"},
}


class TableReader(Reader):
    """A table of images. A file that does not exist counts as unreadable."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = read_rows(path)
        paths = sorted({path.parent / row[0] for row in self._rows})
        stamps = [f"{p} {stamp(p) if os.path.exists(p) else 'missing'}" for p in paths]
        super().__init__(path.stem, str(path), key_of("table", path.resolve(), stamp(path), *stamps))
        self._paths: list[Path] = []

    def listing(self) -> Listing:
        listing = Listing.of(self._rows)
        self._paths = [self._path.parent / name for name in listing.names]
        return listing

    def read(self, i: int) -> bytes:
        return self._paths[i].read_bytes()

    def header(self, i: int, content: object = None) -> Header:
        return header(self._paths[i])


def read_rows(path: Path) -> list[tuple[str, str, int]]:
    """(path, label, split) of every row; split is -1 where the table has no such column.

    Raises UsageError that names the line, for a row with an empty cell, another number of cells or an unknown split, and
    for an image that is listed twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        table = [(line, row) for line, row in _lines(text) if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: not a readable UTF-8 table ({error})") from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    if not table:
        raise UsageError(f"{path}: no images found, the table is empty; write rows of path,label")
    columns = _header(table[0][1])
    if columns:
        table = table[1:]
    elif len(table) > 1 and not _is_image(table[0][1]) and _is_image(table[1][1]):
        raise UsageError(f"{path}: unknown columns {', '.join(table[0][1])}; name them path, label and, optionally, split")
    else:
        columns = {"path": 0, "label": 1} | ({"split": 2} if len(table[0][1]) > 2 else {})
    if "path" not in columns or "label" not in columns:
        raise UsageError(f"{path}: needs a column for path and one for label, got the header {', '.join(columns) or 'of none'}")
    rows: dict[str, tuple[str, str, int]] = {}
    for line, cells in table:
        if len(cells) <= max(columns.values()):
            raise UsageError(f"{path}, line {line}: {len(cells)} cells, at least {max(columns.values()) + 1} are needed")
        name, label = cells[columns["path"]].strip(), cells[columns["label"]].strip()
        if not name or not label:
            raise UsageError(f"{path}, line {line}: empty {'label' if name else 'path'}")
        split = split_index(cells[columns["split"]], f"{path}, line {line}") if "split" in columns else -1
        if rows.setdefault(name, (name, label, split)) != (name, label, split):
            raise UsageError(f"{path}, line {line}: {name} is listed twice, with another label or split")
    if not rows:
        raise UsageError(f"{path}: no images found, the table has a header only; write rows of path,label")
    return list(rows.values())


def _lines(text: str) -> list[tuple[int, list[str]]]:
    """Numbered rows; the delimiter is the one of , ; and tab that the first line has most of."""
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    return [(reader.line_num, row) for row in reader]


def _header(cells: list[str]) -> dict[str, int]:
    """Column numbers by meaning when `cells` is a header; empty when it is a row of data."""
    if _is_image(cells):
        return {}
    named: dict[str, int] = {}
    for number, cell in enumerate(cells):
        for meaning, words in _COLUMNS.items():
            if cell.strip().casefold() in words:
                named.setdefault(meaning, number)
    return named


def _is_image(cells: list[str]) -> bool:
    return PurePath(cells[0].strip()).suffix.casefold() in IMAGE_SUFFIXES
