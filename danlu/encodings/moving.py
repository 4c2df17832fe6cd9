"""Shared weights whose indices move: real weights are trained straight through, and assigned anew as they wander.

    weight = table[indices]                 dL/dreal := dL/dweight;  dL/dtable[k] = sum of dL/dweight over the indices k
    indices = argmin_k (real - table[k])^2 / v + rate * bits(k)

v is the mean square of the non-zero weights, bits(k) = -log2 of the share of index k in the tensor at the last assignment. With
rate 0 every weight takes its nearest centroid. With a rate, values that are rare pay for it: weights near the middle between
two centroids go to the commoner one, small weights to zero, and the file shrinks by more than the error grows. The
rate rises from 0 to its value in the first half of a training, so that the weights have time to follow.

Source: the trade of distortion against rate is entropy-constrained quantisation (Chou, Lookabaugh and Gray 1989,
doi:10.1109/29.17498), applied to nets by Choi et al. 2016, https://arxiv.org/abs/1612.01543; the gradient is straight-through
(Bengio et al. 2013, https://arxiv.org/abs/1308.3432).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ._registry import encodings
from .base import Encoding, Levels
from .codebook import look_up, shared, usable

EVERY = 20  # training forwards between two assignments
RAMP = 0.5  # of a training
SMOOTH = 0.5  # added to each count, so that an index nobody uses has a finite length


@encodings(paper="arxiv:1612.01543")
class MovingCodebook(Encoding):
    """As `Codebook`, with real weights behind the indices. Shape: original and weight alike; `table` [groups * size].

    With `zero`, index 0 is exactly 0. With `held`, a weight that was 0 when it was encoded stays 0.
    """

    indices: Tensor
    hold: Tensor
    steps: Tensor

    def __init__(
        self, *, size: int, groups: int = 1, zero: bool = False, rate: float = 0.0, held: bool = False, axis: int = 0,
        shape: Sequence[int] = (),
    ) -> None:  # fmt: skip
        super().__init__()
        self.share = 1.0  # of a training; a loop that says nothing has the whole rate at once
        self.size, self.groups, self.zero, self.rate, self.held, self.axis = size, groups, zero, rate, held, axis
        self.table = nn.Parameter(torch.zeros(groups * size))
        self.register_buffer("indices", torch.zeros(tuple(shape), dtype=torch.uint8 if size <= 256 else torch.int16))
        # Stored, so that a training that is resumed assigns at the same steps as one that was not interrupted.
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("hold", torch.ones(tuple(shape) if held else (0,), dtype=torch.bool))

    @classmethod
    def of(cls, table: Tensor, indices: Tensor, *, zero: bool, rate: float, held: bool, axis: int = 0) -> "MovingCodebook":
        """The encoding with this table [groups, size] and these indices."""
        new = cls(size=table.shape[1], groups=len(table), zero=zero, rate=rate, held=held, axis=axis, shape=indices.shape)
        new.indices = indices.to(new.indices.dtype)
        new.table = nn.Parameter(table.detach().clone().flatten())
        if held:
            new.hold = indices != 0
        return new

    def options(self) -> dict[str, Any]:
        return {"size": self.size, "groups": self.groups, "zero": self.zero, "rate": self.rate, "held": self.held,
                "axis": self.axis}  # fmt: skip

    def advance(self, share: float) -> None:
        self.share = share

    def centroids(self) -> Tensor:
        """The centroids as they are used. Shape: [groups, size]."""
        return usable(self.table.view(self.groups, self.size), self.zero)

    def forward(self, original: Tensor) -> Tensor:
        if self.training and torch.is_grad_enabled():
            if self.steps.item() % EVERY == 0:
                self.assign(original)
            self.steps += 1
        weight = look_up(self.centroids().to(original.dtype), self.indices, self.axis)
        through = original - original.detach()
        return weight + (through * self.hold if self.held else through)

    @torch.no_grad()
    def assign(self, original: Tensor) -> None:
        """Give every weight the index that costs least."""
        rows = original.detach().movedim(self.axis, 0).reshape(self.groups, -1)
        old = self.indices.movedim(self.axis, 0).reshape(self.groups, -1)
        chosen = cheapest(rows, old, self.centroids().detach().to(rows), self.rate * min(1.0, self.share / RAMP))
        if self.held:
            chosen *= self.hold.movedim(self.axis, 0).reshape(self.groups, -1)
        shape = original.movedim(self.axis, 0).shape
        self.indices = chosen.view(shape).movedim(0, self.axis).to(self.indices.dtype).contiguous()

    def levels(self, original: Tensor) -> Levels:
        table = self.centroids().detach().float()
        return Levels(self.indices.long(), table, zero=0 if self.zero else None, axis=self.axis)

    def describe(self, weight: Tensor) -> str:
        rate = f", rate {self.rate:g}" if self.rate else ""
        return shared(self.size, self.groups, self.indices, self.zero) + f", moving{rate}"


def cheapest(weights: Tensor, old: Tensor, table: Tensor, rate: float) -> Tensor:
    """The index of least cost for each weight. Shape: [groups, n], [groups, n] indices, [groups, K] -> [groups, n] int64.

    Without a rate a search in the sorted centroids; with one, K passes that keep the best so far, since n x K costs would
    not fit for a large layer.
    """
    if rate == 0:
        order = table.argsort(dim=1)
        sorted_table = table.gather(1, order)
        middles = (sorted_table[:, 1:] + sorted_table[:, :-1]) / 2
        return order.gather(1, torch.searchsorted(middles.contiguous(), weights.contiguous()))
    size = table.shape[1]
    counts = torch.bincount(old.flatten().long(), minlength=size).to(weights) + SMOOTH
    bits = -(counts / counts.sum()).log2()
    alive = weights[weights != 0]
    spread = alive.square().mean() if len(alive) else weights.new_ones(())
    best = torch.full_like(weights, torch.inf)
    chosen = torch.zeros(weights.shape, dtype=torch.int64, device=weights.device)
    for k in range(size):
        cost = (weights - table[:, k : k + 1]).square() / spread + rate * bits[k]
        less = cost < best
        chosen[less] = k
        best = torch.where(less, cost, best)
    return chosen
