"""Replace normalisations, by name with options: batch, group, layer, instance, batch renorm, generalised, L1, LRN, or none.

    "batch"  "group(groups=8)"  "batch_renorm(r_max=3, d_max=5)"  "generalised(measure='median')"  "none"

The kinds are those of `danlu.nn.norms` (`danlu list norms`).

Source: Wu & He 2018, Group normalization, https://arxiv.org/abs/1803.08494. Card: swap_norm.md
"""

from collections.abc import Collection
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from ..errors import UsageError
from ..nn.norms import Place, RunningNorm, find, norms
from ..nn.norms._running import options
from ..spec import Spec
from ._penalties import without_penalties
from ._registry import edits
from ._trace import Neighbours
from .fold_bn import FOLDS, fold, name_of, why_not
from .price import Price, price_of
from .surgery import Change, Keep, Outcome, brief, check_skip, count_params, is_skipped, replace, set_module

NORMS: tuple[type[nn.Module], ...] = (_BatchNorm, _InstanceNorm, nn.GroupNorm)


@edits(exact=False, needs=(), reduces=(), paper="arxiv:1803.08494", first=True, reads={"to": "danlu.nn.norms:find"})
def swap_norm(model: nn.Module, *, to: str, groups: int | None = None, skip: Collection[str] = ()) -> Outcome:
    """Replace every BatchNorm (and its variants), InstanceNorm and GroupNorm; scale and shift (gamma, beta) carry over.

    `groups` is for "group", the same as to="group(groups=8)": by default the largest divisor of the channels up to 32.
    Running averages carry over between batch norm and its variants. LayerNorm modules, which normalise the last dimensions of
    tokens, and local response norms are not touched. "none" folds a BatchNorm into the layer before it where it can, so that a
    trained net still gives the same outputs in eval mode; other norms disappear, and a layer without bias that fed one gets
    its beta as bias. `skip` holds names of norms, or of modules, to leave alone.

    Raises: UsageError for another `to`, an option that cannot be, or `groups` below 1 or without "group".
    """
    kind = find(to)
    if groups is not None:
        if kind.entry.name != "group" or kind.options or groups < 1:
            raise UsageError(f'groups is a whole number above zero for to="group", got groups={groups} with to={to!r}')
        kind = Spec(norms["group"], {"groups": groups})
    if kind.entry.name == "none":
        return _remove(model, skip)
    return replace(model, NORMS, lambda _, norm: _successor(norm, kind), skip, price=lambda a, b: price_of(b) - price_of(a))


def _successor(norm: Any, kind: Spec[nn.Module | str]) -> nn.Module | Keep:
    """The layer that takes the place of `norm`, with its gamma and beta."""
    width = norm.num_channels if isinstance(norm, nn.GroupNorm) else norm.num_features
    weight = norm.weight
    like = {} if weight is None else {"device": weight.device, "dtype": weight.dtype}
    new: Any = kind(Place(width, spatial_dims(norm), norm.eps, like))
    if isinstance(new, str):
        return Keep(new)
    if kind.entry.name == "batch" and isinstance(norm, _BatchNorm) and not isinstance(norm, RunningNorm):
        return Keep("it is a batch norm already")
    if type(norm) is type(new) and options(norm) == options(new):
        if isinstance(norm, nn.GroupNorm):
            return Keep(f"it has {norm.num_groups} group{'s' * (norm.num_groups > 1)} already")
        return Keep(f"it is {kind.entry.name} already")
    carried = ["weight", "bias"]
    if isinstance(norm, _BatchNorm) and isinstance(new, _BatchNorm):
        carried += ["running_mean", "running_var"]
    with torch.no_grad():
        for name in carried:
            old, copied = getattr(norm, name), getattr(new, name, None)
            if old is not None and copied is not None:
                copied.copy_(old)
                copied.requires_grad_(old.requires_grad)
    return new


def spatial_dims(norm: nn.Module) -> int:
    """1, 2 or 3 by the class of the norm; a GroupNorm, which takes any, counts as one over images."""
    if isinstance(norm, RunningNorm):
        return norm.dims
    one, three = (nn.BatchNorm1d, nn.InstanceNorm1d), (nn.BatchNorm3d, nn.InstanceNorm3d)
    return 1 if isinstance(norm, one) else 3 if isinstance(norm, three) else 2


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
