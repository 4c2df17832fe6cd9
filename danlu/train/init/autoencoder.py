"""Pre-training by autoencoders: each layer, from the first on, learns to code its inputs so that its own transpose can draw them
again, from images without labels; the next layer codes the codes.

    h = g(W v + c),   v' = W^T h + b,   descend |v' - v|^2           g: the activation behind the layer

With `corruption` some inputs are set to 0 first, and the clean ones are to be drawn: then even a wide layer cannot just copy.

Source: Bengio et al. 2006, https://papers.nips.cc/paper/3048; corruption: Vincent et al. 2008,
https://doi.org/10.1145/1390156.1390294.
Differs: the net's own activation in the place of the sigmoid, squared error for all inputs, Adam. Then each layer is scaled to
outputs of variance 1, as `lsuv` does. The last layer stays as `xavier` draws it.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ._check import number, whole
from ._greedy import Pair, greedy
from ._registry import Feed, Say, inits


class Autoencoder(Pair):
    """A layer as the encoder, and its transpose as the decoder."""

    def __init__(self, layer: Any, example: Tensor, activation: nn.Module | None, *, corruption: float = 0.0) -> None:
        super().__init__(layer, example)
        self.activation = copy.deepcopy(activation or nn.Identity()).eval().requires_grad_(False)
        self.corruption = corruption
        self.visible.data.copy_(self.means(example)[0] / (self.spread or 1.0))

    def drawn(self, v: Tensor) -> Tensor:
        return self.down(self.activation(self.up(v)), v)

    def loss(self, v: Tensor) -> Tensor:
        seen = v * (torch.rand_like(v) >= self.corruption) if self.corruption else v
        return (self.drawn(seen) - v).square().mean()


@inits(paper="nips:3048")
def autoencoder(
    model: nn.Module, *, feed: Feed, say: Say | None = None, steps: int = 200, rate: float = 0.003, corruption: float = 0.0,
    unit_variance: bool = True,
) -> None:  # fmt: skip
    """Train every convolution and linear layer but the last as an autoencoder, for `steps` batches each, then the next behind it.

    `corruption` is the share of inputs set to 0; `unit_variance=False` keeps the scale that was learned.
    Shape: feed gives [B, C, H, W]. Raises: UsageError for options that cannot be, for encoded weights, and when it diverges.
    """
    whole("autoencoder", "steps", steps)
    number("autoencoder", "rate", rate, above=0)
    number("autoencoder", "corruption", corruption, least=0, below=1)

    def coder(layer: Any, example: Tensor, activation: nn.Module | None) -> Autoencoder:
        return Autoencoder(layer, example, activation, corruption=corruption)

    greedy("autoencoder", model, coder, feed=feed, say=say, steps=steps, rate=rate, unit_variance=unit_variance)
