"""A convolution over clips in two steps: over each frame, then over time; a ReLU between doubles the non-linearities.

    t x d x d filter  ->  1 x d x d to M channels, then t x 1 x 1          M = floor(t d^2 C_in C_out / (d^2 C_in + t C_out))

M is what gives the two steps as many weights as the one had. A norm and a ReLU stand between them.

Source: Tran et al. 2017, https://arxiv.org/abs/1711.11248, section 3.5.
"""

from torch import nn

from ._registry import layers


def equal_hidden(in_channels: int, out_channels: int, kernel: int, time: int) -> int:
    """The channels between the two steps that keep the number of weights of time x kernel x kernel."""
    area = kernel * kernel
    return time * area * in_channels * out_channels // (area * in_channels + time * out_channels)


@layers(paper="arxiv:1711.11248")
class Conv2Plus1d(nn.Sequential):
    """1 x kernel x kernel to `hidden` channels, batch norm, ReLU, time x 1 x 1 to `out_channels`; paddings keep odd sizes.

    `hidden` is M of the formula without a number. `stride` is that of the frames, `time_stride` that of time.

    Shape: [B, in_channels, T, H, W] -> [B, out_channels, ceil(T / time_stride), ceil(H / stride), ceil(W / stride)]
    """

    spatial: nn.Conv3d
    temporal: nn.Conv3d

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        time: int = 3,
        *,
        stride: int = 1,
        time_stride: int = 1,
        hidden: int | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.kernel, self.time = in_channels, out_channels, kernel, time
        self.stride, self.time_stride, self.bias = stride, time_stride, bias
        self.hidden = equal_hidden(in_channels, out_channels, kernel, time) if hidden is None else hidden
        half, late = kernel // 2, time // 2
        self.spatial = nn.Conv3d(
            in_channels, self.hidden, (1, kernel, kernel), stride=(1, stride, stride), padding=(0, half, half), bias=False
        )
        self.bn = nn.BatchNorm3d(self.hidden)
        self.relu = nn.ReLU()
        self.temporal = nn.Conv3d(
            self.hidden, out_channels, (time, 1, 1), stride=(time_stride, 1, 1), padding=(late, 0, 0), bias=bias
        )

    def extra_repr(self) -> str:
        """Its arguments."""
        steps = f"stride={self.stride}, time_stride={self.time_stride}, hidden={self.hidden}"
        return f"{self.in_channels}, {self.out_channels}, kernel={self.kernel}, time={self.time}, {steps}"
