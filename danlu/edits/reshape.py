"""Resize a freshly built net to the tensor shapes of a saved one: how a pruned or folded net is rebuilt from its recipe.

Only shapes are read, so nothing of the decision which channels went has to be stored: the weights say it.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm

from ..errors import UsageError
from .surgery import set_module

Shape = tuple[int, ...]


def fit_shapes(model: nn.Module, shapes: Mapping[str, Shape]) -> nn.Module:
    """A copy of `model` whose state dict has exactly these names and shapes; resized tensors are zero, to be loaded.

    Convolutions, linear layers, norms and PReLU get new channel counts (a depthwise convolution stays depthwise, other
    groups stay as many); tensors that a module of the user's own holds are resized as they are. A convolution or linear
    layer gains the bias that the shapes have (fold_bn); a BatchNorm that they lack becomes nn.Identity.

    Raises: UsageError that lists every tensor that is missing, unexpected, or of a shape no resizing can give.
    """
    new = copy.deepcopy(model)
    problems: list[str] = []
    names: dict[nn.Module, list[str]] = {}
    for name, module in new.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    known: set[str] = set()
    for module, places in names.items():
        found: dict[str, Shape] = {}
        for place in places:  # a shared module may be stored under any of its names
            own = {key: f"{place}.{key}" if place else key for key in _tensors(module)}
            found.update({key: tuple(shapes[full]) for key, full in own.items() if full in shapes})
            known.update(own.values())
        problems += _fit(new, places[0], module, found)
    problems += [f"{name} {list(shape)} is not in the net" for name, shape in shapes.items() if name not in known]
    if problems:
        raise UsageError(f"the tensors are of another net: {_listed(problems)}")
    return new


def _listed(problems: list[str], most: int = 8) -> str:
    more = f"; and {len(problems) - most} more" if len(problems) > most else ""
    return "; ".join(problems[:most]) + more


def _tensors(module: nn.Module) -> dict[str, torch.Tensor | None]:
    """The parameters and stored buffers a module holds itself; None for the bias of a layer that could have one."""
    own: dict[str, torch.Tensor | None] = {key: value for key, value in module._parameters.items() if value is not None}
    own |= {
        key: value
        for key, value in module._buffers.items()
        if value is not None and key not in module._non_persistent_buffers_set
    }
    if isinstance(module, _ConvNd | nn.Linear) and module.bias is None:
        own["bias"] = None
    return own


def _fit(model: nn.Module, name: str, module: nn.Module, found: dict[str, Shape]) -> list[str]:
    """Bring one module to its shapes; what stands in the way."""
    own = _tensors(module)
    if isinstance(module, _BatchNorm) and own and not found:
        set_module(model, name, nn.Identity())
        return []
    problems = [f"{name}.{key} is missing".lstrip(".") for key, value in own.items() if value is not None and key not in found]
    if problems:
        return problems
    old = {key: tuple(value.shape) for key, value in own.items() if value is not None}
    if all(old.get(key) == shape for key, shape in found.items()):
        return []
    told = ", ".join(f"{key} {list(shape)}" for key, shape in found.items() if old.get(key) != shape)
    had = ", ".join(f"{key} {list(old[key])}" for key, shape in found.items() if key in old and old[key] != shape)
    unfit = [f"{name} cannot take {told}" + (f" in the place of {had}" if had else "")]
    if any(len(shape) != len(old[key]) or 0 in shape for key, shape in found.items() if key in old):
        return unfit
    resize = next((function for kinds, function in RESIZERS if isinstance(module, kinds)), None)
    if resize is None and type(module).__module__.startswith("torch.nn."):
        return unfit
    if resize is not None and not resize(module, found):
        return unfit
    for key, shape in found.items():
        _set(module, key, shape)
    return []


def _set(module: nn.Module, key: str, shape: Shape) -> None:
    """Put a zero tensor of this shape in the place of another one, or of an absent bias."""
    old = getattr(module, key)
    if old is not None and tuple(old.shape) == shape:
        return
    like: Any = old if old is not None else module.weight
    zeros = like.detach().new_zeros(shape)
    setattr(module, key, nn.Parameter(zeros, like.requires_grad) if isinstance(like, nn.Parameter) else zeros)


def _conv(module: Any, found: dict[str, Shape]) -> bool:
    """[out, in / groups, ...], for a transposed convolution [in, out / groups, ...]."""
    weight = found["weight"]
    if weight[2:] != tuple(module.weight.shape[2:]):
        return False
    transposed = isinstance(module, _ConvTransposeNd)
    groups = module.groups
    if groups > 1 and groups == module.in_channels and not transposed and weight[1] == 1:  # one filter bank a channel
        if weight[0] * module.in_channels % module.out_channels:
            return False
        groups = weight[0] * module.in_channels // module.out_channels
    if transposed:
        into, out = weight[0], weight[1] * groups
    else:
        into, out = weight[1] * groups, weight[0]
    if groups < 1 or into % groups or out % groups or found.get("bias", (out,)) != (out,):
        return False
    module.in_channels, module.out_channels, module.groups = into, out, groups
    return True


def _linear(module: Any, found: dict[str, Shape]) -> bool:
    out, into = found["weight"]
    if found.get("bias", (out,)) != (out,):
        return False
    module.in_features, module.out_features = into, out
    return True


def _per_channel(attribute: str) -> Callable[[Any, dict[str, Shape]], bool]:
    """For layers whose tensors all are [C], or counters without dimensions."""

    def resize(module: Any, found: dict[str, Shape]) -> bool:
        widths = {shape for shape in found.values() if shape}
        if len(widths) != 1:
            return False
        (width,) = next(iter(widths))
        if isinstance(module, nn.GroupNorm) and width % module.num_groups:
            return False
        setattr(module, attribute, width)
        return True

    return resize


def _layer_norm(module: Any, found: dict[str, Shape]) -> bool:
    if len(set(found.values())) != 1:
        return False
    module.normalized_shape = next(iter(found.values()))
    return True


RESIZERS: tuple[tuple[Any, Callable[[Any, dict[str, Shape]], bool]], ...] = (
    (_ConvNd, _conv),
    (nn.Linear, _linear),
    ((_BatchNorm, _InstanceNorm), _per_channel("num_features")),
    (nn.GroupNorm, _per_channel("num_channels")),
    (nn.PReLU, _per_channel("num_parameters")),
    (nn.LayerNorm, _layer_norm),
)
