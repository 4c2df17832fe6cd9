"""Learned group convolution: a dense 1x1 layer whose groups of filters drop inputs while it trains, each group its own.

    weight[o, i] = dense[o, i] mask[g, i],     g = o // (out_channels / groups)

A group drops 1/C of the inputs at the end of each of C - 1 condensing stages, those of the least sum |dense[o, i]| over its
filters; the stages share the first half of a training, the second half trains what is left: 1/C of the weights. At inference the
layer is an index, which hands every group its own inputs, and an ordinary grouped convolution: `condensed`.

`danlu.fit` drives the stages; another loop calls `danlu.encodings.advance(model, share)` at each step, share going from 0 to 1.

Source: Huang et al. 2017, CondenseNet, https://arxiv.org/abs/1711.09224, section 3.
Differs: no group lasso is added to the loss; the authors' code leaves it out by default.
"""

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..encodings import Encoding
from ..errors import UsageError
from ._registry import layers

UNTIL = 0.5  # of the training: the end of the last condensing stage


class Condensation(Encoding):
    """Which inputs each group still sees: `mask` [groups, in_channels], all at first.

    It is a part of its layer, not a parametrisation, so that the layer keeps a plain `weight`. As an encoding it hears from the
    training loop how far the training is.
    """

    mask: Tensor

    def __init__(self, in_channels: int, groups: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.share = 0.0
        self._dropped = 0
        self.register_buffer("mask", torch.ones(groups, in_channels, dtype=torch.bool))

    @property
    def due(self) -> int:
        """The number of inputs that a group should have dropped by now."""
        stages = self.factor - 1
        ended = min(stages, int(stages * self.share / UNTIL + 1e-9))  # 1e-9: 0.1 + 0.2 is the end of a stage at 0.3
        return ended * (self.mask.shape[1] // self.factor)

    @property
    def settled(self) -> bool:
        """False between the start and the end of the condensing stages, until all is dropped that ever will be."""
        kept = self.mask.shape[1] // self.factor
        return not 0 < self.share < UNTIL or int(self.mask.count_nonzero()) == kept * len(self.mask)

    def advance(self, share: float) -> None:
        self.share = max(self.share, share)

    def forward(self, original: Tensor) -> Tensor:
        """The masked weight. Shape: [out, in, 1, 1] kept."""
        if self.training and self.due > self._dropped:
            self.catch_up(original)
        return original * self.spread(len(original))

    def spread(self, outputs: int) -> Tensor:
        """The mask for each weight. Shape: [outputs, in, 1, 1]."""
        groups, inputs = self.mask.shape
        return self.mask.unsqueeze(1).expand(-1, outputs // groups, -1).reshape(outputs, inputs, 1, 1)

    @torch.no_grad()
    def catch_up(self, original: Tensor) -> None:
        """Drop what is due: of each group the inputs of least weight; those dropped before come first."""
        self._dropped = self.due
        importance = original.detach().abs().reshape(*self.mask.shape[:1], -1, self.mask.shape[1]).sum(1)
        least = importance.masked_fill(~self.mask, -1).argsort(dim=1, stable=True)[:, : self.due]
        self.mask = self.mask.scatter(1, least, torch.zeros_like(least, dtype=torch.bool))

    def describe(self, weight: Tensor) -> str:
        return f"{int(self.mask.sum(1).max())} of {self.mask.shape[1]} inputs in each of {len(self.mask)} groups"


@layers(paper="arxiv:1711.09224")
class LearnedGroupConv2d(nn.Conv2d):
    """A 1x1 convolution whose `learned_groups` of filters each learn which 1 / `condense` of the inputs to keep.

    Its outputs lie group by group: shuffle them (nn.ChannelShuffle) before a grouped convolution.

    Shape: [B, in_channels, H, W] -> [B, out_channels, H, W]

    Raises: UsageError when `learned_groups` does not divide the outputs or `condense` the inputs.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, learned_groups: int = 4, condense: int = 4, bias: bool = False,
        device: torch.device | None = None, dtype: torch.dtype | None = None,
    ) -> None:  # fmt: skip
        if min(learned_groups, condense) < 1 or out_channels % learned_groups or in_channels % condense:
            counts = f"{in_channels} inputs, {out_channels} outputs, learned_groups={learned_groups}, condense={condense}"
            raise UsageError(f"LearnedGroupConv2d: the groups divide the outputs, and condense the inputs; got {counts}")
        super().__init__(in_channels, out_channels, 1, bias=bias, device=device, dtype=dtype)
        self.learned_groups, self.condense = learned_groups, condense
        self.condensation = Condensation(in_channels, learned_groups, condense).to(device)

    def forward(self, input: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, out_channels, H, W]."""
        return F.conv2d(input, self.condensation(self.weight), self.bias)

    @torch.no_grad()
    def condensed(self) -> nn.Sequential:
        """The layer as it runs at inference: `index`, then the grouped convolution `conv`. Drops what is still to be dropped."""
        groups, inputs = self.learned_groups, self.in_channels // self.condense
        last = Condensation(self.in_channels, groups, self.condense)
        last.mask = self.condensation.mask
        last.advance(1.0)
        last.catch_up(self.weight)
        index = ChannelIndex(self.in_channels, groups * inputs)
        index.index = last.mask.nonzero()[:, 1]
        like: Any = {"device": self.weight.device, "dtype": self.weight.dtype}
        conv = nn.Conv2d(groups * inputs, self.out_channels, 1, groups=groups, bias=self.bias is not None, **like)
        conv.weight.copy_(self.weight[last.spread(self.out_channels)].view_as(conv.weight))
        if conv.bias is not None and self.bias is not None:
            conv.bias.copy_(self.bias)
        conv.requires_grad_(self.weight.requires_grad)
        return nn.Sequential(OrderedDict(index=index, conv=conv)).train(self.training)

    def extra_repr(self) -> str:
        """Its arguments."""
        counts = f"{self.in_channels}, {self.out_channels}, learned_groups={self.learned_groups}, condense={self.condense}"
        return f"{counts}, bias={self.bias is not None}"


@layers(paper="arxiv:1711.09224")
class ChannelIndex(nn.Module):
    """Picks channels, any of them any number of times: y[:, k] = x[:, index[k]]. `index` [out_channels] is a buffer.

    A fresh one takes the channels in turn.

    Shape: [B, in_channels, H, W] -> [B, out_channels, H, W]
    """

    index: Tensor

    def __init__(self, in_channels: int, out_channels: int, *, device: torch.device | None = None) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.register_buffer("index", torch.arange(out_channels, device=device) % in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, out_channels, H, W]."""
        return x.index_select(1, self.index)

    def extra_repr(self) -> str:
        """Its arguments."""
        return f"{self.in_channels}, {self.out_channels}"
