"""Unsupervised pre-training, layer by layer: what an RBM and an autoencoder share.

A convolution and a linear layer are the same thing here: a linear map z = W v. Its transpose, W^T h, which draws the inputs from
the hidden units, is the gradient of h . W v with respect to v, so that strides, padding, groups need no formula of their own.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from ...errors import UsageError
from ._layers import weighted
from ._passes import as_first_step, called, inputs_of
from ._registry import Feed, Say
from .xavier import xavier


class Pair(nn.Module):
    """A layer and its transpose, with a bias for each side; abstract. v are inputs of the layer, divided by their `spread`, which
    is 0 where nothing arrives.

    Shape: v [B, ...] inputs of the layer <-> z [B, ...] outputs of the layer.
    """

    def __init__(self, layer: Any, example: Tensor) -> None:
        super().__init__()
        self.layer = layer
        image = isinstance(layer, _ConvNd)
        channels, units = (layer.in_channels, layer.out_channels) if image else (layer.in_features, layer.out_features)
        ones = [1] * len(layer.kernel_size) if image else []
        self.visible = nn.Parameter(example.new_zeros([channels, *ones]))
        self.hidden = nn.Parameter(example.new_zeros([units, *ones]))
        self.others = [dim for dim in range(example.ndim) if dim != (1 if image else example.ndim - 1)]  # but for the channels
        self.spread = float((example - self.means(example)).square().mean().sqrt())

    def loss(self, v: Tensor) -> Tensor:
        """What training lowers, or whose gradient it follows: a scalar."""
        raise NotImplementedError

    def drawn(self, v: Tensor) -> Tensor:
        """v, drawn again from the hidden units that it causes."""
        raise NotImplementedError

    def means(self, v: Tensor) -> Tensor:
        """The mean of each channel. Shape: [B, C, H, W] -> [1, C, 1, 1], [B, N] -> [1, N]."""
        return v.mean(self.others, keepdim=True)

    def up(self, v: Tensor) -> Tensor:
        """z = W v + c; the layer's own bias is 0 meanwhile."""
        z: Tensor = self.layer(v) + self.hidden
        return z

    def down(self, h: Tensor, v: Tensor) -> Tensor:
        """W^T h + b, in the shape of v; differentiable in W, h and b."""
        with torch.enable_grad():
            like = torch.zeros_like(v).requires_grad_()
            (back,) = torch.autograd.grad(self.layer(like), like, h, create_graph=True)
        return back + self.visible

    @torch.no_grad()
    def error(self, v: Tensor) -> float:
        """The squared error of `drawn`, as a share of what the means alone would leave."""
        left = (v - self.means(v)).square().sum()
        return float((self.drawn(v) - v).square().sum() / left) if left > 0 else 0.0

    @torch.no_grad()
    def settle(self, inputs: Tensor, unit_variance: bool) -> None:
        """Give the layer what was learned, for inputs as they are; scale it to outputs of variance 1 where asked."""
        self.layer.weight.div_(self.spread)
        if self.layer.bias is not None:
            self.layer.bias.copy_(self.hidden.flatten())
        deviation = float(self.layer(inputs).float().std())
        if unit_variance and deviation > 0:
            self.layer.weight.div_(deviation)
            if self.layer.bias is not None:
                self.layer.bias.div_(deviation)


@torch.enable_grad()
def greedy(
    name: str, model: nn.Module, make: Callable[[Any, Tensor, nn.Module | None], Pair], *, feed: Feed, say: Say | None,
    steps: int, rate: float, unit_variance: bool,
) -> None:  # fmt: skip
    """Draw all layers as `xavier` does; then let each but the last learn to draw its inputs again, from the first on, by Adam.

    `make(layer, example, activation)` has the example of inputs divided by nothing yet. Layers that images do not pass, or
    where nothing arrives, stay as drawn. Raises: UsageError when a layer diverges.
    """
    xavier(model)
    if not weighted(model):
        return
    layers = called(model, next(feed()))
    with as_first_step(model):
        for number, (layer, activation) in enumerate(list(layers.items())[:-1], 1):
            stream = feed()
            example = inputs_of(model, layer, next(stream))
            pair = make(layer, example, activation)
            if not pair.spread > 0:
                continue
            learns = layer.weight.requires_grad
            learned = [layer.weight.requires_grad_(), pair.visible, pair.hidden]
            optimizer = torch.optim.Adam(learned, lr=rate)
            before = pair.error(example / pair.spread)
            for _ in range(steps):
                loss = pair.loss(inputs_of(model, layer, next(stream)) / pair.spread)
                for parameter, gradient in zip(learned, torch.autograd.grad(loss, learned), strict=True):
                    parameter.grad = gradient
                optimizer.step()
            layer.weight.requires_grad_(learns).grad = None
            after = pair.error(example / pair.spread)
            if not math.isfinite(after):
                raise UsageError(f"{name}: layer {number} of {len(layers)} diverged at rate {rate:g}; take a lower one")
            pair.settle(example, unit_variance)
            if say:
                say(f"{name}: layer {number} of {len(layers)}, error {before:.2f} -> {after:.2f} of the variance")
