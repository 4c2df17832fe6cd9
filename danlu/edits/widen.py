"""Widen a whole net, or narrow it: every layer gets `factor` times its channels; input and classes stay.

    parameters and MACs: about factor^2 times

Source: Zagoruyko and Komodakis 2016, Wide residual networks, https://arxiv.org/abs/1605.07146; factors below 1: Howard et al.
2017, MobileNets, https://arxiv.org/abs/1704.04861. Card: widen.md
"""

import copy
import math
from collections.abc import Collection
from fractions import Fraction

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils.flop_counter import FlopCounterMode

from ..errors import UsageError
from ._maps import _without_data
from ._registry import edits
from ._resize import NORMS, Resizing, Width, apply, price_on
from ._trace import FORWARD_ERRORS, evaluating, first_tensor, trace
from .add_exits import MOST_BY_VALUE, _channels, _sizes
from .price import Price, predict, price_of
from .recipe import parse
from .surgery import Change, Outcome, brief, check_skip, count_params, is_skipped

MOST = 16.0
LOOK_BACK = 6  # layers before the place where a forward stops
WRITTEN = "a number of channels behind it is written into the forward"


@edits(exact=False, needs=(), reduces=("params", "macs", "latency", "memory", "size"), paper="arxiv:1605.07146", first=True)
def widen(model: nn.Module, *, factor: float, round_to: int = 8, skip: Collection[str] = ()) -> Outcome:
    """Multiply the channels of every layer by `factor`, to the nearest multiple of `round_to`; weights are fresh.

    As the `width` of a zoo net: below 1 no layer gets wider, above 1 none narrower. Channels in groups stay divisible by them,
    depthwise layers follow their input, a single channel stays one. `skip` holds names of layers, or of modules, whose outputs
    keep their number.

    A layer that feeds a number of channels written into the forward (`x.view(-1, 512)`) stays as it is.

    Raises: UsageError unless 0 < factor <= 16 and round_to >= 1; where rounding makes maps differ that are added; for a net
    with more numbers written into it than can be found.
    """
    if isinstance(factor, bool) or not 0 < factor <= MOST:
        raise UsageError(f"factor multiplies channels, above 0 and at most {MOST:g}; got {factor!r}")
    if isinstance(round_to, bool) or round_to < 1:
        raise UsageError(f"round_to is a whole number from 1, got {round_to!r}")
    check_skip(model, skip)
    stay = dict.fromkeys(last_layers(model), "it gives the output of the net")
    stay |= {name: "named in skip" for name, _ in model.named_modules() if is_skipped(name, skip)}
    groups = {m.num_groups for m in model.modules() if isinstance(m, nn.GroupNorm)}
    groups |= {m.groups for m in model.modules() if isinstance(m, _ConvNd) and m.groups != m.in_channels}

    def width(name: str, channels: int) -> int:
        unit = math.lcm(round_to, *(g for g in groups if channels % g == 0))
        return channels if name in stay else times(channels, factor, unit)

    before, x, shape = _at_a_size(model)
    after, error = _attempt(model, width, x, shape)
    while error is not None:
        # A number written into the forward: of the last few layers, the one that has to stay lets the run get further.
        tried = {}
        for name in [name for name in after.found if name not in stay and _has_width(model, name)][-LOOK_BACK:]:
            stay[name] = WRITTEN
            tried[name] = _attempt(model, width, x, shape)
            del stay[name]
        name = max(tried, key=lambda name: (tried[name][1] is None, len(tried[name][0].found)), default="")
        if not name or (tried[name][1] is not None and len(tried[name][0].found) <= len(after.found)):
            hint = (
                " (rounding may be why: try round_to=1, or a factor that leaves whole numbers)"
                if round_to > 1 or factor % 1
                else ""
            )
            raise UsageError(f"widen: with {factor:g} times the channels the net does not run: {error}{hint}")
        stay[name] = WRITTEN
        after, error = tried[name]
    new = copy.deepcopy(model)
    apply(new, after.found)
    outcome = Outcome(new, params=(count_params(model), count_params(new)))
    for name in after.found:
        old, now = model.get_submodule(name), new.get_submodule(name)
        if brief(old) != brief(now):
            price = price_of(now) - price_of(old)
            if name in after.inputs:
                price = price_on(now, after.inputs[name]) - price_on(old, before.inputs[name])
            outcome.changed.append(Change(name, brief(old), brief(now), price))
        elif isinstance(old, _ConvNd | nn.Linear):
            outcome.kept.append((name, stay.get(name, "its channels stay the same at this factor")))
    _price_own_products(model, outcome, x[:1])
    return outcome


def _attempt(model: nn.Module, width: Width, x: Tensor, shape: torch.Size) -> tuple[Resizing, str | None]:
    """A run with these widths, as far as it gets, and what stands in the way."""
    run = Resizing(net := _copy(model, x), width)
    try:
        y = _answer(net, x)
    except FORWARD_ERRORS as error:
        return run, (str(error).strip() or type(error).__name__).splitlines()[0]
    got = None if y is None else y.shape
    return run, None if got == shape else f"it would give {got and list(got)} in the place of {list(shape)}"


def _price_own_products(model: nn.Module, outcome: Outcome, x: Tensor) -> None:
    """Add what the prices of the layers leave out: products that a forward computes by itself, taken as so much a pixel."""
    macs = []
    for net in (model, outcome.model):
        with FlopCounterMode(display=False) as counter:
            _answer(_copy(net, x), x)
        macs.append(counter.get_total_flops() // 2)
    _, predicted = predict(model, outcome, x.shape[1:])
    rest = macs[1] - macs[0] - predicted
    if rest:
        price = Price(input=Fraction(rest, x.shape[2:].numel()))
        outcome.changed.append(Change("", "products that the forward computes itself", f"{rest:+,} MACs", price))


def _has_width(model: nn.Module, name: str) -> bool:
    """Whether the number of its outputs is a layer's own, not that of its input."""
    return not isinstance(model.get_submodule(name), (*NORMS, nn.PReLU))


def times(channels: int, factor: float, unit: int) -> int:
    """`channels` times `factor`, to the nearest multiple of `unit`; one channel stays one."""
    if channels == 1 or factor == 1:
        return channels
    rounded = max(unit, unit * math.floor(channels * factor / unit + 0.5))
    return min(channels, rounded) if factor < 1 else max(channels, rounded)


def last_layers(model: nn.Module) -> set[str]:
    """The convolutions and linear layers behind which there is no other: their outputs are those of the net.

    Through a depthwise one too: its channels are those of its input.
    """
    with evaluating(model):
        graph = trace(model)
    names = {module: name for name, module in reversed(list(model.named_modules(remove_duplicate=False)))}
    weighted = [module for module in model.modules() if isinstance(module, _ConvNd | nn.Linear)]
    if graph is None:
        return {names[weighted[-1]]} if weighted else set()
    found, seen = set(), set()
    front: list[fx.Node] = [node for node in graph.nodes if node.op == "output"]
    while front:
        node = front.pop()
        if node in seen:
            continue
        seen.add(node)
        module = model.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, _ConvNd | nn.Linear):
            found.add(names[module])
        if not isinstance(module, _ConvNd | nn.Linear) or (isinstance(module, _ConvNd) and module.groups == module.in_channels):
            front.extend(node.all_input_nodes)
    return found


def _at_a_size(model: nn.Module) -> tuple[Resizing, Tensor, torch.Size]:
    """A run of the net as it is, an input for it, and the shape of what it gives; on the CPU where values are needed."""
    channels, sizes = _channels(model), list(dict.fromkeys([*_made_for(model), *_sizes(model)]))
    like = next(model.parameters(), torch.empty(0))
    first, rest = sizes[:MOST_BY_VALUE], sizes[MOST_BY_VALUE:]
    by_value = () if like.is_meta else first  # takes its time
    nets: dict[str, tuple[nn.Module, Resizing]] = {}
    reasons = []
    for device, size in (*(("meta", s) for s in first), *(("cpu", s) for s in by_value), *(("meta", s) for s in rest)):
        x = torch.zeros(2, channels, *size, dtype=like.dtype, device=device)
        if device not in nets:
            net = _copy(model, x)
            nets[device] = net, Resizing(net, None)
        net, run = nets[device]
        try:
            y = _answer(net, x)
        except FORWARD_ERRORS as error:
            reasons.append((str(error).strip() or type(error).__name__).splitlines()[0])
            continue
        if y is not None:
            return run, x, y.shape
    raise UsageError(f"widen: this net runs on no usual size of image: {reasons[0] if reasons else 'it gives no tensor'}")


def _made_for(model: nn.Module) -> list[tuple[int, int]]:
    """The sizes that the recipe of a net names, the last one first."""
    recipe = getattr(model, "danlu_recipe", None)
    named = [step.options["size"] for step in parse(recipe) if "size" in step.options] if recipe else []
    return [(size, size) if isinstance(size, int) else (size[0], size[1]) for size in reversed(named)]


def _copy(model: nn.Module, x: Tensor) -> nn.Module:
    """A copy in eval mode, to run on an input like this one."""
    return (_without_data(model) if x.is_meta else copy.deepcopy(model).cpu()).eval()


@torch.no_grad()
def _answer(net: nn.Module, x: Tensor) -> Tensor | None:
    return first_tensor(net(x))
