"""Pruned weights: a mask of the largest ones, held while the rest is trained, and rising by a cubic schedule if wanted.

    weight = original * mask
    sparsity(t) = s (1 - (1 - min(t / ramp, 1))^3)          t: share of the training done

Source: Han et al. 2015, https://arxiv.org/abs/1506.02626 (magnitude, re-training); Zhu and Gupta 2017,
https://arxiv.org/abs/1710.01878 (the schedule; it starts from 0 here); 2:4: Mishra et al. 2021, https://arxiv.org/abs/2104.08378.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ._registry import encodings
from .base import Encoding

LOOKS = 200  # masks are chosen anew at most this often on the way to the final sparsity


@encodings(paper="arxiv:1506.02626")
class Mask(Encoding):
    """Zeros where `mask` is False. Shape: original and weight alike.

    With `ramp` 0 the mask is that of the weight it was put on. With `ramp` in (0, 1] the sparsity rises as the training goes
    on, and the smallest weights at each time are masked.
    """

    mask: Tensor

    def __init__(self, *, sparsity: float, structure: str = "weight", ramp: float = 0.0, shape: Sequence[int] = ()) -> None:
        super().__init__()
        self.sparsity, self.structure, self.ramp = sparsity, structure, ramp
        self.share = 0.0
        self.register_buffer("mask", torch.ones(tuple(shape), dtype=torch.bool))

    def options(self) -> dict[str, Any]:
        return {"sparsity": self.sparsity, "structure": self.structure}

    @property
    def settled(self) -> bool:
        return not self.ramp or (self.share >= self.ramp and not self._behind())

    @property
    def target(self) -> float:
        """The sparsity that is due now."""
        if self.share >= self.ramp:
            return self.sparsity
        return self.sparsity * (1 - (1 - self.share / self.ramp) ** 3)

    def advance(self, share: float) -> None:
        self.share = max(self.share, share)

    def right_inverse(self, weight: Tensor) -> Tensor:
        self.mask = largest(weight, self.target, self.structure)
        return weight

    def forward(self, original: Tensor) -> Tensor:
        if self.training and self.ramp:
            self.catch_up(original)
        return original * self.mask

    def catch_up(self, original: Tensor) -> None:
        """Mask more when that is due."""
        ended = self.share >= self.ramp
        if self._behind() if ended else self.target - self._zeros() >= self.sparsity / LOOKS:
            self.mask = largest(original, self.target, self.structure)

    def _zeros(self) -> float:
        return 1 - self.mask.count_nonzero().item() / max(self.mask.numel(), 1)

    def _behind(self) -> bool:
        """Whether the mask has fewer zeros than it should end with."""
        return self._zeros() < self.sparsity - 0.5 / max(self.mask.numel(), 1)

    def describe(self, weight: Tensor) -> str:
        goal = "" if self.settled else f", rising to {self.sparsity:.2%}"
        return f"{self._zeros():.2%} zeros{goal}"


def largest(weight: Tensor, sparsity: float, structure: str = "weight") -> Tensor:
    """True for the largest magnitudes: round(numel (1 - sparsity)) of them, or two of every four inputs for "2:4"."""
    magnitude = weight.detach().abs()
    if structure == "2:4":
        fours = magnitude.movedim(1, -1).unflatten(-1, (-1, 4))
        chosen = torch.zeros_like(fours, dtype=torch.bool).scatter_(-1, fours.topk(2, dim=-1).indices, True)
        return chosen.flatten(-2).movedim(-1, 1).contiguous()
    keep = round(magnitude.numel() * (1 - sparsity))
    flat = torch.zeros(magnitude.numel(), dtype=torch.bool, device=weight.device)
    flat[magnitude.flatten().topk(keep, sorted=False).indices] = True
    return flat.view(weight.shape)
