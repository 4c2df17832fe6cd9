"""Integer weights: multiples of one step a channel (`Grid`), or fixed integers under steps that are trained (`BlockGrid`).

    Grid        weight[c, ...] = scale[c] n[c, ...],        n = clip(round(real / scale[c]), -q, q),  q = 2^(bits - 1) - 1
    BlockGrid   weight[c, i, p] = n[c, i, p] shift[c, i // block, p] channel[c],     p: a position in the kernel

`Grid` trains the real weights straight through, dL/dreal := dL/dweight, and its scales follow them by least squares. `BlockGrid`
is DSConv: the integers are computed once and stay; a shift for every `block` inputs at every position of the kernel (KDS) and
one for each output channel are trained.

Source: straight-through: Bengio et al. 2013, https://arxiv.org/abs/1308.3432; the least-squares step: Lloyd's iteration on a
uniform grid; DSConv: Gennari do Nascimento et al. 2019, https://arxiv.org/abs/1901.01928.
Differs: the shifts scale; the first version of DSConv also adds, which would end exact zeros. Scales and shifts are rounded to
float16, straight through, so that they are stored in 2 bytes.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._registry import encodings
from .base import Encoding, Levels
from .codebook import usable
from .sign import half

SHARES = 32  # scales tried on the way from 1/4 of max|w| / q to the whole
STEPS = 8  # of Lloyd's iteration, from the best of them


@encodings(paper="arxiv:1308.3432")
class Grid(Encoding):
    """Multiples of a scale for each channel, or of one for all. Shape: original and weight alike; `scale` [C] or [1].

    With `held`, a weight that was 0 when it was encoded stays 0. `axis` is the dimension that counts channels.
    """

    scale: Tensor
    hold: Tensor

    def __init__(
        self, *, bits: int, channels: int = 1, held: bool = False, follow: bool = True, axis: int = 0, shape: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.bits, self.channels, self.held, self.follow, self.axis = bits, channels, held, follow, axis
        self.register_buffer("scale", torch.ones(channels))
        self.register_buffer("hold", torch.ones(tuple(shape) if held else (0,), dtype=torch.bool))

    @classmethod
    def of(cls, weight: Tensor, *, bits: int, channels: int = 1, fit: bool = True, held: bool = False, axis: int = 0) -> "Grid":
        """The encoding of this weight: scales of least squared error, or with `fit` False those that clip nothing."""
        new = cls(bits=bits, channels=channels, held=held, follow=fit, axis=axis, shape=weight.shape)
        rows = new._rows(weight.detach().float())
        new.scale = best_scales(rows, new.largest) if fit else half(rows.abs().amax(1) / new.largest)
        if held:
            new.hold = weight.detach() != 0
        return new

    @property
    def largest(self) -> int:
        """The largest integer, q."""
        return int(2 ** (self.bits - 1) - 1)

    def options(self) -> dict[str, Any]:
        return {"bits": self.bits, "channels": self.channels, "held": self.held, "follow": self.follow, "axis": self.axis}

    def forward(self, original: Tensor) -> Tensor:
        if self.follow and self.training and torch.is_grad_enabled():
            rows = self._rows(original.detach())
            self.scale = least_squares(rows, self.scale.to(rows), self.largest)
        weight = self.integers(original) * self._spread(original)
        through = original - original.detach()
        return weight + (through * self.hold if self.held else through)

    def integers(self, original: Tensor) -> Tensor:
        """The multiples n, in the type of `original`. Shape: kept."""
        n = (original.detach() / self._spread(original)).round().clamp(-self.largest, self.largest)
        return n * self.hold if self.held else n

    def levels(self, original: Tensor) -> Levels:
        q = self.largest
        table = torch.arange(-q, q + 1, dtype=torch.float32, device=original.device)[None]
        scale = half(self.scale.float()).expand(original.shape[self.axis]).clone()
        return Levels(self.integers(original).long() + q, table, scale, zero=q, axis=self.axis)

    def describe(self, weight: Tensor) -> str:
        zeros = f", {(weight == 0).float().mean().item():.2%} zeros" if self.held else ""
        return f"{2 * self.largest + 1} multiples of a scale a {'channel' if self.channels > 1 else 'layer'}{zeros}"

    def _rows(self, weight: Tensor) -> Tensor:
        """Shape: [channels, weights of each]."""
        return weight.movedim(self.axis, 0).reshape(self.channels, -1)

    def _spread(self, like: Tensor) -> Tensor:
        """The scales as they are used, with ones around to be multiplied; an average of scales is rounded like a scale."""
        scale = half(self.scale).to(like)
        return scale.view([-1 if d == self.axis else 1 for d in range(like.dim())])


def least_squares(rows: Tensor, scale: Tensor, largest: int) -> Tensor:
    """One step of Lloyd's iteration: the best scales for the integers that the given ones assign. Shape: [C, n], [C] -> [C].

    A row whose integers all are 0 keeps its scale.
    """
    n = (rows / scale[:, None]).round_().clamp_(-largest, largest)
    square = n.square().sum(1)
    return half(torch.where(square > 0, (rows * n).sum(1) / square.clamp_min(1), scale))


def best_scales(rows: Tensor, largest: int) -> Tensor:
    """For each row the scale of least squared error among `SHARES` of the one that clips nothing, then refined.

    Shape: [C, n] -> [C], float16 numbers in the type of `rows`.
    """
    whole = half(rows.abs().amax(1) / largest)
    best, least = whole, torch.full_like(whole, torch.inf)

    def keep(scale: Tensor) -> None:
        nonlocal best, least
        n = (rows / scale[:, None]).round_().clamp_(-largest, largest)
        error = (rows - n * scale[:, None]).square().sum(1)
        best, least = torch.where(error < least, scale, best), torch.minimum(error, least)

    for i in range(SHARES, -1, -1):
        keep(half(whole * (0.25 + 0.75 * i / SHARES)))
    for _ in range(STEPS):
        keep(least_squares(rows, best, largest))
    return best


@encodings(paper="arxiv:1901.01928")
class BlockGrid(Encoding):
    """DSConv: integers that stay, shifts that are trained. Shape: original [C * blocks * positions], the shifts, flat.

    `channel` [C] holds the shifts of the channels, 1 at first. `axis` counts channels, the other of the first two dimensions
    inputs. Too many values for `levels`: a shift serves `block` weights.
    """

    integers: Tensor

    def __init__(self, *, bits: int, block: int, axis: int = 0, shape: Sequence[int] = ()) -> None:
        super().__init__()
        self.bits, self.block, self.axis = bits, block, axis
        self.register_buffer("integers", torch.zeros(tuple(shape), dtype=torch.int8))
        self.channel = nn.Parameter(torch.ones(shape[axis] if shape else 0))
        self._first: Tensor | None = None

    @classmethod
    def of(cls, weight: Tensor, *, bits: int, block: int, axis: int = 0) -> "BlockGrid":
        """The encoding of this weight: each block's integers from its largest weight, its shift by least squares."""
        new = cls(bits=bits, block=block, axis=axis, shape=weight.shape)
        blocks = new.blocks(weight.detach().float())  # [C, blocks, block, positions]
        whole = half(blocks.abs().amax(2, keepdim=True) / new.largest)
        n = (blocks / whole).round().clamp(-new.largest, new.largest)
        square = n.square().sum(2)
        new._first = half(torch.where(square > 0, (blocks * n).sum(2) / square.clamp_min(1), whole.squeeze(2)))
        new.integers = new.unblocked(n, weight.shape).to(torch.int8)
        new.channel = nn.Parameter(new.channel.detach().to(weight))
        return new

    @property
    def largest(self) -> int:
        """The largest integer, q."""
        return int(2 ** (self.bits - 1) - 1)

    def options(self) -> dict[str, Any]:
        return {"bits": self.bits, "block": self.block, "axis": self.axis}

    def right_inverse(self, weight: Tensor) -> Tensor:
        first = self._first if self._first is not None else torch.zeros(math.prod(self._shifts()))
        self._first = None
        return first.to(weight).flatten()

    def forward(self, original: Tensor) -> Tensor:
        shifts = usable(original.view(self._shifts()), zero=False)
        channel = usable(self.channel[None], zero=False).to(original.dtype).view(-1, 1, 1)
        spread = (shifts * channel)[:, :, None].expand(-1, -1, self.block, -1)
        return self.integers.to(original.dtype) * self.unblocked(spread, self.integers.shape)

    def describe(self, weight: Tensor) -> str:
        return f"{self.bits}-bit integers, a shift for {self.block} inputs"

    def blocks(self, weight: Tensor) -> Tensor:
        """Inputs in blocks, the last filled with zeros. Shape: the weight's -> [C, blocks, block, positions]."""
        rows = weight.movedim(self.axis, 0).flatten(2) if weight.dim() > 2 else weight.movedim(self.axis, 0)[..., None]
        filled = F.pad(rows, (0, 0, 0, -rows.shape[1] % self.block))
        return filled.unflatten(1, (-1, self.block))

    def unblocked(self, blocks: Tensor, shape: Sequence[int]) -> Tensor:
        """The reverse of `blocks`. Shape: [C, blocks, block, positions] -> `shape`."""
        inputs = shape[1 - self.axis]
        rows = blocks.flatten(1, 2)[:, :inputs]
        return rows.reshape(shape[self.axis], inputs, *shape[2:]).movedim(0, self.axis)

    def _shifts(self) -> tuple[int, int, int]:
        """Shape of the shifts: [C, blocks, positions]."""
        shape = self.integers.shape
        return shape[self.axis], math.ceil(shape[1 - self.axis] / self.block), math.prod(shape[2:])
