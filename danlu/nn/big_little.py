"""Big-little branches: a costly branch sees the map at half its size, a cheap one at full size, and their outputs are added.

    y = little(x) + up(big(x))        up: nearest neighbour, to the map of the little branch

Source: Chen et al. 2018, Big-little net, https://arxiv.org/abs/1807.03848.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from ._registry import layers


@layers(paper="arxiv:1807.03848")
class BigLittle(nn.Sequential):
    """Built like nn.Sequential, of two branches: the big one, which makes its map smaller, then the little one.

    Shape: [B, C, H, W] -> what the little branch gives, [B, C', H', W']
    """

    def forward(self, input: Tensor) -> Tensor:
        """Shape: [B, C, H, W] -> [B, C', H', W']."""
        big, little = self
        fine = little(input)
        return fine + F.interpolate(big(input), size=fine.shape[2:], mode="nearest")
