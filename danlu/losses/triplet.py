"""Triplet loss: an image lies closer to those of its own identity than to any other, by a margin.

    d+ = |f(anchor) - f(positive)|,   d- = |f(anchor) - f(negative)|

    margin   L = max(0, margin + d+ - d-)
    soft     L = log(1 + exp(d+ - d-))              no margin at which the pull ends
    ratio    L = ( e^d+ / (e^d+ + e^d-) )^2         the distances as a softmax, whose share of d+ should be 0

Most triplets of a batch are easy. mining="all" takes the mean over all, "active" over those with a loss above 0, "hard" over the
hardest of each anchor: its farthest positive and its nearest negative.

Source: margin: Schroff et al. 2015, https://arxiv.org/abs/1503.03832 (with squared distances); soft, and mining in a batch:
Hermans et al. 2017, https://arxiv.org/abs/1703.07737; ratio: Hoffer and Ailon 2014, https://arxiv.org/abs/1412.6622.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import UsageError
from ._check import check_alike, check_identities, check_option
from ._registry import losses

Form = Literal["margin", "soft", "ratio"]


@losses(task="embed", paper="arxiv:1503.03832")
def triplet(
    outputs: Tensor,
    targets: Tensor,
    *,
    margin: float = 0.2,
    mining: Literal["all", "active", "hard"] = "all",
    form: Form = "margin",
    squared: bool = False,
) -> Tensor:
    """The mean over the triplets of a batch that `mining` takes.

    `margin` belongs to the form "margin"; `squared` takes the squares of the distances.

    Shape: outputs [B, D], targets int64 [B] -> scalar
    Raises: UsageError for other shapes, a margin below 0, or a batch in which no identity occurs twice beside another one.
    """
    check_option("triplet", "margin", margin, low=0)
    check_identities("triplet", outputs, targets)
    # The direct formula: |a|^2 + |b|^2 - 2 ab loses the digits of near pairs, which are those that matter.
    d = torch.cdist(outputs, outputs, compute_mode="donot_use_mm_for_euclid_dist")
    d = d.square() if squared else d
    same = targets[:, None] == targets[None, :]
    positive = same & ~torch.eye(len(d), dtype=torch.bool, device=d.device)
    usable = positive.any(1) & (~same).any(1)
    if not bool(usable.any()):
        raise UsageError("triplet needs two images of one identity and one of another in a batch; draw several of each identity")
    if mining == "hard":
        farthest = d.masked_fill(~positive, -torch.inf).amax(1)[usable]
        nearest = d.masked_fill(same, torch.inf).amin(1)[usable]
        return _loss(farthest, nearest, form, margin).mean()
    anchor, other = positive.nonzero(as_tuple=True)
    found = _loss(d[anchor, other][:, None], d[anchor], form, margin)  # [positive pairs, B]
    taken = ~same[anchor]
    if mining == "active":
        taken = taken & (found.detach() > 0)
    return (found * taken).sum() / taken.sum().clamp_min(1)


def triplets(
    anchor: Tensor, positive: Tensor, negative: Tensor, *, margin: float = 0.2, form: Form = "margin", squared: bool = False
) -> Tensor:
    """The mean over given triplets, for a triplet net that is fed with them.

    Shape: three [B, D] -> scalar
    Raises: UsageError for other shapes, or a margin below 0.
    """
    check_option("triplets", "margin", margin, low=0)
    check_alike("triplets", anchor, positive)
    check_alike("triplets", anchor, negative)
    near, far = (torch.linalg.vector_norm(anchor - other, dim=1) for other in (positive, negative))
    return _loss(near.square() if squared else near, far.square() if squared else far, form, margin).mean()


def _loss(near: Tensor, far: Tensor, form: str, margin: float) -> Tensor:
    if form == "margin":
        return F.relu(margin + near - far)
    lead = near - far
    return torch.logaddexp(lead, torch.zeros_like(lead)) if form == "soft" else lead.sigmoid().square()
