"""Maxout: the largest of k linear functions, an activation that is learned; any convex function is such a maximum.

    y_c = max over j < k of x_(k c + j)         the k pieces of a unit lie beside each other

The layer before gives k times the channels. Pieces (x, 0) would be ReLU, (x, -x) the absolute value.

Source: Goodfellow et al. 2013, Maxout networks, https://arxiv.org/abs/1302.4389.
"""

from torch import Tensor, nn

from ..errors import UsageError
from ._registry import layers


@layers(paper="arxiv:1302.4389")
class Maxout(nn.Module):
    """The maximum over groups of `pieces` neighbouring channels.

    Shape: [B, pieces * C, ...] -> [B, C, ...]
    Raises: UsageError for fewer than 1 piece.
    """

    def __init__(self, pieces: int) -> None:
        super().__init__()
        if pieces < 1:
            raise UsageError(f"Maxout takes the largest of at least 1 piece, got {pieces}")
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, pieces * C, ...] -> [B, C, ...]."""
        return x.unflatten(1, (-1, self.pieces)).amax(2)

    def extra_repr(self) -> str:
        """Its argument."""
        return str(self.pieces)
