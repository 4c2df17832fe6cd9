"""Fréchet distance: how far apart two clouds of features are, each taken as a Gaussian.

    d^2 = |m_1 - m_2|^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2))

With the eigenvalues C = V L V^T and R = L^(1/2) V^T, tr (C_1 C_2)^(1/2) is the sum of the singular values of R_1 R_2^T: no
root of an unsymmetric matrix, no imaginary parts to drop, and clouds that fill only a part of the space are no special case.
The samples of features of Inception v3's last pooling give the Fréchet inception distance.

Source: Heusel et al. 2017, https://arxiv.org/abs/1706.08500; Dowson and Landau 1982,
https://doi.org/10.1016/0047-259X(82)90077-X.
"""

import torch
from torch import Tensor

from ._inputs import sample_pair
from ._registry import metrics


@metrics(kind="generate", takes="features", higher_is_better=False, paper="arxiv:1706.08500")
def frechet(generated: Tensor, real: Tensor) -> float:
    """The squared Fréchet distance of two Gaussians, as the Fréchet inception distance is given.

    It falls as there are more samples: compare only equal numbers. Shape: generated [N, D], real [M, D] -> float
    Raises: UsageError for fewer than two samples of a kind.
    """
    x, y = sample_pair(generated, real, at_least=2)
    first, second = covariance(x), covariance(y)
    shared = torch.linalg.svdvals(root(first) @ root(second).T).sum()
    apart = (x.mean(0) - y.mean(0)).square().sum()
    return max(float(apart + first.trace() + second.trace() - 2 * shared), 0.0)


def covariance(samples: Tensor) -> Tensor:
    """Unbiased. Shape: [N, D] -> [D, D]."""
    centred = samples - samples.mean(0)
    return centred.T @ centred / (len(samples) - 1)


def root(covariance: Tensor) -> Tensor:
    """R with R^T R = C. Shape: [D, D] -> [D, D]."""
    values, vectors = torch.linalg.eigh(covariance)
    return values.clamp(min=0).sqrt()[:, None] * vectors.T
