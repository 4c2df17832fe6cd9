"""Residual branches that stay away at random in training, so that a deep net trains as an ensemble of shorter ones.

    training   y = b x / survival,  b = 1 with probability `survival`, else 0        inference   y = x

Put at the end of a branch, before its sum with the shortcut: where b = 0 the unit is its shortcut alone.

Source: Huang et al. 2016, Deep networks with stochastic depth, https://arxiv.org/abs/1603.09382.
Differs: the paper multiplies by `survival` at inference; dividing in training gives the same mean and costs nothing later.
"""

from typing import Literal

from torch import Tensor, nn

from ..errors import UsageError
from ._registry import layers


@layers(paper="arxiv:1603.09382")
class StochasticDepth(nn.Module):
    """Drops its whole input with probability 1 - survival: `per` image, or for the whole batch at once as the paper does.

    Shape: [B, ...] -> the same

    Raises: UsageError unless 0 < survival <= 1 and `per` is "image" or "batch".
    """

    def __init__(self, survival: float, *, per: Literal["image", "batch"] = "image") -> None:
        super().__init__()
        if not 0 < survival <= 1:
            raise UsageError(f"survival is the probability that a branch is there, above 0 and at most 1; got {survival!r}")
        if per not in ("image", "batch"):
            raise UsageError(f"a branch is dropped per 'image' or per 'batch', got per={per!r}")
        self.survival, self.per = float(survival), per

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, ...] -> the same."""
        if not self.training or self.survival == 1:
            return x
        draws = x.shape[0] if self.per == "image" else 1
        factor = x.new_empty(draws).bernoulli_(self.survival) / self.survival
        return (x.transpose(0, -1) * factor).transpose(0, -1)  # broadcast over the images, whatever dimensions follow

    def extra_repr(self) -> str:
        """Its arguments."""
        return f"{self.survival:g}, per={self.per!r}"
