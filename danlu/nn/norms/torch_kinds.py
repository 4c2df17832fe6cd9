"""The normalisations that torch has: they differ in what mean and variance run over.

    batch     [B, H, W] per channel    (running averages at inference)
    group     [C / groups, H, W] per image
    layer     [C, H, W] per image      (a group norm with one group, as its paper compares it)
    instance  [H, W] per image and channel
    lrn       no mean: y = x / (k + alpha mean of x^2 over `size` neighbouring channels)^beta

Source: Ioffe & Szegedy 2015 (batch), https://arxiv.org/abs/1502.03167; Wu & He 2018 (group), https://arxiv.org/abs/1803.08494; Ba
et al. 2016 (layer), https://arxiv.org/abs/1607.06450; Ulyanov et al. 2016 (instance), https://arxiv.org/abs/1607.08022;
Krizhevsky et al. 2012, AlexNet (lrn).
"""

from torch import nn

from ...errors import UsageError
from ._registry import Place, norms

BATCH = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
INSTANCE = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
MOST_GROUPS = 32


@norms(paper="arxiv:1502.03167")
def batch(place: Place) -> nn.Module:
    """Over batch and map, per channel: the default; from about 16 images a step."""
    return BATCH[place.dims](place.width, eps=place.eps, **place.like)


@norms(paper="arxiv:1803.08494")
def group(place: Place, *, groups: int | None = None) -> nn.Module | str:
    """Over the map and the channels of a group, per image: for small batches.

    By default `groups` is the largest divisor of the channels up to 32. Raises: UsageError for groups below 1.
    """
    if groups is not None and groups < 1:
        raise UsageError(f"group: groups must be a whole number above zero, got {groups}")
    most = MOST_GROUPS if place.dims > 1 else min(MOST_GROUPS, max(1, place.width // 2))  # of a vector: two values a group
    return _grouped(place, groups or largest_divisor(place.width, most))


@norms(paper="arxiv:1607.06450")
def layer(place: Place) -> nn.Module | str:
    """Over map and channels, per image: a group norm with one group; for sequences and small batches."""
    return _grouped(place, 1)


@norms(paper="arxiv:1607.08022")
def instance(place: Place) -> nn.Module | str:
    """Over the map, per image and channel: for style transfer, where contrast should not matter."""
    if place.dims not in INSTANCE:
        return "it may see one value per channel, which an instance norm turns into zero"
    return INSTANCE[place.dims](place.width, eps=place.eps, affine=True, **place.like)


@norms(paper="Krizhevsky et al. 2012")
def lrn(place: Place, *, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> nn.Module | str:
    """Local response normalisation: loud channels dim their neighbours; no mean, no scale and shift, nothing learned.

    Raises: UsageError for a size below 1, or a k that is not above 0.
    """
    if size < 1 or not k > 0:
        raise UsageError(f"lrn: size must be from 1 and k above 0, got size={size} and k={k:g}")
    if place.dims == 1:
        return "it may see a vector, which a local response norm does not take"
    return nn.LocalResponseNorm(size, alpha, beta, k)


@norms(paper="arxiv:1502.03167")
def none(place: Place) -> nn.Module:
    """Nothing; a batch norm is folded into the layer before it where it can be."""
    return nn.Identity()


def largest_divisor(width: int, most: int = MOST_GROUPS) -> int:
    """The largest divisor of `width` that is at most `most`."""
    return next(count for count in range(min(most, width), 0, -1) if width % count == 0)


def _grouped(place: Place, count: int) -> nn.Module | str:
    if place.dims == 1 and count == place.width:
        return "it may see one value per group, which a group norm turns into zero"
    if place.width % count:
        return f"{count} groups do not divide its {place.width} channels"
    return nn.GroupNorm(count, place.width, eps=place.eps, **place.like)
