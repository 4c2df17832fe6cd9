"""Tables of predictions and truths: rows of cells, comma, semicolon or tab between them, a header line or none.

A first line without a number is a header. A column in which every cell is a number holds numbers, any other holds words.

Source: RFC 4180, https://www.rfc-editor.org/rfc/rfc4180.
"""

import csv
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from ..errors import UsageError, unknown

ROWS = 1 << 16  # at a time
NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*(e[+-]?[0-9]+)?|\.[0-9]+(e[+-]?[0-9]+)?|nan|inf|infinity)\s*", re.IGNORECASE)

Column = np.ndarray | list[str]


@dataclass(frozen=True)
class Table:
    """The columns of a table, numbers as float64 [N] or words as a list, and their names where it has a header."""

    where: str
    names: tuple[str, ...]
    columns: list[Column]

    def numbers(self) -> np.ndarray:
        """All columns. Shape: float64 [N, D], or [N] of one. Raises: UsageError that shows a cell that is no number."""
        found = [self.number(i) for i in range(len(self.columns))]
        return found[0] if len(found) == 1 else np.column_stack(found)

    def number(self, i: int) -> np.ndarray:
        """One column. Raises: UsageError that shows a cell that is no number."""
        column = self.columns[i]
        if isinstance(column, np.ndarray):
            return column
        row = next(row for row, cell in enumerate(column, 1) if not isinstance(_cells([cell]), np.ndarray))
        name = f"column {self.names[i] if self.names else i + 1}"
        raise UsageError(f"{self.where}: {column[row - 1]!r} is not a number, in {name}, row {row} below any header")

    def words(self) -> list[str] | None:
        """The words of a table of one column of words; of any other None."""
        only = self.columns[0]
        return only if len(self.columns) == 1 and isinstance(only, list) else None

    def pick(self, name: str) -> "Table":
        """The table of one column. Raises: UsageError for a name that is not in the header."""
        if not self.names:
            raise UsageError(f"{self.where} has no header line, so no column is called {name!r}")
        if name not in self.names:
            raise unknown(f"column of {self.where}", name, self.names)
        return Table(f"{self.where}:{name}", (name,), [self.columns[self.names.index(name)]])


def read_table(path: Path) -> Table:
    """A whole table; it may have a header only. Raises: UsageError for rows of unlike lengths, and a header that is none."""
    names, columns = _read(path, ())
    mixed = {i for i, pieces in enumerate(columns) if len({type(piece) for piece in pieces}) > 1}
    if mixed:  # words that begin like numbers: read again, so that "007" is not 7 in one part of the column
        names, columns = _read(path, mixed)
    table = Table(str(path), names, [_joined(pieces) for pieces in columns])
    for name, column in zip(table.names, table.columns, strict=False):
        if isinstance(column, list) and name in column:
            raise UsageError(
                f"{path}: the first line holds no number, so it is a header, but {name!r} stands below it too; add a header line"
            )
    return table


def is_number(cell: str) -> bool:
    """Whether a cell reads as a number. So does "nan", for the metric to refuse."""
    return NUMBER.fullmatch(cell) is not None


def _read(path: Path, worded: Collection[int]) -> tuple[tuple[str, ...], list[list[Column]]]:
    """The header, and each column in pieces; those of the numbers `worded` are taken as words."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        file.seek(0)
        reader = csv.reader(file, delimiter=max(",;\t", key=first.count), strict=True)
        rows = (row for row in reader if any(cell.strip() for cell in row))
        head = next(rows, None)
        if head is None:
            raise UsageError(f"{path}: the table is empty")
        named = not any(is_number(cell) for cell in head)
        names = tuple(cell.strip() for cell in head) if named else ()
        if len(set(names)) != len(names):
            raise UsageError(f"{path}: the header names a column twice: {', '.join(names)}")
        columns: list[list[Column]] = [[] for _ in head]
        part = [] if named else [head]
        while part := part + list(islice(rows, ROWS)):
            odd = next((row for row in part if len(row) != len(head)), None)
            if odd is not None:
                raise UsageError(f"{path}: a row of {len(odd)} cells, where the first has {len(head)}: {','.join(odd)[:80]}")
            for i, cells in enumerate(zip(*part, strict=True)):
                columns[i].append(_words(cells) if i in worded else _cells(cells))
            part = []
    return names, columns


def _cells(cells: Sequence[str]) -> Column:
    """Numbers where all cells are, else words."""
    try:
        return np.array(cells, np.float64)
    except ValueError:
        return _words(cells)


def _words(cells: Iterable[str]) -> list[str]:
    """Words, each kept in memory once."""
    seen: dict[str, str] = {}
    return [seen.setdefault(word, word) for word in (cell.strip() for cell in cells)]


def _joined(pieces: Sequence[Column]) -> Column:
    """The pieces of a column as one; without any, no numbers."""
    if all(isinstance(piece, np.ndarray) for piece in pieces):
        return np.concatenate([np.zeros(0), *pieces])
    return [cell for piece in pieces for cell in piece]
