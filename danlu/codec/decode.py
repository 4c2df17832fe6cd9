"""Tensors from pieces: each piece is decoded when the first tensor needs it and let go when it is used up."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .container import Container
from .entropy import Damaged, decode_positions, decode_symbols
from .header import Plan, Table
from .layouts import order, rows
from .numbers import decode_numbers
from .tables import grid_values, look_up


class Decoding:
    """The pieces of an open file, and how far each is used."""

    def __init__(self, container: Container) -> None:
        self.container, self.header = container, container.header
        self.pieces = self.header.pieces
        self.home: list[tuple[int, int]] = []  # the stream of each piece, and where in it the piece starts
        for i, stream in enumerate(self.header.streams):
            start = 0
            for piece in stream:
                self.home.append((i, start))
                start += piece.bytes
        self.used = [0] * len(self.pieces)
        self.decoded: dict[int, NDArray[Any]] = {}
        self.streams: dict[int, bytes] = {}
        self.scales: dict[str, NDArray[Any]] = {}
        self.waiting = [len(stream) for stream in self.header.streams]
        self.tables = [self._table(table) for table in self.header.tables]

    def data(self, index: int) -> bytes:
        """The bytes of a piece; its stream is kept until all its pieces were taken."""
        stream, start = self.home[index]
        if stream not in self.streams:
            self.streams[stream] = self.container.stream(stream)
        data = self.streams[stream][start : start + self.pieces[index].bytes]
        self.waiting[stream] -= 1
        if self.waiting[stream] <= 0:
            del self.streams[stream]
        return data

    def take(self, index: int, count: int) -> NDArray[Any]:
        """The next `count` numbers or symbols of a piece. Shape: [count]."""
        piece = self.pieces[index]
        if not count:
            return np.zeros(0, np.float32 if piece.kind == "numbers" else np.uint8)
        if index not in self.decoded:
            if self.used[index] or count > piece.count:
                raise Damaged(f"piece {index} holds {piece.count} {piece.kind}, more are taken from it")
            if piece.kind == "symbols":
                found: NDArray[Any] = decode_symbols(piece.coder, self.data(index), piece.count, piece.size)
            else:
                found = decode_numbers(piece.coder, self.data(index), piece.count, piece.type)
            self.decoded[index] = found
        start = self.used[index]
        self.used[index] += count
        if self.used[index] > piece.count:
            raise Damaged(f"piece {index} holds {piece.count} {piece.kind}, more are taken from it")
        values = self.decoded[index][start : start + count]
        if self.used[index] == piece.count:
            del self.decoded[index]
        return values

    def end(self) -> None:
        """Raise Damaged when something was left over: then the file means something else than what was read."""
        for i, piece in enumerate(self.pieces):
            if piece.kind != "positions" and self.used[i] != piece.count:
                raise Damaged(f"{piece.count - self.used[i]} {piece.kind} of piece {i} belong to no tensor")
        if any(self.waiting):
            odd = next(i for i, left in enumerate(self.waiting) if left)
            raise Damaged(f"stream {odd} has a piece that belongs to no tensor")

    def _table(self, table: Table) -> NDArray[np.float32]:
        """Shape: [G, K]."""
        count = table.size - table.zero
        if table.kind == "explicit":
            values = self.take(table.piece, table.stored).reshape(table.groups, count)
        else:
            values = grid_values(table.kind, table.first, table.step, count, table.zero)[None]
        if not table.zero:
            return values
        return np.concatenate([np.zeros((table.groups, 1), np.float32), values], axis=1)

    def parts(self, plan: Plan) -> tuple[NDArray[Any] | None, NDArray[Any] | None, NDArray[np.bool_] | None]:
        """(numbers, symbols, mask) of a tensor, as far as its plan has them.

        Shape: numbers and symbols flat; the mask as the tensor, its dimensions in the order of the layout.
        """
        if plan.kind in ("tied", "constant"):
            return None, None, None
        if plan.scale >= 0:
            self.scales[plan.name] = self.take(plan.scale, plan.shape[plan.axis])
        mask = self.mask(plan) if plan.positions >= 0 else None
        count = plan.count if mask is None else int(np.count_nonzero(mask))
        if plan.numbers >= 0:
            return self.take(plan.numbers, count), None, mask
        return None, self.symbols(plan, count), mask

    def tensor(self, plan: Plan, out: NDArray[Any]) -> None:
        """Write a tensor into `out`, which holds zeros. Shape: that of the plan."""
        if plan.kind in ("indices", "sparse_indices", "sparse_numbers") and out.dtype != np.float32:
            raise Damaged(f"{plan.name} is stored as float32; the net has {out.dtype} there")
        values, index, mask = self.parts(plan)
        if plan.kind == "constant":
            _constant(plan, out)
        elif mask is None and values is not None:
            if values.dtype != out.dtype:
                raise Damaged(f"{plan.name} is stored as {values.dtype}; the net has {out.dtype} there")
            out[...] = values.reshape(plan.shape)
        elif values is not None:
            _ordered(plan, out)[mask] = values
        elif index is not None:
            self._indices(plan, index, mask, out)

    def mask(self, plan: Plan) -> NDArray[np.bool_]:
        """Where a sparse tensor is not zero. Shape: that of the tensor, its dimensions in the order of the layout."""
        piece = self.pieces[plan.positions]
        found = decode_positions(piece.coder, self.data(plan.positions), rows(plan.shape, plan.layout))
        return found.reshape([plan.shape[d] for d in order(len(plan.shape), plan.layout)])

    def symbols(self, plan: Plan, count: int) -> NDArray[Any]:
        """The next symbols of a tensor, each below what its table has. Shape: [count]."""
        if plan.symbols < 0:
            return np.zeros(count, np.uint8)
        found = self.take(plan.symbols, count)
        most = self.header.tables[plan.table].size - (plan.kind == "sparse_indices")
        if self.pieces[plan.symbols].size > most and count and int(found.max()) >= most:
            raise Damaged(f"{plan.name} has symbol {int(found.max())}; its table has {most} values")
        return found

    def _indices(self, plan: Plan, index: NDArray[Any], mask: NDArray[np.bool_] | None, out: NDArray[np.float32]) -> None:
        table, scale = self.tables[plan.table], self.scales.pop(plan.name, None)
        if mask is not None and len(table) == 1 and scale is None:
            _ordered(plan, out)[mask] = table[0, 1:].take(index)
            return
        if mask is not None:
            full = np.zeros(plan.shape, np.uint8 if table.shape[1] <= 256 else np.uint16)
            _ordered(plan, full)[mask] = index + index.dtype.type(1)
            index = full
        look_up(index.reshape(plan.shape), table, scale, plan.axis, out)


def _constant(plan: Plan, out: NDArray[Any]) -> None:
    if out.dtype.kind != "f" and not (np.isfinite(plan.value) and plan.value == int(plan.value) and abs(plan.value) < 2**31):
        raise Damaged(f"{plan.name} is {plan.value} everywhere; the net has {out.dtype} there")
    if plan.value:
        out[...] = plan.value


def _ordered(plan: Plan, tensor: NDArray[Any]) -> NDArray[Any]:
    """A view with the dimensions in the order of the layout."""
    return tensor.transpose(order(tensor.ndim, plan.layout))
