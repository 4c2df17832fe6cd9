"""CBAM: attention over channels, then over places. Which channels matter is read from their means and maxima over the map,
which places matter from the mean and the maximum over the channels.

    channel   y = x * sigmoid(f(mean of x over H, W) + f(max of x over H, W))      f(z) = W2 relu(W1 z), shared
    spatial   y = x * sigmoid(norm(conv([max of x over C; mean of x over C])))      one kernel x kernel filter, 2 channels -> 1

Source: Woo et al. 2018, CBAM: Convolutional block attention module, https://arxiv.org/abs/1807.06521; the norm behind the
filter is in the authors' code.
Differs: the hidden width of f is rounded as in `squeeze_excitation.py`.
"""

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ._registry import layers
from .squeeze_excitation import hidden_width


@layers(paper="arxiv:1807.06521")
class ChannelAttention(nn.Module):
    """Squeeze and excitation that sees the maximum of each channel beside its mean.

    Shape: [B, channels, H, W] -> the same

    Raises: UsageError unless reduction is a whole number from 1.
    """

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        self.channels, self.reduction = channels, reduction
        hidden = hidden_width(channels, reduction)
        self.squeeze = nn.Linear(channels, hidden)
        self.relu = nn.ReLU(inplace=True)
        self.excite = nn.Linear(hidden, channels)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, channels, H, W] -> the same."""
        seen = torch.stack([x.mean((2, 3)), x.amax((2, 3))], dim=1)  # [B, 2, channels]: two rows for the shared layers
        scores = self.excite(self.relu(self.squeeze(seen))).sum(1)  # [B, channels]
        return x * self.gate(scores.unsqueeze(2).unsqueeze(3))

    def extra_repr(self) -> str:
        """Its arguments."""
        return f"{self.channels}, reduction={self.reduction}"


@layers(paper="arxiv:1807.06521")
class SpatialAttention(nn.Module):
    """One factor for each place of the map, the same for all channels.

    Shape: [B, C, H, W] -> the same, for any C

    Raises: UsageError for an even kernel, which has no middle.
    """

    def __init__(self, *, kernel: int = 7, batch_norm: bool = True) -> None:
        super().__init__()
        if isinstance(kernel, bool) or not isinstance(kernel, int) or kernel < 1 or kernel % 2 == 0:
            raise UsageError(f"kernel is the side of the filter of spatial attention, 1, 3, 5, ...; got {kernel!r}")
        self.kernel, self.batch_norm = kernel, batch_norm
        self.conv = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=not batch_norm)
        self.norm = nn.BatchNorm2d(1) if batch_norm else nn.Identity()
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, C, H, W] -> the same."""
        seen = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], dim=1)  # [B, 2, H, W]
        return x * self.gate(self.norm(self.conv(seen)))

    def extra_repr(self) -> str:
        """Its arguments."""
        return f"kernel={self.kernel}" + ("" if self.batch_norm else ", batch_norm=False")


@layers(paper="arxiv:1807.06521")
class CBAM(nn.Module):
    """Channel attention, then spatial attention.

    Shape: [B, channels, H, W] -> the same

    Raises: UsageError unless reduction is a whole number from 1 and kernel an odd one.
    """

    def __init__(self, channels: int, *, reduction: int = 16, kernel: int = 7, batch_norm: bool = True) -> None:
        super().__init__()
        self.channels, self.reduction, self.kernel, self.batch_norm = channels, reduction, kernel, batch_norm
        self.channel = ChannelAttention(channels, reduction=reduction)
        self.spatial = SpatialAttention(kernel=kernel, batch_norm=batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, channels, H, W] -> the same."""
        y: Tensor = self.spatial(self.channel(x))
        return y

    def extra_repr(self) -> str:
        """Its arguments."""
        text = f"{self.channels}, reduction={self.reduction}, kernel={self.kernel}"
        return text + ("" if self.batch_norm else ", batch_norm=False")
