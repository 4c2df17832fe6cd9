"""The losses of a generator and its critic: minimax, -log D, least squares, and the loss-sensitive one.

With the critic's scores r of real and f of generated images, D = sigmoid(score):

                     critic                                          generator
    minimax          mean -log D(r) + mean -log(1 - D(f))            mean log(1 - D(f))
    non_saturating   as minimax                                      mean -log D(f)
    least_squares    mean (r - real)^2 / 2 + mean (f - fake)^2 / 2   mean (f - aim)^2 / 2
    loss_sensitive   mean r + strength mean max(0, gap + r - f)      mean f

minimax is the game as it was first written; its generator has no slope while the critic is sure, which the -log D trick repairs.
Least squares also pulls in images that are real to the critic but far from its boundary. In the loss-sensitive GAN the scores are
losses, low for real images, and the margin between two images is the distance `gap` between them: what is real enough is let be.

Source: Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661, equation 1 and section 3; least squares: Mao et al. 2016,
https://arxiv.org/abs/1611.04076, equation 2; loss-sensitive: Qi 2017, https://arxiv.org/abs/1701.06264, section 3.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import UsageError
from ._check import check_option
from ._registry import losses

Side = Literal["critic", "generator"]


def real_scores(loss: str, targets: Tensor | None) -> Tensor:
    """The scores of real images, which the critic's side needs. Raises UsageError where there are none."""
    if targets is None:
        raise UsageError(f"{loss}: the critic's side needs the scores of real images as targets")
    return targets


@losses(task="generate", paper="arxiv:1406.2661")
def minimax(outputs: Tensor, targets: Tensor | None = None, *, side: Side) -> Tensor:
    """The game of the first GAN, -log of the critic's chance to be right, and its opposite.

    Shape: scores of generated images [B] or any other shape, scores of real ones (None for the generator) -> scalar
    Raises: UsageError for the critic's side without real images.
    """
    if side == "generator":
        return -F.softplus(outputs).mean()
    return F.softplus(-real_scores("minimax", targets)).mean() + F.softplus(outputs).mean()


@losses(task="generate", paper="arxiv:1406.2661")
def non_saturating(outputs: Tensor, targets: Tensor | None = None, *, side: Side) -> Tensor:
    """The -log D trick: the generator raises the chance that its images pass for real.

    Shape: scores of generated images [B] or any other shape, scores of real ones (None for the generator) -> scalar
    Raises: UsageError for the critic's side without real images.
    """
    return F.softplus(-outputs).mean() if side == "generator" else minimax(outputs, targets, side="critic")


@losses(task="generate", paper="arxiv:1611.04076")
def least_squares(
    outputs: Tensor, targets: Tensor | None = None, *, side: Side, fake: float = 0.0, real: float = 1.0, aim: float = 1.0
) -> Tensor:
    """Scores are pulled to `fake` and `real` by the critic, to `aim` by the generator.

    Shape: scores of generated images [B] or any other shape, scores of real ones (None for the generator) -> scalar
    Raises: UsageError for the critic's side without real images, or where fake and real are the same.
    """
    if fake == real:
        raise UsageError(f"least_squares: fake and real must differ, got {fake} for both")
    if side == "generator":
        return (outputs - aim).square().mean() / 2
    return (real_scores("least_squares", targets) - real).square().mean() / 2 + (outputs - fake).square().mean() / 2


@losses(task="generate", paper="arxiv:1701.06264")
def loss_sensitive(
    outputs: Tensor, targets: Tensor | None = None, gap: Tensor | None = None, *, side: Side, strength: float = 1.0
) -> Tensor:
    """Low scores for real images, and for generated ones higher by the distance to the real one beside it.

    Shape: scores of generated images [B], of real ones [B], `gap` [B]: the distance of each generated image to the real one of
    the same place, from 0, e.g. the mean |difference| of their pixels -> scalar. The generator's side needs the first only.
    Raises: UsageError for the critic's side without real images or gap, unequal shapes, or strength not above 0.
    """
    check_option("loss_sensitive", "strength", strength, low=0, above=True)
    if side == "generator":
        return outputs.mean()
    real = real_scores("loss_sensitive", targets)
    if gap is None or not outputs.shape == real.shape == gap.shape:
        shapes = [None if tensor is None else list(tensor.shape) for tensor in (outputs, real, gap)]
        raise UsageError(f"loss_sensitive compares pairs: it needs outputs, targets and gap of one shape, got {shapes}")
    return real.mean() + strength * torch.relu(gap + real - outputs).mean()
