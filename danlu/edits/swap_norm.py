"""Replace normalisations: batch, group, layer, instance, or none.

    y = (x - mean) / sqrt(var + eps) * gamma + beta; they differ in what the mean and the variance run over:
    batch     [B, H, W] per channel    (running averages at inference)
    group     [C / groups, H, W] per image
    layer     [C, H, W] per image      (GroupNorm with one group, as the paper compares it)
    instance  [H, W] per image and channel

Source: Wu & He 2018, Group normalization, https://arxiv.org/abs/1803.08494. Card: swap_norm.md
"""

from collections.abc import Collection
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from ..errors import UsageError
from ._check import check_choice
from ._penalties import without_penalties
from ._registry import edits
from ._trace import Neighbours
from .fold_bn import FOLDS, fold, name_of, why_not
from .price import Price, price_of
from .surgery import Change, Keep, Outcome, brief, check_skip, count_params, is_skipped, replace, set_module

To = Literal["batch", "group", "layer", "instance", "none"]
NORMS: tuple[type[nn.Module], ...] = (_BatchNorm, _InstanceNorm, nn.GroupNorm)
BATCH = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
INSTANCE = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
MOST_GROUPS = 32


@edits(exact=False, needs=(), reduces=(), paper="arxiv:1803.08494", first=True)
def swap_norm(model: nn.Module, *, to: To, groups: int | None = None, skip: Collection[str] = ()) -> Outcome:
    """Replace every BatchNorm, InstanceNorm and GroupNorm; scale and shift (gamma, beta) carry over.

    `groups` is for "group": by default the largest divisor of the channels up to 32. LayerNorm modules, which normalise
    the last dimensions of tokens, are not touched. "none" folds a BatchNorm into the layer before it where it can, so that
    a trained net still gives the same outputs in eval mode; other norms disappear, and a layer without bias that fed one
    gets its beta as bias. `skip` holds names of norms, or of modules, to leave alone.

    Raises: UsageError for another `to`, or for `groups` below 1 or without "group".
    """
    check_choice("norm", to, To)
    if groups is not None and (to != "group" or groups < 1):
        raise UsageError(f'groups is a whole number above zero for to="group", got groups={groups} with to={to!r}')
    if to == "none":
        return _remove(model, skip)
    return replace(model, NORMS, lambda _, norm: _successor(norm, to, groups), skip, price=lambda a, b: price_of(b) - price_of(a))


def _successor(norm: Any, to: str, groups: int | None) -> nn.Module | Keep:
    """The layer that takes the place of `norm`, with its gamma and beta."""
    width = norm.num_channels if isinstance(norm, nn.GroupNorm) else norm.num_features
    dims = spatial_dims(norm)
    weight = norm.weight
    like = {} if weight is None else {"device": weight.device, "dtype": weight.dtype}
    new: nn.Module
    if to == "batch":
        if isinstance(norm, _BatchNorm):
            return Keep("it is a batch norm already")
        new = BATCH[dims](width, eps=norm.eps, **like)
    elif to == "instance":
        if isinstance(norm, _InstanceNorm):
            return Keep("it is an instance norm already")
        if dims not in INSTANCE:
            return Keep("it may see one value per channel, which an instance norm turns into zero")
        new = INSTANCE[dims](width, eps=norm.eps, affine=True, **like)
    else:
        most = MOST_GROUPS if dims > 1 else min(MOST_GROUPS, max(1, width // 2))  # of a vector: two values a group at least
        count = 1 if to == "layer" else groups or largest_divisor(width, most)
        if dims == 1 and count == width:
            return Keep("it may see one value per group, which a group norm turns into zero")
        if width % count:
            return Keep(f"{count} groups do not divide its {width} channels")
        if isinstance(norm, nn.GroupNorm) and norm.num_groups == count:
            return Keep(f"it has {count} group{'s' * (count > 1)} already")
        new = nn.GroupNorm(count, width, eps=norm.eps, **like)
    with torch.no_grad():
        for old, copied in ((norm.weight, new.weight), (norm.bias, new.bias)):
            if old is not None:
                copied.copy_(old)
                copied.requires_grad_(old.requires_grad)
    return new


def spatial_dims(norm: nn.Module) -> int:
    """1, 2 or 3 by the class of the norm; a GroupNorm, which takes any, counts as one over images."""
    one, three = (nn.BatchNorm1d, nn.InstanceNorm1d), (nn.BatchNorm3d, nn.InstanceNorm3d)
    return 1 if isinstance(norm, one) else 3 if isinstance(norm, three) else 2


def largest_divisor(width: int, most: int = MOST_GROUPS) -> int:
    """The largest divisor of `width` that is at most `most`."""
    return next(count for count in range(min(most, width), 0, -1) if width % count == 0)


def _remove(model: nn.Module, skip: Collection[str]) -> Outcome:
    """Put nn.Identity in the place of every norm; the layer before it takes over what it can."""
    check_skip(model, skip)
    before = count_params(model)
    model = without_penalties(model)
    outcome = Outcome(model)
    neighbours = Neighbours(model)
    for name, norm in list(model.named_modules()):
        if not isinstance(norm, NORMS):
            continue
        if is_skipped(name, skip):
            outcome.kept.append((name, "named in skip"))
            continue
        layer: Any = neighbours.only_before(norm)
        held = price_of(norm)
        if layer is not None and isinstance(norm, _BatchNorm) and why_not(layer, norm) is None:
            held -= Price(params=norm.num_features if layer.bias is None else 0)
            fold(layer, norm)
            after = f"removed: folded into {name_of(model, layer)}"
        elif isinstance(layer, FOLDS) and layer.bias is None:
            shift = norm.bias if norm.bias is not None else layer.weight.new_zeros(1)
            out = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
            layer.bias = nn.Parameter(shift.detach().to(layer.weight).expand(out).clone())
            held -= Price(params=out)
            after = f"removed: {name_of(model, layer)} has a bias now"
        else:
            after = "removed"
        outcome.changed.append(Change(name, brief(norm), after, -held))
        set_module(model, name, nn.Identity())
    outcome.params = (before, count_params(model))
    return outcome
