"""Kumar: the one scale that keeps the variance of activations, for any activation g that has a slope at 0, by that slope.

    var(w) = 1 / (n g'(0)^2 (1 + g(0)^2))         tanh 1 / n (as `xavier`), sigmoid 12.8 / n, std 3.6 / sqrt(n)
    var(w) = 2 / (n (l^2 + r^2))                  where g has a kink at 0, of slopes l and r: ReLU 2 / n (as `he`)

n is the number of inputs of a neuron, kernel area included. A layer with no activation behind it counts as linear: 1 / n.

Source: Kumar 2017, https://arxiv.org/abs/1704.08863.
Differs: each layer goes by the activation that is called next behind it, where the paper has one for the whole net; kinks other
than ReLU's are by the same derivation.
"""

import copy

import torch
from torch import Tensor, nn

from ...errors import UsageError
from ...nn.activations import build
from ._layers import draw, fans, weighted
from ._passes import called
from ._registry import inits

AUTO, LINEAR = "auto", "linear"
BESIDE = 1e-6  # slopes are taken so far from 0, on both sides
KINK = 1e-3  # slopes that differ more are those of a kink


@inits(paper="arxiv:1704.08863")
def kumar(model: nn.Module, *, images: Tensor, activation: str = AUTO) -> None:
    """N(0, 1 / (n g'(0)^2 (1 + g(0)^2))) for the weights of convolutions and linear layers; biases 0.

    Write the activation, "tanh", "leaky_relu(slope=0.1)" or "linear", where the net calls it as a function (F.tanh): only
    modules are found, by a pass of two images.
    Shape: images [B, C, H, W]. Raises: UsageError for an unknown activation, one that is flat at 0, and for encoded weights.
    """
    written = None if activation in (AUTO, LINEAR) else build(activation)
    layers = weighted(model)
    behind = called(model, images) if activation == AUTO and layers else {}
    for layer in layers:
        draw(layer, gain(behind.get(layer, written)) / fans(layer)[0])


@torch.enable_grad()
def gain(activation: nn.Module | None) -> float:
    """n var(w) of a layer with this activation behind it. Raises UsageError for one that is flat at 0."""
    if activation is None:
        return 1.0
    g = copy.deepcopy(activation).cpu().double().eval()
    channels = getattr(g, "num_parameters", 1)  # of PReLU
    x = torch.tensor([[-BESIDE], [0.0], [BESIDE]], dtype=torch.float64).repeat(1, channels).requires_grad_()
    value = g(x.clone())  # a ReLU may work in place
    slopes = torch.autograd.grad(value.sum(), x)[0] if value.requires_grad else torch.zeros_like(x)
    left, right = float(slopes[0].mean()), float(slopes[2].mean())
    if left == right == 0:
        raise UsageError(f"kumar: {type(activation).__name__} has no slope at 0, so that no scale keeps a variance; take lsuv")
    if abs(left - right) > KINK:
        return 2 / (left**2 + right**2)
    return 1 / (((left + right) / 2) ** 2 * (1 + float(value[1].mean().detach()) ** 2))
