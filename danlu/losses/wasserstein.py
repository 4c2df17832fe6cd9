"""Wasserstein loss: the critic measures how far apart real and generated images lie, also where they do not overlap.

    critic      L = mean f - mean r          of scores f of generated, r of real images, without a logarithm
    generator   L = - mean f
    wgan_gp     L = mean f - mean r + strength mean (|grad_x critic(x)| - 1)^2,   x = u real + (1 - u) generated,  u ~ U(0, 1)

- L of the best critic with slopes of at most 1 is the earth mover's distance. The slopes are limited by clipping its weights
(`clip_weights` behind each step), or, better, by the gradient penalty.

Source: Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875, algorithm 1; the penalty: Gulrajani et al. 2017,
https://arxiv.org/abs/1704.00028, equation 3.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ._check import check_alike, check_option
from ._registry import losses
from .adversarial import Side, real_scores


@losses(task="generate", paper="arxiv:1701.07875")
def wasserstein(outputs: Tensor, targets: Tensor | None = None, *, side: Side) -> Tensor:
    """The difference of the mean scores, for a critic whose weights are clipped.

    Shape: scores of generated images [B] or any other shape, scores of real ones (None for the generator) -> scalar
    Raises: UsageError for the critic's side without real images.
    """
    return -outputs.mean() if side == "generator" else outputs.mean() - real_scores("wasserstein", targets).mean()


@losses(task="generate", paper="arxiv:1704.00028")
def wgan_gp(
    outputs: Tensor, targets: Tensor | None = None, norms: Tensor | None = None, *, side: Side, strength: float = 10.0
) -> Tensor:
    """The difference of the mean scores, with a penalty where the critic's slope is not 1; `norms` are of `gradient_norms`.

    Shape: scores of generated images [B] or any other shape, scores of real ones and norms [B] (None for the generator) -> scalar
    Raises: UsageError for the critic's side without real images or norms, or strength below 0.
    """
    check_option("wgan_gp", "strength", strength, low=0)
    plain = wasserstein(outputs, targets, side=side)
    if side == "generator":
        return plain
    if norms is None:
        raise UsageError("wgan_gp: the critic's side needs norms, gradient_norms(critic, real, generated)")
    return plain + strength * (norms - 1).square().mean()


def gradient_norms(
    critic: Callable[[Tensor], Tensor], real: Tensor, generated: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """|grad critic| at a random point between each real image and the generated one beside it, with a graph for its own gradient.

    The critic must treat images one by one: no batch norm. The points come from `generator`, or torch's own.

    Shape: real and generated [B, ...] -> [B]
    Raises: UsageError for unequal shapes.
    """
    check_alike("gradient_norms", real, generated)
    share = torch.rand((len(real),) + (1,) * (real.ndim - 1), generator=generator, dtype=real.dtype).to(real.device)
    x = (share * real.detach() + (1 - share) * generated.detach()).requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return torch.linalg.vector_norm(slope.flatten(1), dim=1)


@torch.no_grad()
def clip_weights(critic: nn.Module, limit: float = 0.01) -> None:
    """Every parameter into [-limit, limit], in place: behind each step of the critic. Raises UsageError unless limit > 0."""
    check_option("clip_weights", "limit", limit, low=0, above=True)
    parameters: list[Tensor] = list(critic.parameters())
    torch._foreach_clamp_min_(parameters, -limit)
    torch._foreach_clamp_max_(parameters, limit)
