"""The geometry of a convolution and the pools behind it, as one convolution.

A layer of kernel k, stride s and padding p has floor((n + 2 p - k) / s) + 1 outputs along an axis of n. Layers in a row have

    floor((n + room) / stride) + 1 outputs, the first centred at input position `centre`
    conv      room = 2 p - k                             centre = (k - 1) / 2 - p                stride = s
    + pool    room += stride (1 + 2 p - k + s - 1)       centre += stride ((k - 1) / 2 - p)      stride *= s
              (s - 1 only with ceil_mode)

so that a convolution of that stride, kernel K and padding left + right = room + K has as many outputs for every n, and
left = (K - 1) / 2 - centre, rounded, puts them in the same places.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ._merge_fit import Pads
from .surgery import Keep

POOLS = (nn.MaxPool2d, nn.AvgPool2d)


def pair(value: Any) -> tuple[int, int]:
    """A number or a pair, as a pair."""
    return (int(value[0]), int(value[1])) if isinstance(value, tuple | list) else (int(value), int(value))


@dataclass(frozen=True)
class Span:
    """One axis of layers in a row; `reach` is how many inputs the first output sees."""

    room: int
    stride: int
    centre: float
    reach: int

    def then(self, kernel: int, stride: int, padding: int, ceil: bool) -> "Span":
        """With a pool behind."""
        room = self.room + self.stride * (1 + 2 * padding - kernel + (stride - 1 if ceil else 0))
        centre = self.centre + self.stride * ((kernel - 1) / 2 - padding)
        return Span(room, self.stride * stride, centre, self.reach + self.stride * (kernel - 1))

    def padding(self, reach: int) -> tuple[int, int]:
        """(left, right) of a convolution that sees `reach` inputs; below zero it does not see the outermost ones."""
        ideal, total = (reach - 1) / 2 - self.centre, self.room + reach
        left = math.floor(ideal)
        if ideal != left and abs(left + 1 - total / 2) < abs(left - total / 2):
            left += 1
        return left, total - left


def why_not_conv(conv: nn.Conv2d) -> str | None:
    """Why the geometry of a convolution is out of reach."""
    if conv.padding_mode != "zeros":
        return f"the convolution before it pads with {conv.padding_mode}, not zeros"
    if conv.padding == "same" and any(d * (k - 1) % 2 for d, k in zip(conv.dilation, conv.kernel_size, strict=True)):
        return "the convolution before it pads one side more than the other"
    return None


def why_not_pool(pool: Any) -> str | None:
    """Why a pool cannot become the stride of a convolution."""
    if getattr(pool, "return_indices", False):
        return "it returns indices"
    kernel, stride, padding = pool_of(pool)
    if pool.ceil_mode and any(p + s - 1 >= k for k, s, p in zip(kernel, stride, padding, strict=True)):
        return "how many outputs it has depends on the size in a way that no convolution follows (ceil_mode)"
    return None


def pool_of(pool: Any) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Kernel, with its dilation, stride and padding of a pool."""
    kernel, dilation = pair(pool.kernel_size), pair(getattr(pool, "dilation", 1))
    wide = (dilation[0] * (kernel[0] - 1) + 1, dilation[1] * (kernel[1] - 1) + 1)
    return wide, pair(pool.stride if pool.stride is not None else pool.kernel_size), pair(pool.padding)


def spans(conv: nn.Conv2d, pools: list[nn.Module]) -> tuple[Span, Span]:
    """Height and width of a convolution with pools behind it."""
    axes = []
    for axis in (0, 1):
        reach = conv.dilation[axis] * (conv.kernel_size[axis] - 1) + 1
        given = conv.padding
        padding = int(given[axis]) if isinstance(given, tuple) else ((reach - 1) // 2 if given == "same" else 0)
        span = Span(2 * padding - reach, conv.stride[axis], (reach - 1) / 2 - padding, reach)
        for pool in pools:
            kernel, stride, padded = pool_of(pool)
            span = span.then(kernel[axis], stride[axis], padded[axis], bool(pool.ceil_mode))
        axes.append(span)
    return axes[0], axes[1]


def reborn(conv: nn.Conv2d, pools: list[nn.Module], kernel: int | str) -> tuple[nn.Conv2d, Pads] | Keep:
    """A convolution in the place of `conv` and `pools`, with the old filters in its middle; and the padding it takes.

    `kernel` is "same", "cover" (all that the chain sees) or a number.
    """
    height, width = spans(conv, pools)
    old = conv.kernel_size
    if kernel == "same":
        size = (old[0], old[1])
    elif conv.dilation != (1, 1):
        return Keep("the convolution before it is dilated: only its own kernel will do")
    else:
        size = (height.reach, width.reach) if kernel == "cover" else pair(kernel)
    if size[0] < old[0] or size[1] < old[1]:
        return Keep(f"a {size[0]}x{size[1]} kernel has no room for the {old[0]}x{old[1]} filters")
    reaches = [dilation * (side - 1) + 1 for dilation, side in zip(conv.dilation, size, strict=True)]
    if any(reach < span.stride // stride for reach, span, stride in zip(reaches, (height, width), conv.stride, strict=True)):
        return Keep(f"a {size[0]}x{size[1]} kernel would skip inputs at the pooling's stride; give a larger kernel")
    sides = height.padding(reaches[0]), width.padding(reaches[1])
    (top, bottom), (left, right) = sides
    pads = (left, right, top, bottom)
    like: dict[str, Any] = {"device": conv.weight.device, "dtype": conv.weight.dtype}
    even = is_even(pads)
    new = nn.Conv2d(
        conv.in_channels, conv.out_channels, size, stride=(height.stride, width.stride), padding=(top, left) if even else 0,
        dilation=(conv.dilation[0], conv.dilation[1]), groups=conv.groups, **like,
    )  # fmt: skip
    with torch.no_grad():
        new.weight.zero_()
        row, column = (
            min(max(round(span.centre - (span_reach(conv, axis) - 1) / 2 + first), 0), size[axis] - old[axis])
            for axis, span, first in ((0, height, top), (1, width, left))
        )
        new.weight[:, :, row : row + old[0], column : column + old[1]] = conv.weight
        bias = new.get_parameter("bias")
        bias.zero_() if conv.bias is None else bias.copy_(conv.bias)
    for parameter in new.parameters():
        parameter.requires_grad_(conv.weight.requires_grad)
    return new, pads


def span_reach(conv: nn.Conv2d, axis: int) -> int:
    """How many inputs a filter spans."""
    return conv.dilation[axis] * (conv.kernel_size[axis] - 1) + 1


def padded(conv: nn.Conv2d, pads: Pads) -> nn.Module:
    """The convolution with its padding: its own where both sides are equal, else a layer before it, which also crops."""
    return conv if is_even(pads) else nn.Sequential(nn.ZeroPad2d(pads), conv)


def is_even(pads: Pads) -> bool:
    """Whether a convolution can pad so by itself."""
    left, right, top, bottom = pads
    return left == right >= 0 and top == bottom >= 0
