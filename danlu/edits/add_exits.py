"""Side classifiers that let easy images leave early: BranchyNet.

    loss   = sum_e w_e L_e / sum_e w_e                            over all exits, the early ones weighing most
    answer = logits of the first exit whose entropy is below its threshold

The edit adds the exits; `fit` trains them together with the net, `danlu.deploy.calibrate_exits` sets the thresholds on
validation images, and `danlu.deploy.export_exits` writes the file that really stops.

Source: Teerapittayanon et al. 2016, BranchyNet, https://arxiv.org/abs/1709.01686. Card: add_exits.md
"""

import copy
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from ..errors import UsageError, unknown
from ..nn.early_exit import EarlyExit, ExitHead, ExitPoint
from ..nn.side_classified import SideClassified
from ._check import check_choice
from ._maps import Probe
from ._registry import edits
from ._trace import FORWARD_ERRORS, first_tensor
from .price import Price
from .recipe import parse
from .surgery import Change, Outcome, brief, count_params, set_module

Head = Literal["linear", "conv"]
Shape = tuple[int, ...]
INPUT = "input"  # the place before the net: an exit there sees the image itself
LAST_WEIGHT = 0.3  # of the last exit beside 1.0 for the early ones: the paper's
SIZES = (224, 32, 28, 64, 96, 128, 256, 299, 384, 512)  # pixels, tried in turn on a net that does not say what it takes
SMALLEST, LARGEST = 4, 320
MOST_BY_VALUE = 4  # sizes tried with real weights, which takes its time


@edits(exact=False, needs=(), reduces=("latency",), paper="arxiv:1709.01686", first=True)
def add_exits(
    model: nn.Module,
    *,
    at: int | Collection[str] = 1,
    threshold: float | Collection[float] = 0.1,
    weights: Collection[float] | None = None,
    head: Head | Collection[Head] = "linear",
    channels: int | Collection[int] = 16,
    kernel: int = 3,
    stride: int = 1,
    grid: int = 4,
) -> Outcome:
    """Add side classifiers behind modules of the net; its own weights stay, the heads are fresh.

    at         names of modules, "input" for the image itself; or how many exits, spread by equal shares of the MACs
    threshold  an exit answers when its entropy (0 to 1, as a share of log K) is below; one for all, or one each
    weights    of the exits in the loss, the last one's included; None is 1 for each early exit and 0.3 for the last
    head       "linear": a grid of maxima and a linear layer; "conv": convolutions before them; one for all, or one each in
               running order. `channels` are their maps, one number or several; the first has `kernel`, those behind it 3x3
               at most, all have `stride`. `grid` is the side of the grid, smaller where the map is. Vectors: a linear layer

    The result is `danlu.nn.EarlyExit`: [B, exits, K] in training mode, the answer [B, K] in eval mode.

    Raises: UsageError for a module that does not exist, that a forward does not go through exactly once, or that gives neither
    a map nor a vector; for more exits than places; for a net that has exits.
    """
    widths = (channels,) if isinstance(channels, int) else tuple(channels)
    _check(at, head, channels=min(widths, default=0), kernel=kernel, stride=stride, grid=grid)
    if any(isinstance(module, EarlyExit) for module in model.modules()):
        raise UsageError("add_exits: this net has exits already; name them all in one step")
    if any(isinstance(module, SideClassified) for module in model.modules()):
        raise UsageError("add_exits: this net has side classifiers, whose answers in training mode would mix with the exits'")
    walk = _walk(model)
    places = spread(walk, model, at) if isinstance(at, int) else _named(walk, model, at)
    thresholds = _one_each("threshold", threshold, len(places), above=False)
    shares = _one_each("weights", weights or [1.0] * len(places) + [LAST_WEIGHT], len(places) + 1, above=True)
    heads = [head] * len(places) if isinstance(head, str) else list(head)
    if len(heads) != len(places):
        raise UsageError(f"add_exits: head takes {len(places)} text(s) here, one for each of its exits, got {len(heads)}")
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    new = copy.deepcopy(model)
    olds = [nn.Identity() if place == INPUT else new.get_submodule(place) for place in places]
    points, changed = [], []
    for place, old, kind in zip(places, olds, heads, strict=True):
        shape, _ = walk.calls[place][0]
        side = _head(shape, walk.classes, widths if kind == "conv" else (), kernel, stride, grid)
        side = side.to(device=like.device, dtype=like.dtype)
        points.append(ExitPoint(old, side.train(model.training)))
        points[-1].training = old.training if place != INPUT else model.training
        before = "the image" if place == INPUT else brief(old)
        said = f"exit {len(points)} on {'x'.join(map(str, shape))}: {brief(side)}"
        price = _price(side, on_input=place == INPUT)
        changed.append(Change("" if place == INPUT else place, before, f"{before}, {said}", price))
        if place != INPUT:
            set_module(new, next(name for name, module in new.named_modules() if module is old), points[-1])
    net = new
    if INPUT in places:
        net = nn.Sequential(points[places.index(INPUT)], new)
        net.training = model.training
    names = {module: name for name, module in net.named_modules()}
    result = EarlyExit(net, [names[point] for point in points], thresholds, shares).to(like.device)
    result.training = model.training
    return Outcome(result, changed, [], (count_params(model), count_params(result)))


def _check(at: int | Collection[str], head: str | Collection[str], **numbers: int) -> None:
    """Raise UsageError for options that no net could take."""
    for kind in (head,) if isinstance(head, str) else head:
        check_choice("add_exits: head", kind, Head)
    for name, value in numbers.items():
        if value < 1:
            raise UsageError(f"add_exits: {name} must be at least 1, got {value}")
    if isinstance(at, str | bool) or (at < 1 if isinstance(at, int) else not at):
        raise UsageError(f"add_exits: at is a number of exits from 1, or a list of module names, got {at!r}")


def _one_each(what: str, given: float | Collection[float], count: int, above: bool) -> list[float]:
    """As many numbers as there are exits. Raises UsageError for another count, or for a number that cannot be."""
    numbers = [float(given)] * count if isinstance(given, int | float) else [float(number) for number in given]
    if len(numbers) != count:
        raise UsageError(f"add_exits: {what} takes {count} number(s) here, one for each of its exits, got {len(numbers)}")
    for number in numbers:
        if not math.isfinite(number) or number < 0 or (above and number == 0):
            raise UsageError(f"add_exits: {what} must be {'above' if above else 'from'} 0, got {number}")
    return numbers


def _head(shape: Shape, classes: int, widths: Sequence[int], kernel: int, stride: int, grid: int) -> nn.Module:
    """The classifier for a map [C, H, W] or a vector [F]; its grid is no larger than what its convolutions leave."""
    if len(shape) == 1:
        return nn.Linear(shape[0], classes)
    with torch.device("meta"):
        head = ExitHead(shape[0], classes, channels=widths, kernel=kernel, stride=stride, grid=1)
        x = torch.empty(1, *shape)
        for module in head.children():
            if isinstance(module, nn.Conv2d):
                x = module(x)
    return ExitHead(shape[0], classes, channels=widths, kernel=kernel, stride=stride, grid=min(grid, *x.shape[2:]))


def _price(side: nn.Module, *, on_input: bool) -> Price:
    """What a head adds: convolutions, each on the map that the strides up to it leave, and a linear layer once an image."""
    price, area = Price(params=sum(p.numel() for p in side.parameters())), Fraction(1)
    for layer in side.modules():
        if isinstance(layer, nn.Conv2d):
            area /= layer.stride[0] * layer.stride[1]
            price += Price(input=area * layer.weight.numel()) if on_input else Price(output=area * layer.weight.numel())
        elif isinstance(layer, nn.Linear):
            price += Price(fixed=layer.weight.numel())
    return price


@dataclass
class Walk:
    """One forward: for each module by name the shapes [C, H, W] or [F] it gave, and the MACs spent by the end of each call."""

    calls: dict[str, list[tuple[Shape, int]]] = field(default_factory=dict)
    macs: int = 0
    classes: int = 0


def spread(walk: Walk, model: nn.Module, count: int) -> list[str]:
    """The places that come nearest to equal shares of the MACs: i / (count + 1) of them spent, for i = 1..count.

    Only modules that every image goes through, one after another: children of the net, and of nn.Sequential in it, that give a
    map larger than one pixel. Of modules with nothing to compute between them the last: behind the pool, not before it.
    Raises UsageError for more exits than there are such places.
    """
    at: dict[int, str] = {}
    for name, calls in walk.calls.items():
        shape, spent = calls[0]
        if len(calls) == 1 and 0 < spent < walk.macs and len(shape) == 3 and max(shape[1:]) > 1 and _on_the_trunk(model, name):
            at[spent] = name  # in the order in which they end: the last one stays
    if count > len(at):
        places = ", ".join(at.values()) or "none"
        raise UsageError(f"add_exits: at={count} is more exits than this net has places for ({places})")
    chosen: list[int] = []
    for i in range(1, count + 1):
        free = [spent for spent in at if spent not in chosen]
        chosen.append(min(free, key=lambda spent: abs(spent - walk.macs * i / (count + 1))))
    return [at[spent] for spent in sorted(chosen)]


def _on_the_trunk(model: nn.Module, name: str) -> bool:
    """Whether a module hangs in the net itself, or in a chain of nn.Sequential in it."""
    parents = name.split(".")[:-1]
    return all(isinstance(model.get_submodule(".".join(parents[: i + 1])), nn.Sequential) for i in range(len(parents)))


def _named(walk: Walk, model: nn.Module, at: Collection[str]) -> list[str]:
    """The named places in running order. Raises UsageError for a place that cannot have an exit."""
    known = {name: module for name, module in model.named_modules(remove_duplicate=False) if name}
    first: dict[nn.Module, str] = {module: name for name, module in reversed(list(known.items()))}
    places = []
    for name in at:
        if name != INPUT and name not in known:
            raise unknown("module in add_exits(at=...)", str(name), [INPUT, *known])
        place = INPUT if name == INPUT else first[known[name]]
        calls = walk.calls.get(place, [])
        if len(calls) != 1:
            times = "twice" if len(calls) == 2 else f"{len(calls)} times"
            said = f"calls {name} {times}" if calls else f"does not call {name}, or not with a map or a vector"
            raise UsageError(f"add_exits: the forward of this net {said}; an exit needs a module it calls once")
        if place in places:
            raise UsageError(f"add_exits: at names {name} twice")
        places.append(place)
    return sorted(places, key=list(walk.calls).index)


def _walk(model: nn.Module) -> Walk:
    """Run the net once on nothing, at the first size that it takes; on the CPU where its code needs values."""
    channels = _channels(model)
    on_meta, sizes = Probe(model, channels).model, _sizes(model)
    errors: list[str] = []
    for size in sizes:
        walk = _run(on_meta, channels, size, errors)
        if walk is not None:
            return walk
    if not next(iter(model.parameters()), torch.empty(0)).is_meta:
        on_cpu = copy.deepcopy(model).cpu().eval()
        for size in sizes[:MOST_BY_VALUE]:
            walk = _run(on_cpu, channels, size, errors)
            if walk is not None:
                return walk
    raise UsageError(f"add_exits: this net runs on no size from {SMALLEST} to {LARGEST} pixels: {errors[0]}")


def _sizes(model: nn.Module) -> list[tuple[int, int]]:
    """What the zoo says of the net comes first, then usual sizes, then all. The first edits of its recipe may have changed it."""
    from ..zoo import models

    recipe = getattr(model, "danlu_recipe", None)
    base = parse(recipe)[0].name if recipe else ""
    stated = [tuple(models[base].facts["input"][1:])] if base in models else []
    every = dict.fromkeys([*stated, *((n, n) for n in SIZES), *((n, n) for n in range(SMALLEST, LARGEST + 1))])
    return [(h, w) for h, w in every]


def _channels(model: nn.Module) -> int:
    known = getattr(model, "danlu_in_channels", None)
    if isinstance(known, int):
        return known
    conv = next((module for module in model.modules() if isinstance(module, _ConvNd)), None)
    return conv.in_channels if conv is not None else 3


@torch.no_grad()
def _run(net: nn.Module, channels: int, size: tuple[int, int], errors: list[str]) -> Walk | None:
    """One forward of two images; None, and the reason in `errors`, when it fails."""
    like = next(net.parameters(), torch.empty(0))
    x = torch.zeros(2, channels, *size, device=like.device, dtype=like.dtype)
    walk = Walk({INPUT: [((channels, *size), 0)]})
    hooks = [module.register_forward_hook(_recorder(walk, name)) for name, module in net.named_modules() if name]
    try:
        y = net(x)
    except FORWARD_ERRORS as error:
        errors.append((str(error).strip() or type(error).__name__).splitlines()[0])
        return None
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(y, Tensor) or y.dim() != 2 or len(y) != 2:
        got = list(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise UsageError(f"add_exits is for classifiers, which give [2, K] logits for 2 images; this net gives {got}")
    walk.classes = y.shape[1]
    return walk


def _recorder(walk: Walk, name: str) -> Callable[..., None]:
    def record(module: nn.Module, inputs: object, output: object) -> None:
        y = first_tensor(output)
        if y is None or len(y) != 2:
            return
        if isinstance(module, _ConvNd | nn.Linear):  # for a transposed convolution the input counts: near enough for shares
            walk.macs += y[0].numel() * module.weight[0].numel()
        if isinstance(output, Tensor) and y.dim() in (2, 4):
            walk.calls.setdefault(name, []).append((tuple(y.shape[1:]), walk.macs))

    return record
