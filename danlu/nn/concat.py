"""Branches side by side: each sees the same input, their outputs are concatenated on the channels.

    y = [branch_1(x); branch_2(x); ...]

Source: Szegedy et al. 2014, Going deeper with convolutions, https://arxiv.org/abs/1409.4842, section 4 (filter concatenation).
"""

import torch
from torch import Tensor, nn

from ._registry import layers


@layers(paper="arxiv:1409.4842")
class Concat(nn.Sequential):
    """Built like nn.Sequential, from modules or from an ordered dict of named ones; its children run beside each other.

    Shape: [B, C, H, W] -> [B, sum of the branches' channels, H', W'], the same H' x W' in every branch
    """

    def forward(self, input: Tensor) -> Tensor:
        """Shape: [B, C, H, W] -> [B, sum of the branches' channels, H', W']."""
        return torch.cat([branch(input) for branch in self], dim=1)
