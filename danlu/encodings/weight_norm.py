"""Weight normalisation: the length and the direction of each filter as two parameters.

    w[c] = g[c] v[c] / |v[c]|           v: the tensor that was the weight; g: the lengths, one a channel

The gradient of v stands at right angles to v, so |v| grows with the steps and steadies them; nothing depends on the batch.

Source: Salimans & Kingma 2016, https://arxiv.org/abs/1602.07868.
Differs: g starts as the length of the weight that there is; the paper sets it from a first batch.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ._registry import encodings
from .base import Encoding


@encodings(paper="arxiv:1602.07868")
class WeightNorm(Encoding):
    """Lengths `g` [C] and directions; `axis` is the dimension that counts channels. Shape: original and weight alike."""

    def __init__(self, *, axis: int = 0, shape: Sequence[int] = ()) -> None:
        super().__init__()
        self.axis = axis
        self.g = nn.Parameter(torch.ones(shape[axis] if shape else 0))

    def options(self) -> dict[str, Any]:
        return {"axis": self.axis}

    def right_inverse(self, weight: Tensor) -> Tensor:
        with torch.no_grad():
            self.g = nn.Parameter(self._lengths(weight).flatten())
        return weight

    def forward(self, original: Tensor) -> Tensor:
        lengths = self._lengths(original)
        return original * (self.g.view(lengths.shape) / lengths.clamp_min(torch.finfo(original.dtype).tiny))

    def describe(self, weight: Tensor) -> str:
        return f"{len(self.g)} lengths and directions"

    def _lengths(self, v: Tensor) -> Tensor:
        others = [d for d in range(v.dim()) if d != self.axis]
        return torch.linalg.vector_norm(v, dim=others, keepdim=True)
