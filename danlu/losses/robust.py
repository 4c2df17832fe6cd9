"""The general robust loss: one family with a shape alpha; L2, pseudo-Huber, Cauchy, Geman-McClure and Welsch are its members.

    rho(x, alpha, c) = |alpha - 2| / alpha ( ((x / c)^2 / |alpha - 2| + 1)^(alpha / 2) - 1 )

    alpha  2            1                      0                      -2                        -inf
    rho    (x/c)^2 / 2  sqrt((x/c)^2 + 1) - 1  log((x/c)^2 / 2 + 1)   2 (x/c)^2 / ((x/c)^2 + 4)  1 - exp(-(x/c)^2 / 2)

The smaller alpha, the less an outlier pulls. It is computed as b/2 L g(alpha L / 2) with b = |alpha - 2|,
L = log(1 + (x/c)^2 / b) and g(u) = (exp(u) - 1) / u, g(0) = 1, which has no hole at 0; b is kept off 0 by one rounding.

`AdaptiveRobust` learns alpha and c with the network: it is the negative log-likelihood of the density exp(-rho) / (c Z(alpha)),
since rho alone always falls with alpha. Z(alpha) is the integral of exp(-rho(x, alpha, 1)) over the line.

Source: Barron 2017, https://arxiv.org/abs/1701.03077, sections 1 and 2.
Differs: log Z is integrated at each call, by the double exponential rule of Takahasi and Mori 1974
(https://doi.org/10.2977/prims/1195192451) with 241 points, to 9 digits, where the paper fits a spline to a table.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UsageError
from ._check import check_alike, check_option
from ._registry import losses

SERIES = 0.01  # below it g(u) is its series: the slope of (exp(u) - 1) / u loses its digits there
POINTS, REACH = 241, 4.2  # of the integral, x = sinh(pi / 2 sinh(t)) with |t| <= reach


@losses(task="regress", paper="arxiv:1701.03077")
def robust(outputs: Tensor, targets: Tensor, *, alpha: float = 1.0, scale: float = 1.0) -> Tensor:
    """Mean rho(output - target, alpha, scale); a large negative alpha is the limit at -inf.

    Shape: two float tensors of one shape -> scalar
    Raises: UsageError for others, or scale not above 0.
    """
    check_option("robust", "scale", scale, low=0, above=True)
    check_alike("robust", outputs, targets)
    d = outputs - targets.to(outputs.dtype)
    return general(d, d.new_tensor(alpha), d.new_tensor(scale)).mean()


def general(x: Tensor, alpha: Tensor, scale: Tensor) -> Tensor:
    """rho(x, alpha, scale), with gradients for all three. Shape: three that broadcast -> theirs."""
    b = (alpha - 2).abs().clamp_min(torch.finfo(alpha.dtype).eps)
    log = torch.log1p((x / scale).square() / b)
    u = alpha * log / 2
    small = u.clamp(-SERIES, SERIES)
    series = 1 + small / 2 * (1 + small / 3 * (1 + small / 4 * (1 + small / 5 * (1 + small / 6))))
    large = torch.where(u.abs() < SERIES, torch.ones_like(u), u)
    return b / 2 * log * torch.where(u.abs() < SERIES, series, torch.expm1(large) / large)


def log_partition(alpha: Tensor) -> Tensor:
    """log Z(alpha), for alpha from 0 (below it the integral is infinite) to about 10; float64 inside. Shape: any -> the same."""
    t = torch.linspace(-REACH, REACH, POINTS, dtype=torch.float64, device=alpha.device)
    bend = math.pi / 2 * t.sinh()
    x, dx = bend.sinh(), math.pi / 2 * t.cosh() * bend.cosh()
    rho = general(x, alpha.double()[..., None], torch.ones((), dtype=torch.float64, device=alpha.device))
    integral = ((-rho).exp() * dx).sum(-1) * (t[1] - t[0])
    return integral.log().to(alpha.dtype)


class AdaptiveRobust(nn.Module):
    """The mean of rho(x, alpha, c) + log c + log Z(alpha), with an alpha and a scale c for each of D outputs that are learned.

    Give its parameters to the optimiser beside the network's, without weight decay. alpha lies between `low` and `high`, and
    starts in their middle; c lies above `least_scale`, and starts at 1.

    Shape: outputs and targets [B, D] -> scalar, which may be below 0
    Raises: UsageError unless 0 <= low < high and 0 < least_scale < 1, or for other shapes.
    """

    def __init__(self, outputs: int, *, low: float = 0.001, high: float = 1.999, least_scale: float = 1e-5) -> None:
        super().__init__()
        if not 0 <= low < high or not 0 < least_scale < 1 or outputs < 1:
            raise UsageError(
                "AdaptiveRobust needs at least 1 output, 0 <= low < high and 0 < least_scale < 1, "
                f"got {outputs}, {low}, {high} and {least_scale}"
            )
        self.outputs, self.low, self.high, self.least_scale = outputs, low, high, least_scale
        self.latent_alpha = nn.Parameter(torch.zeros(outputs))
        self.latent_scale = nn.Parameter(torch.full((outputs,), math.log(math.expm1(1 - least_scale))))

    def alpha(self) -> Tensor:
        """Shape: [D]."""
        return self.low + (self.high - self.low) * self.latent_alpha.sigmoid()

    def scale(self) -> Tensor:
        """Shape: [D]."""
        return self.least_scale + F.softplus(self.latent_scale)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Shape: [B, D], [B, D] -> scalar."""
        check_alike("AdaptiveRobust", outputs, targets)
        if outputs.shape[-1] != self.outputs:
            raise UsageError(f"AdaptiveRobust was made for {self.outputs} outputs, got {list(outputs.shape)}")
        alpha, scale = self.alpha(), self.scale()
        return (general(outputs - targets, alpha, scale) + scale.log() + log_partition(alpha)).mean()

    def extra_repr(self) -> str:
        """Its arguments."""
        return f"{self.outputs}, low={self.low}, high={self.high}, least_scale={self.least_scale}"
