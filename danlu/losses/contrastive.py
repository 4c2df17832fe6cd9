"""Contrastive loss: pull two images of one identity together, push two of different ones apart until a margin lies between them.

    L = d^2 / 2                      of one identity             d = |f(a) - f(b)|
    L = max(0, margin - d)^2 / 2     of two identities

Two copies of one network look at the two images: a siamese net. In a batch every two images are a pair.

Source: Hadsell et al. 2006, https://doi.org/10.1109/CVPR.2006.100; the siamese net: Bromley et al. 1993,
https://doi.org/10.1142/S0218001493000339.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import UsageError
from ._check import check_alike, check_identities, check_option
from ._registry import losses


@losses(task="embed", paper="doi:10.1109/CVPR.2006.100")
def contrastive(outputs: Tensor, targets: Tensor, *, margin: float = 1.0) -> Tensor:
    """Pull and push, the mean over all pairs of a batch.

    Shape: outputs [B, D], targets int64 [B], B >= 2 -> scalar
    Raises: UsageError for other shapes, a batch of one, or a margin not above 0.
    """
    check_option("contrastive", "margin", margin, low=0, above=True)
    check_identities("contrastive", outputs, targets)
    if len(outputs) < 2:
        raise UsageError("contrastive compares pairs: it needs a batch of 2 or more, got 1")
    first, second = torch.triu_indices(len(outputs), len(outputs), 1, device=outputs.device)
    return _mean(F.pdist(outputs), targets[first] == targets[second], margin)


def contrastive_pairs(first: Tensor, second: Tensor, same: Tensor, *, margin: float = 1.0) -> Tensor:
    """The mean over given pairs, for a siamese net that is fed with them.

    Shape: first and second [B, D], same bool [B] -> scalar
    Raises: UsageError for other shapes, or a margin not above 0.
    """
    check_option("contrastive_pairs", "margin", margin, low=0, above=True)
    check_alike("contrastive_pairs", first, second)
    if first.ndim != 2 or same.shape != first.shape[:1]:
        raise UsageError(f"contrastive_pairs takes embeddings [B, D] and same [B], got {list(first.shape)}, {list(same.shape)}")
    return _mean(torch.linalg.vector_norm(first - second, dim=1), same.bool(), margin)


def _mean(d: Tensor, same: Tensor, margin: float) -> Tensor:
    """Shape: distances [P], same bool [P] -> scalar."""
    return torch.where(same, d, F.relu(margin - d)).square().mean() / 2
