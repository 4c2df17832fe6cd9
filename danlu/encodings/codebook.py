"""Shared weights: every weight is one of a few centroids. The indices stay, the centroids are trained.

    weight[c, ...] = table[g, indices[c, ...]]        g = c, or 0 where one table serves the whole layer

Autograd sums the gradients of equal indices into their centroid: that is trained quantisation, with no special loop. Centroids
are rounded to float16 in the forward pass, straight through in the backward pass, so that they can be stored in 2 bytes.

Source: Han et al. 2015, Deep Compression, section 3, https://arxiv.org/abs/1510.00149.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ._registry import encodings
from .base import Encoding, Levels


@encodings(paper="arxiv:1510.00149")
class Codebook(Encoding):
    """`groups` tables of `size` centroids. With `zero`, index 0 is exactly 0 in all of them, whatever is trained.

    Shape: original [groups * size] (the centroids, flat: vectors do not decay), weight as `indices`.
    """

    indices: Tensor

    def __init__(self, *, size: int, groups: int = 1, zero: bool = False, axis: int = 0, shape: Sequence[int] = ()) -> None:
        super().__init__()
        self.size, self.groups, self.zero, self.axis = size, groups, zero, axis
        self.register_buffer("indices", torch.zeros(tuple(shape), dtype=torch.uint8 if size <= 256 else torch.int16))
        self._first: Tensor | None = None

    @classmethod
    def of(cls, table: Tensor, indices: Tensor, *, zero: bool, axis: int = 0) -> "Codebook":
        """The encoding with this table [groups, size] and these indices."""
        new = cls(size=table.shape[1], groups=len(table), zero=zero, axis=axis, shape=indices.shape)
        new.indices = indices.to(new.indices.dtype)
        new._first = table.detach().clone()
        return new

    def options(self) -> dict[str, Any]:
        return {"size": self.size, "groups": self.groups, "zero": self.zero, "axis": self.axis}

    def right_inverse(self, weight: Tensor) -> Tensor:
        first = self._first if self._first is not None else torch.zeros(self.groups, self.size)
        self._first = None
        return first.to(weight).flatten()

    def forward(self, original: Tensor) -> Tensor:
        return look_up(self.table(original), self.indices, self.axis)

    def table(self, original: Tensor) -> Tensor:
        """The centroids as they are used. Shape: [groups, size]."""
        return usable(original.view(self.groups, self.size), self.zero)

    def levels(self, original: Tensor) -> Levels:
        table = self.table(original).detach().float()
        return Levels(self.indices.long(), table, zero=0 if self.zero else None, axis=self.axis)

    def describe(self, weight: Tensor) -> str:
        return shared(self.size, self.groups, self.indices, self.zero)


def usable(table: Tensor, zero: bool) -> Tensor:
    """Centroids rounded to float16, straight through; entry 0 exactly zero where wanted. Shape: [groups, size] kept."""
    rounded = table + (table.detach().half().to(table.dtype) - table.detach())
    if not zero:
        return rounded
    return torch.cat([torch.zeros_like(rounded[:, :1]), rounded[:, 1:]], dim=1)


def look_up(table: Tensor, indices: Tensor, axis: int) -> Tensor:
    """table[g, indices]. Shape: [groups, size], any -> as `indices`."""
    index = indices.int()
    if len(table) > 1:
        rows = torch.arange(len(table), device=table.device, dtype=torch.int32) * table.shape[1]
        index = index + rows.view([-1 if d == axis else 1 for d in range(indices.dim())])
    return _LookUp.apply(table.flatten(), index)


class _LookUp(torch.autograd.Function):
    """table[index], with a backward pass that counts: torch's own adds one element after the other, many times slower."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.size = len(table)
        return table[index]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        sums = torch.bincount(index.flatten(), gradient.double().flatten(), ctx.size)
        return sums.to(gradient.dtype), None


def shared(size: int, groups: int, indices: Tensor, zero: bool) -> str:
    """Words for an outcome."""
    tables = "" if groups == 1 else f" in each of {groups} channels"
    zeros = f", {(indices == 0).float().mean().item():.2%} zeros" if zero else ""
    return f"{size} shared values{tables}{zeros}"
