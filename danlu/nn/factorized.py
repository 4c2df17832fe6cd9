"""A convolution with a large filter as several with small ones, which see the same pixels with fewer weights.

    asymmetric    n x n  ->  n x 1, 1 x n              2 n weights of n^2        7x7: 14 of 49
    stacked       n x n  ->  (n - 1) / 2 times 3x3     9 (n - 1) / 2 of n^2      5x5: 18 of 25,  7x7: 27 of 49

With a ReLU between the steps the layer can do more than one filter, and the paper's nets learn better than without.

Source: Szegedy et al. 2015, https://arxiv.org/abs/1512.00567, sections 3.1 (stacked) and 3.2 (asymmetric).
"""

from typing import Literal

from torch import nn

from ..errors import UsageError
from ._registry import layers
from ._sides import sides
from .flattened import PaddingMode

Between = Literal["none", "relu", "bn_relu"]
BETWEEN = ("none", "relu", "bn_relu")


def between_steps(between: Between, channels: int, number: int = 1) -> dict[str, nn.Module]:
    """The named layers between two steps. Raises UsageError for another `between`."""
    if between not in BETWEEN:
        raise UsageError(f"between is one of {', '.join(BETWEEN)}, got {between!r}")
    kinds: dict[str, nn.Module] = {"bn": nn.BatchNorm2d(channels)} if between == "bn_relu" else {}
    if between != "none":
        kinds["relu"] = nn.ReLU()
    return {f"{name}{number}": layer for name, layer in kinds.items()}


def share(total: int, parts: int, i: int) -> int:
    """The i-th of `parts` whole numbers that add up to `total`, the larger ones first."""
    return total // parts + (i < total % parts)


@layers(paper="arxiv:1512.00567")
class AsymmetricConv2d(nn.Sequential):
    """kernel x 1 to `hidden` channels, then 1 x kernel to `out_channels`.

    `hidden` is the smaller of the two channel counts without a number, as in Inception v3. `between` the two stands nothing, a
    ReLU, or a batch norm and a ReLU. The other arguments are those of nn.Conv2d, and so is the size of the output.

    Shape: [B, in_channels, H, W] -> [B, out_channels, H', W'], H' = floor((H + 2 padding - dilation (k - 1) - 1) / stride) + 1

    Raises: UsageError for another `between`.
    """

    vertical: nn.Conv2d
    horizontal: nn.Conv2d

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        hidden: int | None = None,
        between: Between = "none",
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.bias = in_channels, out_channels, bias
        self.kernel_size, self.stride, self.padding = sides(kernel_size), sides(stride), sides(padding)
        self.dilation, self.padding_mode, self.between = sides(dilation), padding_mode, between
        self.hidden = min(in_channels, out_channels) if hidden is None else hidden
        (high, wide), (down, across), (above, beside) = self.kernel_size, self.stride, self.padding
        # Without a norm or an activation in between, one bias, at the end, says all.
        first_bias = bias and between == "relu"
        self.vertical = nn.Conv2d(
            in_channels, self.hidden, (high, 1), (down, 1), (above, 0), (self.dilation[0], 1), 1, first_bias, padding_mode
        )
        for name, layer in between_steps(between, self.hidden).items():
            self.add_module(name, layer)
        self.horizontal = nn.Conv2d(
            self.hidden, out_channels, (1, wide), (1, across), (0, beside), (1, self.dilation[1]), 1, bias, padding_mode
        )

    def extra_repr(self) -> str:
        """Its arguments."""
        own = f"hidden={self.hidden}, between={self.between!r}"
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, {own}"


@layers(paper="arxiv:1512.00567")
class StackedConv2d(nn.Sequential):
    """(kernel - 1) / 2 times 3x3, which together see kernel x kernel pixels, for an odd kernel of 5 or more.

    The steps but the last have `hidden` channels, the smaller of the two counts without a number. The padding is shared out
    over the steps and the stride stands on the last one, so that the output has the size that nn.Conv2d gives.

    Shape: [B, in_channels, H, W] -> [B, out_channels, H', W'], H' = floor((H + 2 padding - k) / stride) + 1

    Raises: UsageError for an even kernel or one below 5, and for another `between`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        hidden: int | None = None,
        between: Between = "none",
    ) -> None:
        super().__init__()
        if kernel_size < 5 or kernel_size % 2 == 0:
            raise UsageError(f"StackedConv2d takes an odd kernel of at least 5, got {kernel_size}")
        self.in_channels, self.out_channels, self.kernel_size, self.bias = in_channels, out_channels, kernel_size, bias
        self.stride, self.padding, self.padding_mode, self.between = sides(stride), sides(padding), padding_mode, between
        self.hidden = min(in_channels, out_channels) if hidden is None else hidden
        steps = (kernel_size - 1) // 2
        for i in range(steps):
            last = i == steps - 1
            around = (share(self.padding[0], steps, i), share(self.padding[1], steps, i))
            conv = nn.Conv2d(
                self.hidden if i else in_channels, out_channels if last else self.hidden, 3,
                stride=self.stride if last else 1, padding=around, bias=bias and (last or between == "relu"),
                padding_mode=padding_mode,
            )  # fmt: skip
            self.add_module(f"conv{i + 1}", conv)
            if not last:
                for name, layer in between_steps(between, self.hidden, i + 1).items():
                    self.add_module(name, layer)

    def extra_repr(self) -> str:
        """Its arguments."""
        own = f"hidden={self.hidden}, between={self.between!r}"
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, {own}"
