"""The shortcut without weights: subsample by slicing, fill the new channels with zeros.

    y[:, :in_channels] = x[:, :, ::stride, ::stride]        y[:, in_channels:] = 0

Source: He et al. 2015, option A of section 4.2, https://arxiv.org/abs/1512.03385.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UsageError
from ._registry import layers


@layers(paper="arxiv:1512.03385")
class PadShortcut(nn.Module):
    """Identity shortcut across a change of size: strided slice, then zero channels after the given ones.

    The counts and the stride are plain attributes, read on every call, so that an edit may change them.

    Shape: [B, in_channels, H, W] -> [B, out_channels, ceil(H / stride), ceil(W / stride)], as a 3x3 convolution of that
    stride with padding 1 gives.

    Raises: UsageError when the shortcut would have to drop channels.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        if not 1 <= in_channels <= out_channels or stride < 1:
            got = f"{in_channels} -> {out_channels} at stride {stride}"
            raise UsageError(f"PadShortcut only adds channels (1 <= in_channels <= out_channels, stride >= 1), got {got}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, out_channels, ceil(H / stride), ceil(W / stride)]."""
        if self.training and self.stride > 1:
            # The same values; but a slice sends back an NCHW gradient, which costs a channels-last net a tenth of its step.
            x = F.avg_pool2d(x, 1, self.stride)
        else:
            x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, 0, self.out_channels - self.in_channels))

    def extra_repr(self) -> str:
        """Its arguments."""
        return f"{self.in_channels}, {self.out_channels}, stride={self.stride}"
