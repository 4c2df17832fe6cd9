"""Large-margin softmax: while it trains, the right class must win with its angle multiplied, so that classes draw together.

    z_k = |W_k| |x| cos(theta_k) + b_k                                           the plain logits: all there is in eval mode
    f_k = |W_k| |x| ( lambda cos(theta_k) + psi(theta_k) ) / (1 + lambda) + b_k      for the right class, in z_k's place
    psi(theta) = (-1)^j cos(m theta) - 2 j,   j pi / m <= theta <= (j + 1) pi / m    falls from 1 to 1 - 2 m; m is the margin
    cos(m theta) = sum_n (-1)^n C(m, 2n) cos(theta)^(m - 2n) (1 - cos(theta)^2)^n    so that no angle is computed
    lambda = max(least, base (1 + gamma t)^-power),  t steps                        from almost plain to the whole margin

The layer does not know which class is right: it gives f and z of all, and `danlu.losses.large_margin_softmax` takes its pick.

Source: Liu et al. 2016, https://arxiv.org/abs/1612.02295, section 3; the annealing with base 1000 and power 35: the
authors' release, https://github.com/wy1iu/LargeMargin_Softmax_Loss.
Differs: a bias stays where the layer has one, outside the margin; gamma is 2.5e-4, ten times theirs, so that lambda falls to 5 in
about 650 steps and to 0.1 in 1200: for a training of some thousand.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from ..errors import UsageError
from ._registry import layers

LARGEST_MARGIN = 8


@layers(paper="arxiv:1612.02295")
class LargeMarginLinear(nn.Linear):
    """A linear classifier that also gives, in training mode, what the logit of each class would be with the margin.

    `steps` is a buffer: the training forwards so far, stored so that a resumed training goes on with the same lambda.

    Shape: [B, in_features] -> [B, 2, out_features] in training mode, f and z; [B, out_features] in eval mode, z
    Raises: UsageError for a margin that is not 1 to 8, or base, gamma, power or least below 0.
    """

    steps: Tensor

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, margin: int = 4, base: float = 1000.0,
        gamma: float = 2.5e-4, power: float = 35.0, least: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(in_features, out_features, bias)
        if not 1 <= margin <= LARGEST_MARGIN:
            raise UsageError(f"a large margin multiplies the angle by 1 to {LARGEST_MARGIN}, got margin={margin}")
        if min(base, gamma, power, least) < 0:
            raise UsageError(f"base, gamma, power and least are from 0, got {base}, {gamma}, {power} and {least}")
        self.margin, self.base, self.gamma, self.power, self.least = margin, base, gamma, power, least
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def plain_share(self) -> Tensor:
        """lambda, a scalar."""
        return (self.base * (1 + self.gamma * self.steps.double()) ** -self.power).clamp_min(self.least)

    def forward(self, input: Tensor) -> Tensor:
        """Shape: [B, in_features] -> [B, 2, out_features] in training mode, [B, out_features] in eval mode."""
        if not self.training:
            return super().forward(input)
        plain = F.linear(input, self.weight)
        longest = torch.linalg.vector_norm(input, dim=1)[:, None] * torch.linalg.vector_norm(self.weight, dim=1)
        cosine = (plain / longest.clamp_min(torch.finfo(longest.dtype).tiny)).clamp(-1, 1)
        share = self.plain_share().to(plain.dtype)
        margin = (share * plain + longest * angle_margin(cosine, self.margin)) / (1 + share)
        with torch.no_grad():
            self.steps += 1
        both = torch.stack([margin, plain], dim=1)
        return both if self.bias is None else both + self.bias

    def extra_repr(self) -> str:
        """Its arguments."""
        return (
            f"{super().extra_repr()}, margin={self.margin}, base={self.base:g}, gamma={self.gamma:g}, "
            f"power={self.power:g}, least={self.least:g}"
        )


def angle_margin(cosine: Tensor, margin: int) -> Tensor:
    """psi of the angles with these cosines. Shape: any, from -1 to 1 -> the same."""
    square = cosine.square()
    terms = [
        (-1) ** n * math.comb(margin, 2 * n) * cosine ** (margin - 2 * n) * (1 - square) ** n for n in range(margin // 2 + 1)
    ]
    multiple = torch.stack(terms).sum(0)
    bounds = [math.cos(j * math.pi / margin) for j in range(1, margin)]
    j = torch.stack([torch.zeros_like(cosine), *((cosine < bound).to(cosine.dtype) for bound in bounds)]).sum(0).detach()
    return (1 - 2 * (j % 2)) * multiple - 2 * j


def large_margin_head(
    model: nn.Module, *, margin: int = 4, base: float = 1000.0, gamma: float = 2.5e-4, power: float = 35.0, least: float = 0.0
) -> nn.Module:
    """A copy of `model` with its classifier, the nn.Linear at its end, as LargeMarginLinear with the same weights.

    Raises: UsageError for a net that does not end in one, or that has several classifiers; options as of LargeMarginLinear.
    """
    if any(getattr(module, "exit_weights", ()) for module in model.modules()):
        raise UsageError("a large margin needs a net with one classifier; this one has several")
    model = copy.deepcopy(model)
    weighted = [pair for pair in model.named_modules() if next(pair[1].parameters(recurse=False), None) is not None]
    last, old = weighted[-1] if weighted else ("", model)
    if isinstance(old, LargeMarginLinear):
        raise UsageError(f"this net already has a large-margin head, {last or 'itself'}")
    if type(old) is not nn.Linear or parametrize.is_parametrized(old):
        raise UsageError(
            f"a large margin needs a net that ends in nn.Linear; this one ends in {last or 'a'} {type(old).__name__}"
        )
    options: dict[str, Any] = {"margin": margin, "base": base, "gamma": gamma, "power": power, "least": least}
    with torch.device("meta"):  # nothing is drawn: the weights are the old ones
        new = LargeMarginLinear(old.in_features, old.out_features, old.bias is not None, **options)
    new.weight, new.bias = old.weight, old.bias
    new.steps = torch.zeros((), dtype=torch.int64, device=old.weight.device)
    return _hang(model, old, new)


def plain_head(model: nn.Module) -> nn.Module:
    """A copy of `model` with every LargeMarginLinear as the nn.Linear that it is in eval mode."""
    model = copy.deepcopy(model)
    for old in [module for module in model.modules() if isinstance(module, LargeMarginLinear)]:
        new = nn.Linear(old.in_features, old.out_features, old.bias is not None, device="meta")
        new.weight, new.bias = old.weight, old.bias
        model = _hang(model, old, new)
    return model


def _hang(model: nn.Module, old: nn.Module, new: nn.Module) -> nn.Module:
    """Put `new` in every place of `old`, with its training flag; gives `new` where the model is `old`."""
    new.train(old.training)
    for parent in list(model.modules()):
        for key, child in parent._modules.items():
            if child is old:
                parent._modules[key] = new
    return new if model is old else model
