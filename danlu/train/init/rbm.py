"""Pre-training by restricted Boltzmann machines: each layer, from the first on, learns hidden units from which its inputs can
be drawn again, from images without labels. With it deep nets could be trained for the first time.

    p(h = 1 | v) = sigmoid(W v + c),   p(v | h) = N(b + W^T h, 1), or for binary inputs p(v = 1 | h) = sigmoid(b + W^T h)
    F(v) = |v - b|^2 / 2 - sum softplus(W v + c), or binary: -b . v - sum softplus(W v + c)
    contrastive divergence: descend F(v0) - F(vk), vk the data v0 after k times up and down

Inputs are divided by their spread first, unless they are binary (probabilities, behind a sigmoid). Convolutions share W over
all places. Then each layer is scaled to outputs of variance 1, as `lsuv` does, for a net of other activations than sigmoids.

Source: Hinton and Salakhutdinov 2006, https://doi.org/10.1126/science.1127647; contrastive divergence: Hinton 2002,
https://doi.org/10.1162/089976602760128018; convolutions: Lee et al. 2009, https://doi.org/10.1145/1553374.1553453.
Differs: Adam takes the steps; drawn inputs are their means, without noise, as Hinton's practical guide advises; a hidden unit of
a convolution has no pooling above it. The last layer stays as `xavier` draws it.
"""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...errors import UsageError
from ._check import choice, number, whole
from ._greedy import Pair, greedy
from ._registry import Feed, Say, inits

Visible = Literal["gaussian", "binary"]
START = 0.01  # standard deviation of the first weights


class RBM(Pair):
    """A layer as the W of a restricted Boltzmann machine with binary hidden units."""

    def __init__(self, layer: Any, example: Tensor, *, binary: bool, rounds: int = 1) -> None:
        super().__init__(layer, example)
        self.binary, self.rounds = binary, rounds
        if self.spread > 0:
            nn.init.normal_(layer.weight, std=START)
        means = self.means(example)[0]
        if binary:
            self.spread = float(self.spread > 0)  # probabilities stay as they are
            means = means.clamp(0.01, 0.99).logit()
        else:
            means = means / (self.spread or 1.0)
        self.visible.data.copy_(means)

    def free_energy(self, v: Tensor) -> Tensor:
        """F(v), up to a constant. Shape: [B, ...] -> [B]."""
        own = -self.visible * v if self.binary else (v - self.visible).square() / 2
        return own.flatten(1).sum(1) - functional.softplus(self.up(v)).flatten(1).sum(1)

    def visible_given(self, h: Tensor, v: Tensor) -> Tensor:
        """The mean of the inputs that hidden units draw, in the shape of v."""
        drawn = self.down(h, v).detach()
        return drawn.sigmoid() if self.binary else drawn

    @torch.no_grad()
    def sampled(self, v: Tensor) -> Tensor:
        """v, after so many rounds up and down."""
        for _ in range(self.rounds):
            v = self.visible_given(self.up(v).sigmoid().bernoulli(), v)
        return v

    def loss(self, v: Tensor) -> Tensor:
        return (self.free_energy(v) - self.free_energy(self.sampled(v))).mean()

    def drawn(self, v: Tensor) -> Tensor:
        return self.visible_given(self.up(v).sigmoid(), v)


@inits(paper="doi:10.1126/science.1127647")
def rbm(
    model: nn.Module, *, feed: Feed, say: Say | None = None, steps: int = 200, rate: float = 0.01, rounds: int = 1,
    visible: Visible = "gaussian", unit_variance: bool = True,
) -> None:  # fmt: skip
    """Train every convolution and linear layer but the last as an RBM, for `steps` batches each, then the next on its outputs.

    `rounds` is the k of contrastive divergence; `unit_variance=False` keeps the RBM's own scale, right for a net of sigmoids.
    Shape: feed gives [B, C, H, W]. Raises: UsageError for options that cannot be, for encoded weights, for binary units
    whose inputs are not between 0 and 1, and when it diverges.
    """
    whole("rbm", "steps", steps)
    number("rbm", "rate", rate, above=0)
    whole("rbm", "rounds", rounds)
    choice("rbm", "visible", visible, get_args(Visible))

    def machine(layer: Any, example: Tensor, activation: nn.Module | None) -> RBM:
        low, high = float(example.min()), float(example.max())
        if visible == "binary" and not 0 <= low <= high <= 1:
            raise UsageError(f"rbm: binary units take inputs from 0 to 1, got {low:.3g} to {high:.3g}; take visible='gaussian'")
        return RBM(layer, example, binary=visible == "binary", rounds=rounds)

    greedy("rbm", model, machine, feed=feed, say=say, steps=steps, rate=rate, unit_variance=unit_variance)
