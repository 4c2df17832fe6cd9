"""Branches side by side whose outputs are added: with an identity among them, a residual connection around the others.

    y = branch_1(x) + branch_2(x) + ...

Source: He et al. 2015, Deep residual learning, https://arxiv.org/abs/1512.03385, equation 1.
"""

from torch import Tensor, nn

from ._registry import layers


@layers(paper="arxiv:1512.03385")
class Sum(nn.Sequential):
    """Built like nn.Sequential, from modules or from an ordered dict of named ones; its children run beside each other.

    Shape: [B, C, H, W] -> [B, C', H', W'], the same in every branch
    """

    def forward(self, input: Tensor) -> Tensor:
        """Shape: [B, C, H, W] -> [B, C', H', W']."""
        first, *others = self
        total: Tensor = first(input)
        for branch in others:
            total = total + branch(input)
        return total
