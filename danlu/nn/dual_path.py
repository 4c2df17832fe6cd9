"""Dual path: some channels are residual (summed with the shortcut), the others dense (appended to it).

    y = [s[:r] + f[:r]; s[r:]; f[r:]]        s: shortcut, f: what the block computed, r: residual channels

Reuse of features from the sum, exploration of new ones from the concatenation.

Source: Chen et al. 2017, Dual path networks, https://arxiv.org/abs/1707.01629, equations 5 to 7.
"""

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ._registry import layers


@layers(paper="arxiv:1707.01629")
class DualPath(nn.Module):
    """Joins a shortcut and a block's output; has no weights. `residual` channels are summed, those behind them concatenated.

    residual = 0 is a dense connection; a residual one is that in which neither input has channels behind them.

    Shape: [B, residual + D, H, W], [B, residual + G, H, W] -> [B, residual + D + G, H, W]

    Raises: UsageError unless residual is at least 0.
    """

    def __init__(self, residual: int) -> None:
        super().__init__()
        if residual < 0:
            raise UsageError(f"DualPath sums a number of channels of at least 0, got {residual}")
        self.residual = residual

    def forward(self, shortcut: Tensor, computed: Tensor) -> Tensor:
        """Shape: [B, residual + D, H, W], [B, residual + G, H, W] -> [B, residual + D + G, H, W]."""
        r = self.residual
        carried, kept = shortcut.split([r, shortcut.shape[1] - r], dim=1)
        change, new = computed.split([r, computed.shape[1] - r], dim=1)
        return torch.cat([carried + change, kept, new], dim=1)

    def extra_repr(self) -> str:
        """Its argument."""
        return str(self.residual)
