"""CReLU: half the filters, and the negative of each beside it. Early layers learn filters in pairs of opposite sign anyway.

    CReLU(x)         = relu([x; -x])
    CReLU(x), scaled = relu(a [x; -x] + b)      a, b learned for each of the 2 C outputs

Source: Shang et al. 2016, https://arxiv.org/abs/1603.05201; scale and shift: Hong et al. 2016, PVANet,
https://arxiv.org/abs/1611.08588, section 2.1.
"""

import torch
from torch import Tensor, nn

from ._registry import layers


@layers(paper="arxiv:1603.05201")
class WithNegative(nn.Module):
    """The map and its negative: y = [x; -x]. Before a batch norm and a ReLU it makes a CReLU whose scale and shift are learned.

    Shape: [B, C, ...] -> [B, 2 C, ...]
    """

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, C, ...] -> [B, 2 C, ...]."""
        return torch.cat([x, -x], dim=1)


@layers(paper="arxiv:1603.05201")
class CReLU(nn.Module):
    """What is positive of a map, and what is negative: y = [relu(x); relu(-x)].

    With `channels`, those of the input, each output gets a scale and a shift of its own before the ReLU.

    Shape: [B, C, ...] -> [B, 2 C, ...]; [B, C, H, W] -> [B, 2 C, H, W] with `channels`
    """

    def __init__(
        self, channels: int | None = None, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.channels = channels
        self.weight = self.bias = None
        if channels is not None:
            self.weight = nn.Parameter(torch.ones(2 * channels, device=device, dtype=dtype))
            self.bias = nn.Parameter(torch.zeros(2 * channels, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, C, ...] -> [B, 2 C, ...]."""
        y = torch.cat([x, -x], dim=1)
        if self.weight is not None and self.bias is not None:
            y = y * self.weight.view(-1, 1, 1) + self.bias.view(-1, 1, 1)
        return torch.relu(y)

    def extra_repr(self) -> str:
        """Its argument."""
        return "" if self.channels is None else str(self.channels)
