"""How is one tensor stored? The smallest of: constant, dense, indices, positions and indices, positions and numbers."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .drafts import Draft, Drafts
from .entropy import encode_positions, encode_symbols
from .header import Plan, Table
from .layouts import LAYOUTS, as_rows
from .numbers import WIDTHS, encode_numbers, exact_kind, rounded
from .symbols import Symbolic, found
from .tables import GRID_BYTES, as_grid

FLOATS = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
SPARSE_FROM = 0.1  # zeros, as a share: below, positions cost more than they save
LARGE = 2**22  # tensors of more weights are not tried in every way
SLOW = 2**17  # weights from which the slow coders of positions take long
TRY_NUMBERS = 2**16
PLAN_BYTES = 8  # what a table and a second piece take in the header, more or less


@dataclass
class Choice:
    """A plan whose pieces are drafts; their numbers are put in once all tensors are planned."""

    plan: Plan
    numbers: Draft | None = None
    scale: Draft | None = None
    symbols: Draft | None = None
    positions: Draft | None = None


class Planner:
    """Plans tensor after tensor; the pieces gather in `drafts`, the tables in `tables`.

    `fast` leaves out the coders that decode fewer than 20 million weights a second.
    """

    def __init__(self, floats: str, *, fast: bool = False) -> None:
        self.type, self.fast = FLOATS[floats], fast
        self.drafts = Drafts()
        self.choices: list[Choice] = []
        self.tables: list[tuple[Table, Draft | None]] = []  # with the piece that holds an explicit one's values
        self._known: dict[tuple[Table, bytes], int] = {}

    def integers(self, name: str, values: NDArray[np.generic]) -> None:
        """A tensor that is no float."""
        kind = str(values.dtype)
        if kind not in WIDTHS:
            raise UsageError(f"{name} is of type {kind}; a .danlu file holds {', '.join(WIDTHS)}")
        flat = values.ravel()
        plan = Plan("dense", name, values.shape)
        first = flat[0] if flat.size else 0
        if (flat == first).all() and int(np.float32(first)) == int(first):
            self.choices.append(Choice(replace(plan, kind="constant", value=float(first))))
        else:
            self.choices.append(Choice(plan, numbers=self.drafts.numbers(flat, kind)))

    def tied(self, name: str, shape: tuple[int, ...], source: int) -> None:
        """A tensor equal to an earlier one."""
        self.choices.append(Choice(Plan("tied", name, shape, source=source)))

    def floats(self, name: str, weight: NDArray[np.float32], encoded: Symbolic | None) -> None:
        """A float tensor, with the symbols of its encoding where it has one."""
        if not np.isfinite(weight).all():
            raise UsageError(f"{name} holds numbers that are not finite; a net that was trained to the end has none")
        flat = weight.ravel()
        first = float(flat[0]) if flat.size else 0.0
        if not flat.size or first == flat.min() == flat.max():
            self.choices.append(Choice(Plan("constant", name, weight.shape, value=first)))
            return
        symbolic = encoded if encoded is not None else found(weight)
        if symbolic is not None and symbolic.table.shape[1] > 1:
            self._symbolic(name, weight, symbolic, exact=encoded is not None)
        else:
            self._plain(name, weight, exact=encoded is not None)

    def _plain(self, name: str, weight: NDArray[np.float32], *, exact: bool) -> None:
        """A float for each weight, or for each that is not 0; `exact`: whatever the user asked for."""
        flat = weight.ravel()
        kind = self._kind(flat, exact)
        mask = weight != 0
        plan = Plan("dense", name, weight.shape)
        held = int(mask.sum())
        if flat.size and 1 - held / flat.size >= SPARSE_FROM:
            layout, coder, data = best_positions(mask, fast=self.fast)
            values = as_rows(weight, layout)[as_rows(mask, layout)]
            dense = flat.size * WIDTHS[kind]
            if flat.size <= TRY_NUMBERS:
                dense = len(encode_numbers(flat, kind)[1])
            if len(data) + held * WIDTHS[kind] + PLAN_BYTES < dense:
                plan = replace(plan, kind="sparse_numbers", layout=layout)
                positions = self.drafts.positions(coder, data)
                self.choices.append(Choice(plan, numbers=self.drafts.numbers(values, kind), positions=positions))
                return
        self.choices.append(Choice(plan, numbers=self.drafts.numbers(flat, kind)))

    def _kind(self, flat: NDArray[np.float32], exact: bool) -> str:
        """The type that holds the numbers: exactly, or as the user asked for, where none passes the type's largest."""
        kind = exact_kind(flat)
        if exact or kind != "float32" or self.type == "float32":
            return kind
        return self.type if np.isfinite(rounded(flat, self.type)).all() else "float32"

    def _symbolic(self, name: str, weight: NDArray[np.float32], symbolic: Symbolic, *, exact: bool) -> None:
        """Indices of all weights, or positions and the indices of those that are not 0."""
        table, values = table_of(symbolic)
        if values.size > weight.size:  # a table for each of many short channels
            self._plain(name, weight, exact=exact)
            return
        size = symbolic.table.shape[1]
        plan = Plan("indices", name, weight.shape, axis=symbolic.axis)
        indices = symbolic.indices
        mask = indices != 0 if symbolic.zero else np.ones(indices.shape, bool)
        held = int(mask.sum())
        ways: list[tuple[int, str, int, tuple[str, bytes] | None, tuple[str, bytes] | None]] = []
        zeros = 1 - held / max(indices.size, 1)
        width = WIDTHS[self._kind(weight.ravel(), exact)]
        plain = weight.size * width
        if indices.size <= LARGE or zeros < SPARSE_FROM:
            coded = encode_symbols(indices.ravel(), size)
            ways.append((len(coded[1]), "indices", 0, coded, None))
        if zeros >= SPARSE_FROM:
            layout, coder, data = best_positions(mask, fast=self.fast)
            chosen = as_rows(indices, layout)[as_rows(mask, layout)] - 1
            coded_or_none = encode_symbols(chosen, size - 1) if size > 2 else None
            cost = len(data) + (len(coded_or_none[1]) if coded_or_none else 0) + PLAN_BYTES
            ways.append((cost, "sparse_indices", layout, coded_or_none, (coder, data)))
            plain = min(plain, len(data) + held * width)
        cost, kind, layout, coded_or_none, where = min(ways, key=lambda way: way[0])
        cost += table_bytes(table, values) + (0 if symbolic.scale is None else 4 * len(symbolic.scale))
        if cost >= plain:
            self._plain(name, weight, exact=exact)
            return
        choice = Choice(replace(plan, kind=kind, layout=layout, table=self._table(table, values)))
        if symbolic.scale is not None:
            choice.scale = self.drafts.numbers(symbolic.scale, exact_kind(symbolic.scale))
        if where is not None:
            choice.positions = self.drafts.positions(*where)
        if coded_or_none is not None:
            sent = indices.ravel() if kind == "indices" else chosen
            choice.symbols = self.drafts.symbols(sent, size if kind == "indices" else size - 1, *coded_or_none)
        self.choices.append(choice)

    def _table(self, table: Table, values: NDArray[np.float32]) -> int:
        """The number of this table; one that was met before is stored once."""
        key = (table, values.tobytes())
        if key not in self._known:
            explicit = table.kind == "explicit"
            piece = self.drafts.numbers(values, exact_kind(values), table=True) if explicit else None
            self._known[key] = len(self.tables)
            self.tables.append((table, piece))
        return self._known[key]

    def finish(self) -> tuple[list[list[Draft]], list[Table], list[Plan]]:
        """(pieces by stream, tables, plans), with every reference as a number."""
        joined = self.drafts.finish()
        streams = self.drafts.streams()
        place = {draft: i for i, draft in enumerate(draft for stream in streams for draft in stream)}

        def at(draft: Draft | None) -> int:
            return -1 if draft is None else place[joined.get(draft, draft)]

        tables = [table if piece is None else replace(table, piece=at(piece)) for table, piece in self.tables]
        plans = [
            replace(
                choice.plan, numbers=at(choice.numbers), scale=at(choice.scale), symbols=at(choice.symbols),
                positions=at(choice.positions),
            )
            for choice in self.choices
        ]  # fmt: skip
        return streams, tables, plans


def best_positions(mask: NDArray[np.bool_], *, fast: bool) -> tuple[int, str, bytes]:
    """(layout, coder, bytes) of the smallest way to say where the non-zeros are.

    The slow coders see a large tensor once: in the layout that the fast ones like best.
    """

    def coded(layout: int, quick: bool) -> tuple[int, str, bytes]:
        return (layout, *encode_positions(np.ascontiguousarray(as_rows(mask, layout)), fast=quick))

    layouts = LAYOUTS[: min(max(mask.ndim, 1), 3)] if mask.size <= LARGE else LAYOUTS[:1]
    if mask.size <= SLOW or len(layouts) == 1:
        return min((coded(layout, fast) for layout in layouts), key=lambda way: len(way[2]))
    best = min((coded(layout, True) for layout in layouts), key=lambda way: len(way[2]))
    return best if fast else min(best, coded(best[0], False), key=lambda way: len(way[2]))


def table_of(symbolic: Symbolic) -> tuple[Table, NDArray[np.float32]]:
    """The table and the values it stores, if it stores them one by one."""
    rows = symbolic.table[:, int(symbolic.zero) :]
    groups, size = symbolic.table.shape
    values = rows.ravel()
    if groups == 1 and values.size * WIDTHS[exact_kind(values)] > GRID_BYTES:
        grid = as_grid(values, symbolic.zero)
        if grid is not None:
            return Table(grid[0], 1, size, symbolic.zero, first=grid[1], step=grid[2]), values
    return Table("explicit", groups, size, symbolic.zero), values


def table_bytes(table: Table, values: NDArray[np.float32]) -> int:
    """What the table takes."""
    return PLAN_BYTES + (GRID_BYTES if table.kind != "explicit" else values.size * WIDTHS[exact_kind(values)])
