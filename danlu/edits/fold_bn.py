"""Merge a BatchNorm into the convolution or linear layer before it: the same outputs in eval mode, one layer less.

    W' = W * s,   b' = (b - mean) * s + beta,   s = gamma / sqrt(var + eps)     (per output channel)

Source: Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167 (section 3.1, inference). Card: fold_bn.md
"""

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from ._penalties import without_penalties
from ._registry import edits
from ._trace import Neighbours
from .surgery import Change, Outcome, brief, check_skip, count_params, is_skipped, set_module

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
Folding = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d | nn.Linear
FOLDS: tuple[type[nn.Module], ...] = (*CONVS, *TRANSPOSED, nn.Linear)


@edits(exact=True, needs=("weights",), reduces=("params", "latency", "memory"), paper="arxiv:1502.03167")
def fold_bn(model: nn.Module, *, skip: Collection[str] = ()) -> Outcome:
    """Fold every BatchNorm into the layer that feeds it; nn.Identity takes its place.

    Equal to `model.eval()`, whatever mode the model is in: the folded statistics no longer change, and training the result
    further trains it without normalisation. `skip` holds names of BatchNorms, or of modules, to leave alone.

    A BatchNorm is kept, with the reason, when it does not follow exactly one layer that feeds nothing else, has no running
    statistics, or when hooks or parametrisations hang on either of the two.
    """
    check_skip(model, skip)
    before = count_params(model)
    model = without_penalties(model)
    outcome = Outcome(model)
    neighbours = Neighbours(model)
    for name, norm in list(model.named_modules()):
        if not isinstance(norm, _BatchNorm):
            continue
        if is_skipped(name, skip):
            outcome.kept.append((name, "named in skip"))
            continue
        layer = neighbours.only_before(norm)
        problem = why_alone(neighbours, norm) if layer is None else why_not(layer, norm)
        if layer is None or problem is not None:
            outcome.kept.append((name, str(problem)))
            continue
        fold(layer, norm)  # type: ignore[arg-type]  # why_not has seen to its type
        outcome.changed.append(Change(name, brief(norm), f"folded into {name_of(model, layer)}"))
        if name:
            set_module(model, name, nn.Identity())
    outcome.params = (before, count_params(model))
    return outcome


def name_of(model: nn.Module, layer: nn.Module) -> str:
    """The first name of a module in `model`."""
    return next(name for name, module in model.named_modules() if module is layer)


def why_alone(neighbours: Neighbours, norm: nn.Module) -> str:
    """Why a norm has no layer of its own before it."""
    before = neighbours.before.get(norm)
    if not before:
        return "it is never called, or only where the forward cannot be traced"
    if norm in neighbours.untraced:
        return "the forward around it cannot be traced, so what feeds it is unknown"
    if None in before:
        return "it does not follow a layer directly"
    if len(before) > 1:
        return "it follows several layers"
    return "the layer before it feeds something else as well"


def why_not(layer: nn.Module, norm: _BatchNorm) -> str | None:
    """Why `norm` cannot be folded into the `layer` that feeds it; None when it can."""
    if not isinstance(layer, FOLDS):
        return f"it follows a {type(layer).__name__}, which has no weights to fold it into"
    if norm.running_mean is None or norm.running_var is None:
        return "it has no running statistics: it normalises with those of each batch"
    out = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    if out != norm.num_features:
        return f"it normalises {norm.num_features} channels, the layer before it gives {out}"
    for module in (layer, norm):
        if parametrize.is_parametrized(module):
            return "a weight is parametrised: bake it first"
        if module._forward_hooks or module._forward_pre_hooks:
            return "a hook watches it or the layer before it"
    return None


@torch.no_grad()
def fold(layer: Folding, norm: _BatchNorm) -> None:
    """Put what `norm` does in eval mode into `layer`, in place. Computed in float64, stored in the layer's own type."""
    mean, var = _double(norm.running_mean), _double(norm.running_var)
    scale = (var + norm.eps).rsqrt() * (_double(norm.weight) if norm.weight is not None else 1)
    shift = -mean * scale + (_double(norm.bias) if norm.bias is not None else 0)
    weight = _double(layer.weight)
    if isinstance(layer, TRANSPOSED):  # [in, out / groups, ...]; the inputs of a group feed the outputs of that group
        grouped = weight.unflatten(0, (layer.groups, -1))
        by_channel = scale.view(layer.groups, 1, -1, *[1] * (weight.dim() - 2))
        weight = (grouped * by_channel).flatten(0, 1)
    else:
        weight = weight * scale.view(-1, *[1] * (weight.dim() - 1))
    bias = shift + (_double(layer.bias) * scale if layer.bias is not None else 0)
    like, trainable = layer.weight, layer.weight.requires_grad
    layer.weight = nn.Parameter(weight.to(like), requires_grad=trainable)
    layer.bias = nn.Parameter(bias.to(like), requires_grad=trainable)


def _double(tensor: Tensor | None) -> Tensor:
    if tensor is None:  # callers look first; this is for the type checker
        raise ValueError("no tensor")
    return tensor.detach().to(torch.float32 if tensor.device.type == "mps" else torch.float64)  # mps has no float64
