"""Selective kernel: the same convolution at several dilations, and a softmax that chooses among them, channel by channel, from
what the whole map holds. Each image gets the receptive field that suits it.

    U_m = relu(norm(conv_m(x)))                                 m = 1..M, conv_m 3x3 at dilation m: 3x3, 5x5, 7x7, ... seen
    z   = relu(norm(W mean(U_1 + ... + U_M over H, W)))         [d],  d = max(C / reduction, least)
    a   = softmax over m of V_m z                               [M, C]
    y   = a_1 * U_1 + ... + a_M * U_M

Source: Li et al. 2019, Selective Kernel Networks, https://arxiv.org/abs/1903.06586.
"""

from functools import reduce

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ._registry import layers

KERNEL = 3


@layers(paper="arxiv:1903.06586")
class SelectiveKernel(nn.Module):
    """Parallel 3x3 convolutions at dilations 1..branches, each with norm and ReLU, weighed by softmax attention.

    `split` gives each branch its own equal share of the input channels, in the place of all of them. `bare` leaves out the
    norms and the branches' ReLUs: for the place of a single convolution, in front of a norm and an activation that are there
    already; `bias` then gives the branches one.

    Shape: [B, in_channels, H, W] -> [B, out_channels, ceil(H / stride), ceil(W / stride)]

    Raises: UsageError unless branches is at least 2, reduction and least at least 1, and, with split, the branches divide the
    input channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        groups: int = 1,
        branches: int = 2,
        reduction: int = 16,
        least: int = 32,
        split: bool = False,
        bare: bool = False,
        bias: bool = False,
    ) -> None:
        super().__init__()
        for name, value, smallest in (("branches", branches, 2), ("reduction", reduction, 1), ("least", least, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
                raise UsageError(f"{name} is a whole number from {smallest}, got {value!r}")
        if split and in_channels % branches:
            raise UsageError(f"split needs input channels that {branches} branches can share equally, got {in_channels}")
        self.in_channels, self.out_channels, self.stride, self.groups = in_channels, out_channels, stride, groups
        self.branches, self.reduction, self.least, self.split = branches, reduction, least, split
        self.bare, self.bias = bare, bias
        into = in_channels // branches if split else in_channels
        self.paths = nn.ModuleList()
        for dilation in range(1, branches + 1):
            conv = nn.Conv2d(
                into, out_channels, KERNEL, stride=stride, padding=dilation, dilation=dilation, groups=groups, bias=bias
            )  # fmt: skip
            self.paths.append(conv if bare else nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)))
        hidden = max(out_channels // reduction, least)
        self.reduce = nn.Linear(out_channels, hidden, bias=bare)
        self.norm = nn.Identity() if bare else nn.BatchNorm1d(hidden)
        self.relu = nn.ReLU(inplace=True)
        self.select = nn.ModuleList(nn.Linear(hidden, out_channels, bias=False) for _ in range(branches))

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, out_channels, ceil(H / stride), ceil(W / stride)]."""
        shares = x.chunk(self.branches, dim=1) if self.split else [x] * self.branches
        maps = [path(shares[i]) for i, path in enumerate(self.paths)]  # M times [B, C, H', W']
        z = self.relu(self.norm(self.reduce(sum(maps[1:], maps[0]).mean((2, 3)))))  # [B, hidden]
        # A softmax over the branches, elementwise: so channel pruning can follow which numbers belong to which channel.
        scores = [select(z) for select in self.select]  # M times [B, C]
        largest = reduce(torch.maximum, scores)
        powers = [torch.exp(score - largest) for score in scores]
        total = sum(powers[1:], powers[0])
        chosen = [(power / total).unsqueeze(2).unsqueeze(3) * map for power, map in zip(powers, maps, strict=True)]
        return sum(chosen[1:], chosen[0])

    def extra_repr(self) -> str:
        """Its arguments; flags and groups only where they are set."""
        text = f"{self.in_channels}, {self.out_channels}, stride={self.stride}, branches={self.branches}"
        text += f", reduction={self.reduction}, least={self.least}" + (f", groups={self.groups}" if self.groups > 1 else "")
        return text + "".join(f", {flag}=True" for flag in ("split", "bare", "bias") if getattr(self, flag))
