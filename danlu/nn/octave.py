"""Octave convolution: part of the channels, the slowly varying ones, live on a map of half the height and width.

    high' = f(high; W_hh) + up(f(low; W_lh))        low' = f(low; W_ll) + f(pool(high); W_hl)

with f a convolution, `up` nearest neighbour by 2 and `pool` a 2x2 mean. A share `alpha` of the channels is low: as many
weights as a plain convolution has, and at stride 1 the share 1 - 3/4 (1 - (1 - alpha_in)(1 - alpha_out)) of its MACs.

Source: Chen et al. 2019, Drop an octave, https://arxiv.org/abs/1904.05049; stride by pooling, as in its table 3.
Differs: kernels are odd and keep the size of the map, and are not grouped. An odd map has a low one of (H + 1) / 2.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UsageError
from ._registry import layers
from ._sides import sides

PATHS = ("high_high", "low_high", "high_low", "low_low")  # from _ to


def low_channels(channels: int, alpha: float) -> int:
    """How many of `channels` lie on the half-size map.

    Raises: UsageError unless 0 <= alpha < 1, and each map gets a channel where alpha is not 0.
    """
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 <= alpha < 1:
        raise UsageError(f"alpha is the share of low-frequency channels, at least 0 and below 1; got {alpha!r}")
    low = int(alpha * channels)
    if alpha > 0 and low == 0:
        raise UsageError(f"alpha={alpha:g} of {channels} channels leaves no channel to the low map")
    return low


def halved(x: Tensor, factor: int = 2) -> Tensor:
    """The mean of each cell of `factor` x `factor` pixels. Shape: [B, C, H, W] -> [B, C, ceil(H / factor), ceil(W / factor)]."""
    return F.avg_pool2d(x, factor, ceil_mode=True, count_include_pad=False)


def spread(x: Tensor, like: Tensor) -> Tensor:
    """Each pixel repeated until the map is as large as that of `like`. Shape: [B, C, h, w] -> [B, C, *like.shape[2:]]."""
    return F.interpolate(x, size=like.shape[2:], mode="nearest")


@layers(paper="arxiv:1904.05049")
class OctaveConv2d(nn.Module):
    """A convolution between pairs of maps (high, low); a side whose alpha is 0 is a plain tensor.

    `alpha_in` and `alpha_out` are the shares of low channels: 0 and a gives the first layer of an octave net, a and a the
    ones within, a and 0 the last. The weights lie in up to four plain convolutions, named from_to: high_high, low_high,
    high_low, low_low. They are drawn as torch draws those of the plain convolution with all `in_channels`.

    `joined` takes and gives one tensor in the place of a pair: the last channels are the low ones, pooled on the way in and
    repeated on the way out. A chain of such layers with pointwise ones between computes what a chain on pairs does.

    Shape: ([B, in high, H, W], [B, in low, ceil(H / 2), ceil(W / 2)]) -> the same of `out_channels` at
    H' = ceil(H / stride); joined: [B, in_channels, H, W] -> [B, out_channels, H', W'].

    Raises: UsageError for an alpha, a kernel or a stride out of range.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        alpha_in: float = 0.5,
        alpha_out: float = 0.5,
        stride: int = 1,
        dilation: int | tuple[int, int] = 1,
        bias: bool = False,
        joined: bool = False,
    ) -> None:
        super().__init__()
        kernel, spacing = sides(kernel_size), sides(dilation)
        if any(side % 2 == 0 for side in kernel):
            raise UsageError(f"an octave convolution keeps the size of its map, so its kernel is odd; got {kernel_size}")
        if stride not in (1, 2):
            raise UsageError(f"the stride of an octave convolution is 1 or 2, got {stride!r}")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.dilation, self.stride = kernel_size, dilation, stride
        self.alpha_in, self.alpha_out = alpha_in, alpha_out
        self.bias, self.joined = bias, joined
        low_in, low_out = low_channels(in_channels, alpha_in), low_channels(out_channels, alpha_out)
        self.high_in = in_channels - low_in
        taken = {"high": self.high_in, "low": low_in}
        given = {"high": out_channels - low_out, "low": low_out}
        padding = spacing[0] * (kernel[0] // 2), spacing[1] * (kernel[1] // 2)
        bound = 1 / math.sqrt(in_channels * math.prod(kernel))
        for path in PATHS:
            source, _, target = path.partition("_")
            conv = None
            if taken[source] and given[target]:
                # One bias for each output map: on the path from the high map, which is always there.
                conv = nn.Conv2d(
                    taken[source], given[target], kernel, padding=padding, dilation=spacing, bias=bias and source == "high"
                )
                for parameter in conv.parameters():
                    nn.init.uniform_(parameter, -bound, bound)
            self.add_module(path, conv)

    high_high: nn.Conv2d
    low_high: nn.Conv2d | None
    high_low: nn.Conv2d | None
    low_low: nn.Conv2d | None

    def forward(self, x: Tensor | tuple[Tensor, Tensor]) -> Tensor | tuple[Tensor, Tensor]:
        """Shape: see the class. Which of the paths exist is fixed when the layer is made, so no value decides."""
        high, low = self._taken(x)
        to_high = self.high_high(self._strided(high))
        if self.low_high is not None and low is not None:
            from_low = self.low_high(low)
            # At stride 2 the low map, half the height and width of the high one, has the size of the new high map.
            to_high = to_high + (from_low if self.stride == 2 else spread(from_low, to_high))
        if self.high_low is None:
            return to_high
        to_low = self.high_low(halved(high, 2 * self.stride))
        if self.low_low is not None and low is not None:
            to_low = to_low + self.low_low(self._strided(low))
        if self.joined:
            return torch.cat([to_high, spread(to_low, to_high)], dim=1)
        return to_high, to_low

    def _taken(self, x: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor | None]:
        """The high map and the low one, or None where there is none."""
        if self.alpha_in == 0:
            return x, None  # type: ignore[return-value]  # a plain tensor; fx gives a proxy, so nothing may ask what it is
        if self.joined:
            return x[:, : self.high_in], halved(x[:, self.high_in :])  # type: ignore[call-overload]
        return x[0], x[1]

    def _strided(self, x: Tensor) -> Tensor:
        return x if self.stride == 1 else halved(x, self.stride)

    def extra_repr(self) -> str:
        """Its arguments."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        shares = f"alpha_in={self.alpha_in:g}, alpha_out={self.alpha_out:g}"
        rest = [f"{name}={getattr(self, name)}" for name in ("stride", "dilation") if getattr(self, name) != 1]
        flags = [f"{name}=True" for name in ("bias", "joined") if getattr(self, name)]
        return ", ".join([text, shares, *rest, *flags])


@layers(paper="arxiv:1904.05049")
class OctaveEach(nn.Sequential):
    """Layers beside each other, one for each map: the first on the high one, the second on the low one; one alone on a tensor.

    Shape: ([B, C, H, W], [B, c, h, w]) -> what the two layers give
    """

    def forward(self, input: Tensor | tuple[Tensor, Tensor]) -> Tensor | tuple[Tensor, Tensor]:
        """Shape: see the class."""
        if len(self) == 1:
            return self[0](input)
        return self[0](input[0]), self[1](input[1])
