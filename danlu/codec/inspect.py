"""What lies in a .danlu file, tensor by tensor, beside what order-0 entropy allows. The net is not built; no code is run."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .container import Container
from .decode import Decoding
from .entropy import entropy_bits
from .header import Header, Plan
from .numbers import WIDTHS, pattern


@dataclass(frozen=True)
class Row:
    """One tensor. `bytes` are its share of its pieces; `bound_bytes` is the order-0 entropy of its symbols and positions, and of
    each byte of its floats by itself, tables and scales as they are."""

    name: str
    shape: tuple[int, ...]
    plan: str
    coders: str
    weights: int
    zeros: int
    bytes: float
    bound_bytes: float

    @property
    def bits_a_weight(self) -> float:
        return 8 * self.bytes / self.weights if self.weights else 0.0


@dataclass(frozen=True)
class Inspection:
    """A whole file."""

    path: Path
    size_bytes: int
    header_bytes: int
    streams: int
    about: dict[str, Any]
    rows: list[Row]

    @property
    def weights(self) -> int:
        return sum(row.weights for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and text."""
        tensors = [
            asdict(row) | {"shape": list(row.shape), "bits_a_weight": row.bits_a_weight, "share": row.bytes / self.size_bytes}
            for row in self.rows
        ]
        return {
            "file": str(self.path), "size_bytes": self.size_bytes, "header_bytes": self.header_bytes, "streams": self.streams,
            "weights": self.weights, "about": self.about, "tensors": tensors,
        }  # fmt: skip


def inspect_file(path: str | Path) -> Inspection:
    """Read all of a file, tensor by tensor.

    Raises: as `unpack_model` does, but for the recipe, which is not looked at.
    """
    with Container.open(Path(path)) as container:
        header = container.header
        shares = Shares(container)
        rows = [shares.row(plan) for plan in header.tensors]
        shares.decoding.end()
        return Inspection(Path(path), container.size, container.header_bytes, len(header.streams), header.about, rows)


class Shares:
    """Splits the bytes of pieces among the tensors that take from them."""

    def __init__(self, container: Container) -> None:
        self.header: Header = container.header
        self.decoding = Decoding(container)
        self.tables_counted: set[int] = set()

    def part(self, index: int, count: int) -> float:
        """The bytes of `count` numbers or symbols of a piece."""
        piece = self.header.pieces[index]
        return piece.bytes * count / piece.count if piece.count else 0.0

    def row(self, plan: Plan) -> Row:
        """One tensor, decoded and counted."""
        before = list(self.decoding.used)
        values, index, mask = self.decoding.parts(plan)
        taken = [after - was for after, was in zip(self.decoding.used, before, strict=True)]
        size = bound = 0.0
        coders = []
        for i, count in enumerate(taken):
            if count:
                size += self.part(i, count)
                coders.append(self.header.pieces[i].coder)
        if plan.positions >= 0:
            size += self.header.pieces[plan.positions].bytes
            coders.append(self.header.pieces[plan.positions].coder)
        if mask is not None:
            bound += entropy_bits(np.array([mask.size - np.count_nonzero(mask), np.count_nonzero(mask)])) / 8
        if index is not None:
            bound += entropy_bits(counted(index)) / 8
        if plan.scale >= 0:
            bound += self.part(plan.scale, plan.shape[plan.axis])
        if values is not None and plan.numbers >= 0:
            bound += planes_bound(values, self.header.pieces[plan.numbers].type)
        extra = self.table(plan)
        zeros = self.zeros(plan, values, index, mask)
        return Row(
            plan.name, plan.shape, plan.kind, " + ".join(dict.fromkeys(coders)), plan.count, zeros, size + extra, bound + extra
        )

    def table(self, plan: Plan) -> float:
        """The bytes of the values of the plan's table, counted for the first tensor that uses it."""
        if plan.kind not in ("indices", "sparse_indices") or plan.table in self.tables_counted:
            return 0.0
        self.tables_counted.add(plan.table)
        table = self.header.tables[plan.table]
        return self.part(table.piece, table.stored) if table.kind == "explicit" else 0.0

    def zeros(self, plan: Plan, values: NDArray[Any] | None, index: NDArray[Any] | None, mask: NDArray[np.bool_] | None) -> int:
        """Weights that are 0."""
        if plan.kind == "constant":
            return plan.count if plan.value == 0 else 0
        if mask is not None:
            return mask.size - int(np.count_nonzero(mask))
        if index is not None and self.header.tables[plan.table].zero:
            return int(np.count_nonzero(index == 0))
        return int(np.count_nonzero(values == 0)) if values is not None else 0


def counted(symbols: NDArray[Any]) -> NDArray[np.int64]:
    """How often each symbol is there, in pieces: numpy's count wants 8 bytes a symbol."""
    total = np.zeros(int(symbols.max(initial=0)) + 1, np.int64)
    for start in range(0, len(symbols), 2**20):
        total += np.bincount(symbols[start : start + 2**20], minlength=len(total))
    return total


def planes_bound(values: NDArray[Any], kind: str) -> float:
    """Entropy in bytes of each byte of the numbers, taken by itself."""
    if not len(values):
        return 0.0
    return sum(entropy_bits(counted(plane)) / 8 for plane in pattern(values, kind).T[: WIDTHS[kind]])
