"""Fit a convolution to what a part of a net gives: least squares over sampled positions, with or without a ReLU behind.

    min over W, b   sum |W x + b - t|^2 + ridge |W - W0|^2            t: the output that is wanted, x: the patch under the kernel
    with a ReLU     t is the output y where y > 0, and min(W x + b, 0) where y = 0: there any negative value is right

The second kind has no closed form. Fitting and choosing t alternate; each round lowers the error (a majorisation), a few do.

Source: Zhang et al. 2015, https://arxiv.org/abs/1505.06798 (asymmetric reconstruction of a rectified layer: its inputs come from
the net as already changed, its outputs from the original).
"""

import contextlib
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UsageError
from .chain import Batches

Pads = tuple[int, int, int, int]  # left, right, top, bottom, as F.pad has them
MOST_BATCHES = 8
FEWEST, A_WEIGHT = 4096, 4  # samples: at least so many, and so many for each number of a filter
RIDGE = 1e-3  # of the mean square of an input
ROUNDS, RELAXED = 15, 1.8  # steps longer than the majorisation's own, but below twice, still lower the error
NORMAL_ROWS = 2048  # of the normal equations at a time


def images(edit: str, model: nn.Module, example: Tensor | None, batches: Batches | None) -> list[Tensor]:
    """What to fit on: the first images of `batches`, else `example`. Raises UsageError when there is neither."""
    if batches is not None:
        found = [x for _, (x, _) in zip(range(MOST_BATCHES), batches(), strict=False)]
    else:
        found = [] if example is None else [example]
    if not found:
        raise UsageError(
            f"{edit}(init='least_squares') needs images: edit(..., batches=f), or example=x; or choose init='copy' or 'standard'"
        )
    weight = next((p for p in model.parameters() if p.is_floating_point()), None)
    return [x if weight is None else x.detach().to(weight) for x in found]


def budget(conv: nn.Conv2d) -> int:
    """How many positions to sample for a convolution."""
    return max(FEWEST, A_WEIGHT * conv.weight[0].numel())


class Sampler:
    """The same random positions of a map whenever the maps come in the same order: [B, C, H, W] -> [rows, C]."""

    def __init__(self, total: int, calls: int) -> None:
        self._share = max(1, -(-total // max(calls, 1)))
        self._generator = torch.Generator().manual_seed(0)

    def positions(self, count: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
        """Indices (image, row, column) of this call's share."""
        flat = torch.randperm(count * height * width, generator=self._generator)[: self._share]
        return flat // (height * width), flat // width % height, flat % width

    def rows(self, maps: Tensor) -> Tensor:
        """Sampled values. Shape: [B, C, H, W] -> [rows, C]."""
        at = self.positions(maps.shape[0], *maps.shape[2:])
        image, row, column = (index.to(maps.device) for index in at)
        return maps.permute(0, 2, 3, 1)[image, row, column]

    def patches(self, maps: Tensor, conv: nn.Conv2d, pads: Pads) -> Tensor:
        """What `conv` sees at sampled outputs. Shape: [B, C, H, W] -> [rows, C, kernel area]."""
        padded = F.pad(maps, pads)
        windows = padded
        for axis, kernel, stride, dilation in zip((2, 3), conv.kernel_size, conv.stride, conv.dilation, strict=True):
            windows = windows.unfold(axis, (kernel - 1) * dilation + 1, stride)[..., ::dilation]
        at = self.positions(windows.shape[0], *windows.shape[2:4])
        image, row, column = (index.to(maps.device) for index in at)
        return windows.permute(0, 2, 3, 1, 4, 5)[image, row, column].flatten(2)


class _Enough(Exception):
    """Ends a forward whose rest nobody looks at."""


@torch.no_grad()
def watch(model: nn.Module, layer: nn.Module, inputs: list[Tensor], see: Callable[[Tensor, Tensor], Tensor]) -> list[Tensor]:
    """`see(input, output)` of every call of `layer` while `model` runs on the images."""
    seen: list[Tensor] = []
    before: list[Tensor] = []
    calls = left = 0  # in a forward; known after the first, so that the others can end early

    def hook(_: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
        nonlocal left
        seen.append(see(before.pop(), output))
        left -= 1
        if calls and not left:
            raise _Enough

    # The input is copied before the call: a layer may work in place.
    handles = [
        layer.register_forward_pre_hook(lambda _, given: before.append(given[0].clone())),
        layer.register_forward_hook(hook),
    ]
    try:
        for x in inputs:
            left = calls
            with contextlib.suppress(_Enough):
                model(x)
            calls = calls or len(seen)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise UsageError(
            f"the net does not run on images of {list(inputs[0].shape[1:])}: {str(error).splitlines()[0]}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return seen


@torch.no_grad()
def solve(conv: nn.Conv2d, patches: Tensor, wanted: Tensor, relu: bool) -> float:
    """Set the weights and bias of `conv`, whose present ones are W0, in place; the relative error that is left.

    Shape: patches [N, in_channels, kernel area], wanted [N, out_channels]
    """
    groups = conv.groups
    count = len(patches)
    x = patches.unflatten(1, (groups, -1)).movedim(1, 0).flatten(2).float()  # [G, N, d]
    x = torch.cat([x, x.new_ones(groups, count, 1)], dim=2)
    y = wanted.unflatten(1, (groups, -1)).movedim(1, 0).float()  # [G, N, o]
    bias = conv.get_parameter("bias")
    start = torch.cat([conv.weight.flatten(1), bias[:, None]], dim=1).unflatten(0, (groups, -1)).mT.float()  # [G, d + 1, o]
    normal = torch.zeros(groups, x.shape[2], x.shape[2], dtype=torch.float64, device=x.device)
    for part in x.split(NORMAL_ROWS, dim=1):
        normal += part.double().mT @ part.double()
    scale = normal.diagonal(dim1=1, dim2=2)[:, :-1].mean(dim=1)
    ridge = (RIDGE * scale + 1e-12)[:, None].expand(-1, x.shape[2]).clone()
    ridge[:, -1] = 1e-6 * count
    factor = torch.linalg.cholesky(normal + torch.diag_embed(ridge))
    weights = start
    for _ in range(ROUNDS if relu else 1):
        fitted = x @ weights
        target = torch.where(y > 0, y, fitted.clamp(max=0)) if relu else y
        step = x.mT @ (target - x @ start)
        solved = start + torch.cholesky_solve(step.double(), factor).float()
        weights = weights + (RELAXED if relu else 1) * (solved - weights)
    fitted = (x @ weights).relu() if relu else x @ weights
    flat = weights.mT.flatten(0, 1)  # [out, d + 1]
    conv.weight.copy_(flat[:, :-1].reshape(conv.weight.shape))
    bias.copy_(flat[:, -1])
    return float((fitted - y).norm() / y.norm().clamp(min=1e-12))


def standard(convs: Collection[nn.Conv2d]) -> None:
    """Fresh weights, N(0, 2 / fan in), biases zero: what the paper trains its new layers from."""
    for conv in convs:
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)
