"""Inception v3: large filters are factorised, 7x7 in 1x7 and 7x1, 5x5 in two 3x3, so that depth and width cost less.

    n x n filter: n^2 weights         1 x n, then n x 1: 2 n weights         n = 7: 49 -> 14

Maps are halved in blocks of stride 2 beside a max pool, so that no layer squeezes what it passes on. Tensors are named as in
torchvision.

Source: Szegedy et al. 2015, https://arxiv.org/abs/1512.00567; weight of the side classifier's loss: the authors' TensorFlow-Slim.
Differs: the first blocks keep one 5x5 branch, and the means of the pool branches count the zeros around the map, as in
torchvision. The side classifier pools onto 5x5 from any map (the published 5x5 mean of stride 3 at 17x17), so it takes inputs
of other sizes than 299.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UsageError
from ..nn import Concat, SideClassified
from ._inception import BasicConv2d, Part, chain
from ._init import initialised
from ._knobs import dropout as dropout_layer
from ._knobs import scaled
from ._registry import models

MEAN = partial(nn.AvgPool2d, 3, stride=1, padding=1)
MAX = partial(nn.MaxPool2d, 3, stride=2)
TALL, WIDE = (7, 1), (1, 7)
AUX_WEIGHT = 0.4
AUX_GRID = 5  # side of the map that the side classifier sees

Branches = Mapping[str, Sequence[Part]]


def block_a(pooled: int) -> Branches:
    """Figure 5 of the paper, at 35x35."""
    return {
        "branch1x1": [(64, 1)],
        "branch5x5": [(48, 1), (64, 5)],
        "branch3x3dbl": [(64, 1), (96, 3), (96, 3)],
        "branch_pool": [MEAN, (pooled, 1)],
    }


def block_c(inner: int) -> Branches:
    """Figure 6, at 17x17: n = 7, with `inner` channels in the factorised layers."""
    return {
        "branch1x1": [(192, 1)],
        "branch7x7": [(inner, 1), (inner, WIDE), (192, TALL)],
        "branch7x7dbl": [(inner, 1), (inner, TALL), (inner, WIDE), (inner, TALL), (192, WIDE)],
        "branch_pool": [MEAN, (192, 1)],
    }


SPLIT: list[Part] = [[(384, (1, 3)), (384, (3, 1))]]
BLOCK_E: Branches = {  # figure 7, at 8x8: 1x3 and 3x1 side by side
    "branch1x1": [(320, 1)],
    "branch3x3": [(384, 1), *SPLIT],
    "branch3x3dbl": [(448, 1), (384, 3), *SPLIT],
    "branch_pool": [MEAN, (192, 1)],
}
BLOCKS: dict[str, Branches] = {
    "Mixed_5b": block_a(32),
    "Mixed_5c": block_a(64),
    "Mixed_5d": block_a(64),
    "Mixed_6a": {"branch3x3": [(384, 3, 2)], "branch3x3dbl": [(64, 1), (96, 3), (96, 3, 2)], "branch_pool": [MAX]},
    "Mixed_6b": block_c(128),
    "Mixed_6c": block_c(160),
    "Mixed_6d": block_c(160),
    "Mixed_6e": block_c(192),
    "Mixed_7a": {
        "branch3x3": [(192, 1), (320, 3, 2)],
        "branch7x7x3": [(192, 1), (192, WIDE), (192, TALL), (192, 3, 2)],
        "branch_pool": [MAX],
    },
    "Mixed_7b": BLOCK_E,
    "Mixed_7c": BLOCK_E,
}


class Mixed(nn.Module):
    """Chains of layers side by side, their outputs concatenated; all layers hang here by torchvision's names.

    A branch's only convolution has the branch's name, several are counted: branch5x5_1, branch5x5_2; two side by side at its
    end are branch3x3_2a and branch3x3_2b.

    Shape: [B, in_channels, H, W] -> [B, out_channels, H', W'], the same H' x W' in every branch
    """

    def __init__(self, in_channels: int, branches: Branches, *, width: float) -> None:
        super().__init__()
        self.out_channels = 0
        self.paths: list[list[list[str]]] = []  # for each branch its steps, for each step the layers side by side
        for branch, parts in branches.items():
            layers, channels = chain(in_channels, parts, width)
            self.out_channels += channels
            path = []
            convs = sum(not callable(part) for part in parts)
            for i, layer in enumerate(layers):
                number = f"_{i + 1}" if convs > 1 else ""
                if isinstance(layer, Concat):
                    step = {f"{branch}{number}{'ab'[j]}": side for j, side in enumerate(layer)}
                else:
                    step = {f"{branch}{number}" if isinstance(layer, BasicConv2d) else "pool": layer}
                for name, module in step.items():
                    self.add_module(name, module)
                path.append(list(step))
            self.paths.append(path)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, out_channels, H', W']."""
        outputs: list[Tensor] = []
        for path in self.paths:
            ends = [x]
            for step in path:
                ends = [self.get_submodule(name)(ends[0]) for name in step]
            outputs += ends
        return torch.cat(outputs, dim=1)


class GridMean(nn.Module):
    """The mean of each window of a grid laid over the map: stride H // grid, windows as large as it takes to reach the end.

    At 17x17 and grid 5 these are the 5x5 windows of stride 3. Shape: [B, C, H, W] -> [B, C, grid, grid]
    """

    def __init__(self, grid: int) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, C, H, W] -> [B, C, grid, grid]. Raises UsageError for a map smaller than the grid."""
        tall, wide = x.shape[2] // self.grid, x.shape[3] // self.grid
        if isinstance(tall, int) and not min(tall, wide):  # torch.fx gives proxies for numbers
            got = f"{x.shape[2]}x{x.shape[3]}"
            raise UsageError(f"the side classifier needs a map of {self.grid}x{self.grid} at least, got {got}: larger images")
        rest = self.grid - 1
        return F.avg_pool2d(x, (x.shape[2] - rest * tall, x.shape[3] - rest * wide), (tall, wide))

    def extra_repr(self) -> str:
        """Its argument."""
        return str(self.grid)


class Auxiliary(nn.Sequential):
    """The side classifier: a grid of 5x5 means, 1x1 convolution, a convolution over the whole grid, linear layer.

    Shape: [B, in_channels, H, W] -> [B, num_classes], H and W at least 5
    """

    def __init__(self, in_channels: int, num_classes: int, *, width: float) -> None:
        super().__init__()
        inner, outer = scaled(128, width), scaled(768, width)
        self.pool = GridMean(AUX_GRID)
        self.conv0 = BasicConv2d(in_channels, inner, 1)
        self.conv1 = BasicConv2d(inner, outer, AUX_GRID, padding=0)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(outer, num_classes)


@models(
    input=(3, 299, 299), smallest=(3, 75, 75), params=23_834_568, macs=5_713_216_096, year=2015, paper="arxiv:1512.00567"
)  # fmt: skip
def inception_v3(
    *, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.5, aux: bool = False
) -> nn.Sequential:
    """Inception v3: eleven blocks with factorised filters, torchvision's form.

    `aux` adds the side classifier, 27,161,264 parameters in all: torchvision's weight files have it. In training mode the net
    then gives the logits of both [B, 2, K], its own last, for the loss (0.4 L_aux + L) / 1.4; in eval mode its own alone
    [B, K]. Training it takes images of 107x107 at least, or `fit_input`.
    """
    stem = [scaled(channels, width) for channels in (32, 32, 64, 80, 192)]
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        Conv2d_1a_3x3=BasicConv2d(in_channels, stem[0], 3, stride=2, padding=0),
        Conv2d_2a_3x3=BasicConv2d(stem[0], stem[1], 3, padding=0),
        Conv2d_2b_3x3=BasicConv2d(stem[1], stem[2], 3),
        maxpool1=MAX(),
        Conv2d_3b_1x1=BasicConv2d(stem[2], stem[3], 1),
        Conv2d_4a_3x3=BasicConv2d(stem[3], stem[4], 3, padding=0),
        maxpool2=MAX(),
    )
    channels = stem[4]
    for name, branches in BLOCKS.items():
        block = Mixed(channels, branches, width=width)
        parts[name] = block
        channels = block.out_channels
        if aux and name == "Mixed_6e":
            parts["AuxLogits"] = Auxiliary(channels, num_classes, width=width)
    parts.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), dropout=dropout_layer(dropout))
    parts["fc"] = nn.Linear(channels, num_classes)
    return initialised(SideClassified(parts, {"AuxLogits": AUX_WEIGHT}) if aux else nn.Sequential(parts))
