"""Replace poolings: maximum, mean, a strided convolution, a learned or a random one; and strided convolutions by pools.

    max max_k x_k | mean mean_k x_k | conv: a convolution with the pool's kernel and stride, and a ReLU
    lp (mean_k |x_k|^2)^(1/2) | mixed s max + (1 - s) mean, s learned | drawn: s is 0 or 1 at random
    gated: s depends on the window | stochastic: a pixel drawn by its share of the sum
    weighted_max sum_k w_k x_(k), sorted | detail_preserving: pixels above the mean count more

Source: Springenberg et al. 2014, Striving for simplicity, https://arxiv.org/abs/1412.6806 (convolutions in the place of pools).
Card: swap_pool.md
"""

import copy
import dataclasses
import math
from collections.abc import Callable, Collection
from typing import Any, Literal, cast

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..nn import DetailPreservingPool2d, GatedPool2d, LpPool2d, MixedPool2d, StochasticPool2d, WeightedMaxPool2d, layers
from ..nn._pool import Pool2d, pair
from ._check import check_choice
from ._map_channels import map_channels
from ._owner import owner, unusual
from ._registry import edits
from ._trace import evaluating, trace
from .price import Price, price_of
from .surgery import Keep, Outcome, brief, keep_what_was_computed, replace

To = Literal["max", "mean", "conv", "lp", "mixed", "drawn", "gated", "stochastic", "weighted_max", "detail_preserving"]
LOCAL: tuple[type[nn.Module], ...] = (nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d, Pool2d)
GLOBAL: tuple[type[nn.Module], ...] = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
FUNCTIONS = ("max_pool2d", "max_pool2d_with_indices", "avg_pool2d", "lp_pool2d", "fractional_max_pool2d")
PER_CHANNEL = ("conv", "gated", "weighted_max", "detail_preserving")  # those that must know the channels of their map
WITH_CHANNELS = ("weighted_max", "detail_preserving")  # those with weights for each of them
KINDS: dict[str, Callable[..., nn.Module]] = {
    "max": nn.MaxPool2d,
    "mean": nn.AvgPool2d,
    "lp": LpPool2d,
    "mixed": MixedPool2d,
    "gated": GatedPool2d,
    "stochastic": StochasticPool2d,
    "weighted_max": WeightedMaxPool2d,
    "detail_preserving": DetailPreservingPool2d,
}
NO_STRIDE = "it has no stride"  # nothing to say about it: most convolutions have none
WHOLE_MAP = 4  # a pool of at least this kernel, as far apart as it is wide, stands for a global one


@edits(exact=False, needs=(), reduces=(), paper="arxiv:1412.6806", first=True)
def swap_pool(model: nn.Module, *, to: To, strided: bool = False, skip: Collection[str] = ()) -> Outcome:
    """Replace every local pool by `to`; the map keeps the size that it had, with padding and ceil_mode too.

    With `strided`, each convolution with a stride becomes the same one without, and a pool of that stride behind it; a 1x1
    convolution gets the pool in front, where it costs no more. Kept, with the reason: global pools, pools called as functions
    inside a forward, and, for "conv", pools of stride 1. `skip` holds names of layers, or of modules, to leave alone.

    Raises: UsageError for another `to`.
    """
    check_choice("pool", to, To)
    gated = any(isinstance(module, GatedPool2d) for module in model.modules())  # whose price goes by the channels
    channels = map_channels(model, LOCAL) if to in PER_CHANNEL or gated else {}
    weight = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    normed = any(isinstance(module, _BatchNorm) for module in model.modules())
    prices: dict[nn.Module, Price] = {}

    def made(
        width: int, windows: Pool2d, price: Price, around: Callable[[nn.Module], nn.Module] = lambda pool: pool
    ) -> nn.Module:
        new = _pool(to, width, windows, normed=normed).to(device=weight.device, dtype=weight.dtype)
        result = around(new)
        prices[result] = price + _price(new, width)
        return result

    def decide(name: str, layer: Any) -> nn.Module | Keep:
        if isinstance(layer, nn.Conv2d):
            reason = _why_stays(model, name, layer, to)
            return Keep(reason) if reason else _without_stride(layer, made)
        widths = channels.get(name, set())
        if holder := owner(model, name):
            return Keep(f"part of a {holder}")
        if reason := _why_not(layer, to):
            return Keep(reason)
        if (channels or to in PER_CHANNEL) and len(widths) != 1:
            return Keep("it pools maps of different channels" if widths else "no run of the net shows its channels")
        width = next(iter(widths), 0)
        return made(width, _windows(layer), -_price(layer, width))

    kinds = (*LOCAL, *GLOBAL, nn.Conv2d) if strided else (*LOCAL, *GLOBAL)
    outcome = replace(model, kinds, decide, skip, lambda _, new: prices[new])
    if to == "conv" and outcome.changed:
        keep_what_was_computed(outcome.model)  # each new convolution ends in an activation, and another may follow
    outcome.changed = [
        dataclasses.replace(change, after=_say(outcome.model.get_submodule(change.name))) for change in outcome.changed
    ]
    outcome.kept = [(name, reason) for name, reason in outcome.kept if reason != NO_STRIDE]
    outcome.kept.extend(_functions(model))
    return outcome


def _say(new: nn.Module) -> str:
    """A layer in one line; a chain of them one after another."""
    return ", ".join(brief(part) for part in (new if isinstance(new, nn.Sequential) else [new]))


def _why_not(layer: Any, to: str) -> str:
    """Why this pool stays; "" for one that can go."""
    if isinstance(layer, GLOBAL):
        return "a global pool: it gives the map the size that the classifier takes"
    if min(pair(layer.kernel_size)) >= WHOLE_MAP:
        return "a pool over so many pixels stands for a global one"
    if getattr(layer, "return_indices", False):
        return "it gives indices too"
    if max(pair(getattr(layer, "dilation", 1))) > 1:
        return "the pixels of its windows lie apart"
    if getattr(layer, "divisor_override", None):
        return "it divides by a number of its own"
    if _kind(layer) == to:
        return f"it is {to} already"
    if to == "conv" and max(pair(_windows(layer).stride)) == 1:
        return "it does not make the map smaller"
    return ""


def _kind(layer: nn.Module) -> str:
    """The `to` that gives a layer of this kind; "" for none."""
    if isinstance(layer, MixedPool2d):
        return "drawn" if layer.share == "drawn" else "mixed"
    return next((to for to, kind in KINDS.items() if type(layer) is kind), "")


def _windows(layer: Any) -> Pool2d:
    """Where a pool looks."""
    return Pool2d(layer.kernel_size, layer.stride, getattr(layer, "padding", 0), layer.ceil_mode)


def _pool(to: str, channels: int, windows: Pool2d, *, normed: bool) -> nn.Module:
    """A fresh pool that looks into the same windows."""
    kernel, stride, padding, ceil_mode = windows.kernel_size, windows.stride, windows.padding, windows.ceil_mode
    if to == "conv":
        return _convolution(channels, windows, normed=normed)
    if to == "max":
        return nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil_mode)
    if to == "mean":
        return nn.AvgPool2d(kernel, stride, padding, ceil_mode, count_include_pad=False)
    if to == "drawn":
        return MixedPool2d(kernel, stride, padding, ceil_mode, share="drawn")
    kind = KINDS[to]
    return kind(channels, kernel, stride, padding, ceil_mode) if to in WITH_CHANNELS else kind(kernel, stride, padding, ceil_mode)


def _convolution(channels: int, windows: Pool2d, *, normed: bool) -> nn.Sequential:
    """A convolution that looks into the same windows, batch norm where the net has it, and a ReLU."""
    conv = nn.Conv2d(channels, channels, windows.kernel_size, windows.stride, windows.padding, bias=not normed)
    nn.init.normal_(conv.weight, std=math.sqrt(2 / conv.weight[0].numel()))
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    layers: list[nn.Module] = [conv, nn.BatchNorm2d(channels)] if normed else [conv]
    below, right = windows.beyond()
    if below or right:
        layers.insert(0, nn.ZeroPad2d((0, right, 0, below)))
    return nn.Sequential(*layers, nn.ReLU(inplace=True))


def _why_stays(model: nn.Module, name: str, conv: nn.Conv2d, to: str) -> str | None:
    """Why this convolution keeps its stride; None for one that can lose it."""
    if max(conv.stride) == 1:
        return NO_STRIDE
    if to == "conv":
        return "it is a convolution with a stride already"
    if holder := owner(model, name):
        return f"part of a {holder}"
    if reason := unusual(conv):
        return reason
    sides = zip(cast(tuple[int, int], conv.padding), conv.dilation, conv.kernel_size, strict=True)
    if any(2 * pad != gap * (kernel - 1) for pad, gap, kernel in sides):
        return "without its stride it would give a map of another size than its input's"
    return None


def _without_stride(conv: nn.Conv2d, made: Callable[..., nn.Module]) -> nn.Module:
    """The convolution at stride 1 with a pool of its stride behind it, or before a 1x1 convolution, which then costs no more."""
    dense = copy.deepcopy(conv)
    dense.stride = (1, 1)
    down, right = conv.stride
    windows = Pool2d((down, right), ceil_mode=True)  # as many as the stride had places, the last one perhaps cut off
    if max(conv.kernel_size) == 1:
        return made(conv.in_channels, windows, Price(), lambda pool: nn.Sequential(pool, dense))
    macs = conv.weight.numel()
    return made(conv.out_channels, windows, Price(input=macs, output=-macs), lambda pool: nn.Sequential(dense, pool))


def _price(pool: nn.Module, channels: int) -> Price:
    """What a pool costs on a map of so many channels: a gate multiplies every pixel of every window."""
    gate = Price(output=channels * pool.area) if isinstance(pool, GatedPool2d) else Price()
    return price_of(pool) + gate


def _functions(model: nn.Module) -> list[tuple[str, str]]:
    """The pools that a forward calls as functions: (module whose forward it is, reason)."""
    with evaluating(model):
        graph = trace(model)
    if graph is None:
        return [("", "the forward cannot be traced: pools called as functions in it, if any, stay")]
    found = []
    for node in graph.nodes:
        name = str(getattr(node.target, "__name__", node.target))
        if node.op == "call_function" and name in FUNCTIONS:
            stack = [(str(path), kind) for path, kind in (node.meta.get("nn_module_stack") or {}).values()]
            if not any(kind.__name__ in layers or issubclass(kind, Pool2d) for _, kind in stack):  # no part of another layer
                place = stack[-1][0] if stack else ""
                found.append((place, f"{name} is called as a function in its forward; write it as a module to swap it"))
    return list(dict.fromkeys(found))
