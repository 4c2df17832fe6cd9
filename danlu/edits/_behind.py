"""New layers behind named modules: each place becomes `nn.Sequential(what was there, new layer)`; all around it stays.

Nothing depends on the size of the input: the net is run once without data, and the parts that this does not reach alone.
"""

import copy
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from ..nn import ExitPoint
from ._maps import _without_data
from ._units import Unit, _is_registered, _run_alone, branch_ends, is_plain, role, units
from .price import Price
from .surgery import Change, Outcome, brief, check_skip, count_params, is_skipped, named_slots
from .swap_norm import NORMS

Shape = tuple[int, ...]
OPEN = 3.0  # before a sigmoid: a gate that starts at 0.95
EVEN = 0.1  # gain of the layer before a gate: all channels start much alike, whatever the scale of the maps


def put_behind(
    model: nn.Module,
    places: Iterable[str],
    kind: type[nn.Module],
    make: Callable[[Shape, Shape], tuple[nn.Module, Price]],
    skip: Collection[str] = (),
) -> Outcome:
    """Copy `model` and put a layer behind each of `places`, but where one of its `kind` is already.

    `make(into, out)` gives the layer and its price for the shapes [C, H, W] of the maps before and after the place; it gets the
    device and the type of the net's weights.
    """
    check_skip(model, skip)
    names = list(dict.fromkeys(places))
    shapes = map_shapes(model, names)
    new = copy.deepcopy(model)
    outcome = Outcome(new)
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    found = [(name, new.get_submodule(name)) for name in names]  # before any of them moves
    for name, old in found:
        reason = "named in skip" if is_skipped(name, skip) else why_not(model, name, kind)
        if reason is None and name not in shapes:
            reason = "it gives no map [C, H, W], or its part of the net does not run alone"
        if reason is not None:
            outcome.kept.append((name, reason))
            continue
        layer, price = make(*shapes[name])
        layer.to(device=like.device, dtype=like.dtype).train(old.training)
        chain = nn.Sequential(old, layer)
        chain.training = old.training  # not chain.train(): the layers inside keep the flags they have
        for _, parent, key, child in named_slots(new):
            if child is old:
                parent._modules[key] = chain
        outcome.changed.append(Change(name, brief(old), f"{brief(old)}, then {brief(layer)}", price))
    outcome.params = (count_params(model), count_params(new))
    return outcome


def why_not(model: nn.Module, name: str, kind: type[nn.Module]) -> str | None:
    """Why nothing goes behind a module: a layer of this kind is there, or an exit, which is known by its place; else None."""
    module = model.get_submodule(name)
    if any(isinstance(inner, ExitPoint) for inner in module.modules()):
        return "an exit of the net lies in it"
    if _ends_in(module, kind):
        return f"it has a {kind.__name__} already"
    while name:  # what earlier edits put there hangs beside it, in the chains around it
        name, _, key = name.rpartition(".")
        holder = model.get_submodule(name)
        if not is_plain(holder):
            return None
        keys = list(holder._modules)
        at = keys.index(key)
        beside = [keys[at + 1 :], reversed(keys[:at]) if role(module) == "other" else []]
        for other in (inner for side in beside for inner in _until_a_step(holder, side)):
            if _ends_in(other, kind):
                return f"it has a {kind.__name__} already"
    return None


def _until_a_step(chain: nn.Module, keys: Iterable[str]) -> Iterator[nn.Module]:
    """The children of a chain in this order, up to one that is a step of the net: attention, pools, dropout."""
    for child in (chain.get_submodule(key) for key in keys):
        if role(child) != "other":
            return
        yield child


def _ends_in(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a module is of a kind, or a chain that has one in it."""
    return isinstance(module, kind) or (is_plain(module) and any(_ends_in(child, kind) for child in module.children()))


def ends(model: nn.Module) -> tuple[list[str], list[tuple[str, str]]]:
    """Where attention goes, and the steps of the net without such a place, each with the reason.

    At the end of each residual branch; in a net without any, behind each unit.
    """
    steps, kept = body(model)
    found = [_whole(model, name) for name in branch_ends(model)]
    for unit in steps:
        if unit.residual and not any(name.startswith(f"{unit.names[0]}.") for name in found):
            kept.append((unit.names[0], "no layer ends its residual branch, the forward itself does"))
    found = found or [unit.names[-1] for unit in steps if not unit.residual]
    if not found and not kept:
        kept.append(("", "it has no residual branches, and no blocks or convolutions in a chain behind the first"))
    return found, kept


def _whole(model: nn.Module, name: str) -> str:
    """The layer of danlu that a module is a part of, or the module itself."""
    path = name.split(".")
    for i in range(1, len(path)):
        holder = model.get_submodule(".".join(path[:i]))
        if _is_registered(holder) and not isinstance(holder, nn.Sequential):
            return ".".join(path[:i])
    return name


def body(model: nn.Module) -> tuple[list[Unit], list[tuple[str, str]]]:
    """The units of a net but for a convolution that is its classifier, which is kept with a reason."""
    steps = units(model)
    last = next((name for name, module in reversed(list(model.named_modules())) if isinstance(module, _ConvNd | nn.Linear)), "")
    if steps and any(last == name or last.startswith(f"{name}.") for name in steps[-1].names):
        return steps[:-1], [(steps[-1].names[0], "it gives the scores of the classes")]
    return steps, []


def map_shapes(model: nn.Module, names: Iterable[str]) -> dict[str, tuple[Shape, Shape]]:
    """The shapes [C, H, W] before and after each of the named modules that gives one map, for some size of the input."""
    shadow = _without_data(model).eval()
    shapes: dict[str, tuple[Shape, Shape]] = {}

    def hook(name: str) -> Callable[..., None]:
        def note(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            x = args[0] if len(args) == 1 else None
            if isinstance(x, Tensor) and isinstance(output, Tensor) and x.dim() == output.dim() == 4:
                shapes.setdefault(name, (tuple(x.shape[1:]), tuple(output.shape[1:])))

        return note

    for name in names:
        shadow.get_submodule(name).register_forward_hook(hook(name))
    _run_alone(shadow, None)  # as far as it gets: a head may want another size
    for name in names:
        part = name
        while name not in shapes and "." in part:
            part = part.rpartition(".")[0]
            _run_alone(shadow.get_submodule(part), None)
    return shapes


def is_normed(model: nn.Module) -> bool:
    """Whether a net has norms, which make up for what gates take from the scale of a map."""
    return any(isinstance(module, NORMS) for module in model.modules())


def he_normal(layer: nn.Module, *, gain: float = math.sqrt(2)) -> None:
    """Draw the weights of all convolutions and linear layers inside from N(0, gain^2 / fan in); biases 0."""
    for module in layer.modules():
        if isinstance(module, _ConvNd | nn.Linear):
            nn.init.normal_(module.weight, std=gain / math.sqrt(module.weight[0].numel()))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
