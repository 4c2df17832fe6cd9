"""A composed activation: two functions of one number, joined by a function of two. The space that the Swish was searched in.

    y = b(u1(x), u2(x))             swish = mul(x, sigmoid(beta x)), relu = max(x, 0)

`UNARY` and `BINARY` hold the functions of the paper. beta is learned from 1 on, one number for each of the three that has it.

Source: Ramachandran et al. 2017, https://arxiv.org/abs/1710.05941, section 2.
Differs: the root is that of |x| and quotients are by |x2| + 1e-3 with the sign of x2, so that all are real and finite; beta is
one for the layer, where the paper has one a channel; sigmoid(beta x) is one unary function, as in the Swish.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import unknown
from .._registry import layers
from ._registry import Activation, activations

EPS = 1e-3

UNARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "x": lambda x, beta: x,
    "neg": lambda x, beta: -x,
    "abs": lambda x, beta: x.abs(),
    "square": lambda x, beta: x * x,
    "cube": lambda x, beta: x * x * x,
    "sqrt": lambda x, beta: (x.abs() + EPS).sqrt(),
    "scale": lambda x, beta: beta * x,
    "shift": lambda x, beta: x + beta,
    "log": lambda x, beta: (x.abs() + EPS).log(),
    "exp": lambda x, beta: x.exp(),
    "sin": lambda x, beta: x.sin(),
    "cos": lambda x, beta: x.cos(),
    "sinh": lambda x, beta: (x.exp() - (-x).exp()) / 2,
    "cosh": lambda x, beta: (x.exp() + (-x).exp()) / 2,
    "tanh": lambda x, beta: x.tanh(),
    "asinh": lambda x, beta: x.asinh(),
    "atan": lambda x, beta: x.atan(),
    "sinc": lambda x, beta: _sinc(x),
    "relu": lambda x, beta: x.clamp(min=0),
    "min0": lambda x, beta: x.clamp(max=0),
    "sigmoid": lambda x, beta: x.sigmoid(),
    "gate": lambda x, beta: (beta * x).sigmoid(),
    "softplus": lambda x, beta: F.softplus(x),
    "bell": lambda x, beta: (-x * x).exp(),
    "erf": lambda x, beta: x.erf(),
    "beta": lambda x, beta: beta.expand_as(x),
}
BINARY: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "add": lambda a, b, beta: a + b,
    "mul": lambda a, b, beta: a * b,
    "sub": lambda a, b, beta: a - b,
    "div": lambda a, b, beta: a / torch.where(b < 0, b - EPS, b + EPS),
    "max": lambda a, b, beta: torch.maximum(a, b),
    "min": lambda a, b, beta: torch.minimum(a, b),
    "gated": lambda a, b, beta: a.sigmoid() * b,
    "near": lambda a, b, beta: (-beta * (a - b) * (a - b)).exp(),
    "close": lambda a, b, beta: (-beta * (a - b).abs()).exp(),
    "mix": lambda a, b, beta: beta * a + (1 - beta) * b,
}
LEARNED = {"scale", "shift", "gate", "beta", "near", "close", "mix"}


@layers(paper="arxiv:1710.05941")
class ComposedActivation(Activation):
    """binary(unary1(x), unary2(x)), each with its beta where it has one. Shape: any -> the same.

    Raises: UsageError for a function that is not in `UNARY` or `BINARY`.
    """

    def __init__(
        self, unary1: str, unary2: str, binary: str, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        for kind, name, known in (("unary", unary1, UNARY), ("unary", unary2, UNARY), ("binary", binary, BINARY)):
            if name not in known:
                raise unknown(f"{kind} function", name, known, most=len(known))
        self.unary1, self.unary2, self.binary = unary1, unary2, binary
        learned = any(name in LEARNED for name in (unary1, unary2, binary))
        self.weight = nn.Parameter(torch.ones(3, device=device, dtype=dtype)) if learned else None

    def forward(self, x: Tensor) -> Tensor:
        """Shape: any -> the same."""
        beta = x.new_ones(3) if self.weight is None else self.weight
        return BINARY[self.binary](UNARY[self.unary1](x, beta[0]), UNARY[self.unary2](x, beta[1]), beta[2])

    def extra_repr(self) -> str:
        """Its arguments."""
        return f"{self.unary1!r}, {self.unary2!r}, {self.binary!r}"


@activations(paper="arxiv:1710.05941")
def composed(*, unary1: str, unary2: str, binary: str) -> ComposedActivation:
    """binary(unary1(x), unary2(x)): "composed(unary1='x', unary2='gate', binary='mul')" is the Swish.

    Raises: UsageError for a function that is not in `UNARY` or `BINARY`.
    """
    return ComposedActivation(unary1, unary2, binary)


def _sinc(x: Tensor) -> Tensor:
    """sin(x) / x, and 1 - x^2 / 6 near 0."""
    near = x.abs() < EPS
    far = torch.where(near, torch.full_like(x, math.pi), x)
    return torch.where(near, 1 - x * x / 6, far.sin() / far)
