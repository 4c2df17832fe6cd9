"""Dense connection: what a step computes lies beside its input, so that every later step sees every earlier map.

    y = [x; f(x)]        (channels concatenated; f is the chain of the children)

Source: Huang et al. 2016, https://arxiv.org/abs/1608.06993, equation 2: a stack of these gives x_l = [x_0; f_1; ...; f_l].
"""

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ._registry import layers


@layers(paper="arxiv:1608.06993")
class DenseConnection(nn.Sequential):
    """Built like nn.Sequential; its children run one after another, and their result is appended to the input.

    Shape: [B, C, H, W] -> [B, C + C', H, W] for children that give [B, C', H, W]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Shape: [B, C, H, W] -> [B, C + C', H, W]."""
        return torch.cat([input, super().forward(input)], dim=1)


@layers(paper="arxiv:1608.06993")
class LastChannels(nn.Module):
    """The last `out_channels` of a concatenation: what the step before computed, without what it passed on.

    Shape: [B, C, H, W] -> [B, out_channels, H, W],  C >= out_channels

    Raises: UsageError unless out_channels is at least 1.
    """

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        if out_channels < 1:
            raise UsageError(f"LastChannels keeps at least 1 channel, got {out_channels}")
        self.out_channels = out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, C, H, W] -> [B, out_channels, H, W]."""
        _, last = x.split([x.shape[1] - self.out_channels, self.out_channels], dim=1)
        return last

    def extra_repr(self) -> str:
        """Its argument."""
        return str(self.out_channels)
