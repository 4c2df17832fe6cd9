"""What an edit put into a net, as data: how a net with factored or merged layers is stored without running the edit again.

    blueprint(net, reference) -> {"layer1.0.conv1": {"type": "Sequential", "children": {"0": {"type": "Conv2d", "args": {...}}}}}

A reference is the net that the recipe's structure edits give. Where a module is of another type, has other children or other
arguments, the smallest subtree that differs is described by class names and literal arguments. Only classes of torch.nn named
below and those in danlu's registry of layers are described and built: a file can name no other code. Channel counts are left
to `fit_shapes`, which reads them from the tensors.
"""

import copy
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from ..errors import UsageError, unknown
from ..literals import plain

CONTAINERS = {kind.__name__: kind for kind in (nn.Sequential, nn.ModuleList, nn.ModuleDict)}
TORCH_LAYERS = (
    "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveMaxPool1d AdaptiveMaxPool2d AvgPool1d AvgPool2d BatchNorm1d BatchNorm2d "
    "BatchNorm3d ChannelShuffle Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d Dropout Dropout2d ELU Flatten GELU "
    "GroupNorm Hardsigmoid Hardswish Hardtanh Identity InstanceNorm1d InstanceNorm2d LayerNorm LeakyReLU Linear "
    "LocalResponseNorm LPPool2d MaxPool1d MaxPool2d Mish PReLU PixelShuffle ReLU ReLU6 SELU Sigmoid SiLU Softmax "
    "Softplus Tanh Upsample ZeroPad2d"
)
LEAVES: dict[str, type[nn.Module]] = {name: getattr(nn, name) for name in TORCH_LAYERS.split()}
COUNTS = {"in_channels", "out_channels", "groups", "in_features", "out_features", "num_features", "num_parameters", "bias"}
MOST_DEPTH, MOST_LAYERS = 16, 10_000


def blueprint(net: nn.Module, reference: nn.Module) -> dict[str, Any]:
    """What of `net` differs from `reference`, by module path.

    Raises: UsageError when a difference lies in a class that cannot be described, or in a module hung in two places.
    """
    found: dict[str, Any] = {}
    places: dict[int, str] = {}
    _differ("", net, reference, found)
    for path in found:
        for name, module in net.get_submodule(path).named_modules(prefix=path):
            if places.setdefault(id(module), name) != name:
                raise UsageError(f"{places[id(module)]} and {name} are one module; changed layers that are shared are not stored")
    return found


def _differ(path: str, net: nn.Module, reference: nn.Module, found: dict[str, Any]) -> None:
    kind = parametrize.type_before_parametrizations(net)
    if kind is type(reference):
        mine, theirs = dict(children(net)), dict(children(reference))
        if mine.keys() == theirs.keys():
            if not mine and kind.__name__ in known() and _shape_free(net) != _shape_free(reference):
                found[path] = describe(net)
            for name, child in mine.items():
                _differ(f"{path}.{name}".lstrip("."), child, theirs[name], found)
            return
    elif isinstance(net, nn.Identity) and not path:
        raise UsageError("the whole net was replaced by an identity")
    found[path] = describe(net)


def children(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The children but parametrisations."""
    return [(name, child) for name, child in module.named_children() if name != "parametrizations"]


def known() -> dict[str, type[nn.Module]]:
    """Every class a blueprint may name."""
    from ..nn import layers

    return {**LEAVES, **CONTAINERS, **{entry.name: entry.build for entry in layers}}


def holds(kind: type[nn.Module]) -> bool:
    """Whether a class is a container: made without arguments, then given its children."""
    return kind in CONTAINERS.values() or issubclass(kind, nn.Sequential)


def _shape_free(module: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in arguments(module).items() if name not in COUNTS}


def arguments(module: nn.Module) -> dict[str, Any]:
    """The literal arguments that differ from a layer's defaults, read from the attributes of the same names."""
    kind = parametrize.type_before_parametrizations(module)
    found: dict[str, Any] = {}
    for name, option in inspect.signature(kind).parameters.items():
        if name in ("device", "dtype") or option.kind in (option.VAR_POSITIONAL, option.VAR_KEYWORD):
            continue
        if not hasattr(module, name):
            raise UsageError(f"{kind.__name__} does not keep its argument {name}, so it cannot be stored")
        value = getattr(module, name)
        if name == "bias":
            value = value is not None and value is not False
        value = list(value) if isinstance(value, tuple | torch.Size) else value
        if not plain(value):
            raise UsageError(f"{kind.__name__} has the argument {name}={value!r}, which is not a literal, so it cannot be stored")
        if option.default is option.empty or value != option.default:
            found[name] = value
    return found


def describe(module: nn.Module) -> dict[str, Any]:
    """A module as data. Raises UsageError for a class that a file may not name."""
    kind = parametrize.type_before_parametrizations(module)
    if known().get(kind.__name__) is not kind:
        raise UsageError(f"a {kind.__name__} that an edit put into the net cannot be stored; it is not a layer danlu knows")
    if holds(kind):
        return {"type": kind.__name__, "children": {name: describe(child) for name, child in children(module)}}
    options = arguments(module)
    return {"type": kind.__name__, **({"args": options} if options else {})}


def rebuild(net: nn.Module, layers: Mapping[str, Any]) -> nn.Module:
    """A copy of `net` with the described subtrees in place. Raises UsageError for a description that is none."""
    net = copy.deepcopy(net)
    if not isinstance(layers, Mapping) or len(layers) > MOST_LAYERS:
        raise UsageError(f"the description of changed layers is not a mapping of at most {MOST_LAYERS:,} entries")
    for path, description in layers.items():
        new = build(description)
        if not path:
            return new
        parent, _, name = str(path).rpartition(".")
        try:
            owner = net.get_submodule(parent)
            owner.get_submodule(name)
        except AttributeError as error:
            raise UsageError(f"the description changes {str(path)[:100]!r}, which the net does not have") from error
        owner._modules[name] = new
    return net


def build(description: Any, depth: int = 0) -> nn.Module:
    """One described module."""
    if not isinstance(description, Mapping) or depth > MOST_DEPTH:
        raise UsageError("a described layer is a mapping with a type, nested at most 16 deep")
    name, options, inside = description.get("type"), description.get("args", {}), description.get("children", {})
    if not isinstance(name, str) or name not in known():
        raise unknown("type of layer", str(name)[:100], known())
    if not isinstance(options, Mapping) or not isinstance(inside, Mapping) or len(inside) > MOST_LAYERS:
        raise UsageError(f"a described {name} has args and children that are mappings")
    kind = known()[name]
    try:
        if holds(kind):
            module = kind()
            for key, child in inside.items():
                module.add_module(str(key), build(child, depth + 1))
            return module
        return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in options.items()})
    except (TypeError, ValueError, RuntimeError, KeyError) as error:
        raise UsageError(f"a described {name} cannot be built: {str(error).splitlines()[0]}") from error
