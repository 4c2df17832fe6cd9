"""Inception and mode score: generated images that are each clearly of one class, and together of all classes.

    IS = exp( E_x KL(p(y|x) || p(y)) ),                                p(y) = E_x p(y|x) over the generated images
    MS = exp( E_x KL(p(y|x) || p(y)) - KL(p(y) || p*(y)) ),            p*(y) = the same over the real images

The best score is the number of classes; for the mode score, where the real images are of all classes alike.

Source: Salimans et al. 2016, https://arxiv.org/abs/1606.03498; Che et al. 2017, https://arxiv.org/abs/1612.02136, in the form of
Xu et al. 2018, https://arxiv.org/abs/1806.07755.
Differs: Che et al. print E_x KL(p(y|x) || p*(y)) - KL(p(y) || p*(y)), which is the logarithm of the inception score again,
whatever p* is. The probabilities are those of any classifier; published scores are of Inception v3, the mean over 10 parts of
5,000 images.
"""

import math

import torch
from torch import Tensor

from ..errors import UsageError
from ._inputs import sample_pair, samples
from ._registry import metrics


@metrics(kind="generate", takes="probabilities", higher_is_better=True, paper="arxiv:1606.03498")
def inception_score(generated: Tensor) -> float:
    """How sure and how varied the classes of generated images are.

    Shape: generated [N, K] probabilities -> float in 1 .. K
    Raises: UsageError for rows that are not probabilities.
    """
    chances = distributions(samples(generated, "generated"), "generated")
    return math.exp(divergence(chances, chances.mean(0)))


@metrics(kind="generate", takes="probabilities", higher_is_better=True, paper="arxiv:1806.07755")
def mode_score(generated: Tensor, real: Tensor) -> float:
    """The inception score, less for classes that are rarer or commoner than among real images.

    A class that is generated but never real gives 0. Shape: generated [N, K], real [M, K] probabilities -> float in 0 .. K
    Raises: UsageError for rows that are not probabilities.
    """
    ours, theirs = sample_pair(generated, real)
    made = distributions(ours, "generated").mean(0)
    wanted = distributions(theirs, "real").mean(0)
    return math.exp(divergence(ours, made) - divergence(made[None], wanted))


def divergence(chances: Tensor, reference: Tensor) -> float:
    """The mean of KL(row || reference) in nats; infinite where a row has what the reference lacks. Shape: [N, K], [K]."""
    marginal = chances.mean(0)
    return float(torch.xlogy(chances, chances).sum() / len(chances) - torch.xlogy(marginal, reference).sum())


def distributions(rows: Tensor, what: str) -> Tensor:
    """The rows. Raises: UsageError unless each holds shares that sum to 1."""
    if float(rows.min()) < 0 or float((rows.sum(1) - 1).abs().max()) > 1e-3:
        raise UsageError(f"{what} samples are probabilities, rows of shares that sum to 1; logits need a softmax first")
    return rows
