"""Big-little branches: the blocks of a stage see maps of half the size, beside a thin branch that keeps the details.

    y = fusion(little(x) + up(big(pool(x))))

    big     the units of a stage but the last, as they are: a quarter of their MACs
    little  1x1 to the stage's channels / alpha, max(1, units // beta) times 3x3, 1x1 to the stage's channels
    fusion  the last unit of the stage, as it is

Source: Chen et al. 2018, Big-little net, https://arxiv.org/abs/1807.03848. Card: big_little.md
Differs: the little branch is of plain convolutions, whatever the units are made of; the map is halved by 2x2 means, not by the
stride of the first block; the sum is not rectified.
"""

import copy
from collections import OrderedDict
from collections.abc import Collection
from itertools import pairwise

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from ..errors import UsageError
from ..nn import BigLittle
from ..nn.non_local import NonLocal2d
from ._maps import _without_data
from ._registry import edits
from ._trace import FORWARD_ERRORS
from ._units import Unit, units
from .price import Price
from .surgery import Change, Outcome, brief, check_skip, count_params, is_skipped, named_slots

PROBES = ((64, 65), (66, 67), (70, 91))  # odd and even sides that any kernel fits into


@edits(exact=False, needs=(), reduces=("macs",), paper="arxiv:1807.03848", first=True)
def big_little(model: nn.Module, *, alpha: int = 4, beta: int = 4, skip: Collection[str] = ()) -> Outcome:
    """Run all units of each stage but the last one on maps of half the size, and a new thin branch beside them.

    A stage is a run of units (blocks, or convolutions with their norm and activation) in one nn.Sequential between two
    changes of the map's size. The units keep their weights; the little branch has fresh ones. Kept: stages of one unit,
    stages whose little branch would cost more than the big one saves, and units that do not keep to H / stride. `skip` holds
    names of units, or of modules, to leave alone.

    Raises: UsageError when `alpha` or `beta` is below 1.
    """
    if min(alpha, beta) < 1:
        raise UsageError(f"big_little: alpha and beta are whole numbers of at least 1, got alpha={alpha} and beta={beta}")
    check_skip(model, skip)
    new = copy.deepcopy(model)
    outcome = Outcome(new)
    shadow = _without_data(model).eval()
    places: dict[int, int] = {}
    for _, _, _, module in named_slots(model):
        places[id(module)] = places.get(id(module), 0) + 1
    found = units(model)
    free = []
    for unit in found:
        touched = any(is_skipped(name, skip) or any(entry.startswith(f"{name}.") for entry in skip) for name in unit.names)
        if touched:
            outcome.kept.append((unit.names[0], "named in skip"))
        else:
            free.append(unit)
    for stage in _stages(free):
        run, fusion = stage[:-1], stage[-1]
        reason = _why_not(model, shadow, run, places, alpha, beta)
        if reason is None:
            outcome.changed += _split(new, run, alpha, beta)
            outcome.kept.append((fusion.names[0], "it fuses the branches before it"))
        else:
            outcome.kept += [(unit.names[0], reason) for unit in stage]
    if not found:
        outcome.kept.append(("", "there is no chain of blocks or convolutions in it"))
    outcome.params = (count_params(model), count_params(new))
    return outcome


def _stages(found: list[Unit]) -> list[list[Unit]]:
    """Units that follow each other in one nn.Sequential without a change of the map's size between them."""
    stages = [found[:1]] if found else []
    for before, unit in pairwise(found):
        joined = (unit.parent, unit.stage, unit.first) == (before.parent, before.stage, before.last + 1)
        if joined:
            stages[-1].append(unit)
        else:
            stages.append([unit])
    return stages


def _children(model: nn.Module, run: list[Unit]) -> list[tuple[str, nn.Module]]:
    """The children of a nn.Sequential that some units are: (key, module)."""
    items = list(model.get_submodule(run[0].parent)._modules.items())[run[0].first : run[-1].last + 1]
    return [(key, child) for key, child in items if child is not None]


def _why_not(model: nn.Module, shadow: nn.Module, run: list[Unit], places: dict[int, int], alpha: int, beta: int) -> str | None:
    """Why the units of a stage stay as they are, or None."""
    if not run:
        return "the only unit of its stage: the branches need one behind them to fuse them"
    children = _children(model, run)
    inside = [module for _, child in children for module in child.modules()]
    convs = [module for module in inside if isinstance(module, _ConvNd)]
    if any(not isinstance(conv, nn.Conv2d) for conv in convs):
        return "its maps do not have two dimensions"
    if any(isinstance(module, NonLocal2d) for module in inside):
        return "its attention compares all pixels with each other, at the size it was made for"
    if any(places.get(id(module), 1) > 1 for _, child in children for module in (child, *child.children())):
        return "a module of it hangs in two places"
    stride = _stride(run)
    part = nn.Sequential(*(child for _, child in _children(shadow, run)))
    if not _keeps_to_stride(part, run[0].in_channels, stride):
        return f"its map is not the {stride}th part of its input's" if stride > 1 else "its map is not as large as its input's"
    little = sum(conv.weight.numel() for conv in _little(run, alpha, beta, normed=True) if isinstance(conv, nn.Conv2d))
    big = sum(conv.weight.numel() for conv in convs)
    if 4 * little >= 3 * big:
        return "the little branch would cost more than the big one saves"
    return None


def _stride(run: list[Unit]) -> int:
    """The stride of the units together."""
    stride = 1
    for unit in run:
        stride *= unit.stride
    return stride


@torch.no_grad()
def _keeps_to_stride(part: nn.Module, channels: int, stride: int) -> bool:
    """Whether a part without data gives maps of ceil(H / stride) x ceil(W / stride), as the little branch does."""
    like = next(part.parameters(), torch.empty(0, device="meta"))
    for height, width in PROBES:
        try:
            y = part(torch.empty(2, channels, height, width, device="meta", dtype=like.dtype))
        except FORWARD_ERRORS:
            return False
        if tuple(y.shape[2:]) != (-(-height // stride), -(-width // stride)):
            return False
    return True


def _little(run: list[Unit], alpha: int, beta: int, *, normed: bool) -> nn.Sequential:
    """The thin branch: convolutions with batch norm, or with bias where the net has none, and ReLU between them."""
    into, out = run[0].in_channels, run[-1].out_channels
    thin = max(1, out // alpha)
    steps: list[nn.Module] = []

    def add(source: int, target: int, kernel: int, stride: int = 1) -> None:
        steps.append(nn.Conv2d(source, target, kernel, stride=stride, padding=kernel // 2, bias=not normed))
        if normed:
            steps.append(nn.BatchNorm2d(target))

    add(into, thin, 1)
    for i in range(max(1, len(run) // beta)):
        steps.append(nn.ReLU())
        add(thin, thin, 3, _stride(run) if i == 0 else 1)
    steps.append(nn.ReLU())
    add(thin, out, 1)
    convs = [step for step in steps if isinstance(step, nn.Conv2d)]
    for conv in convs:
        nn.init.kaiming_normal_(conv.weight, nonlinearity="linear" if conv is convs[-1] else "relu")
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)
    return nn.Sequential(*steps)


def _split(new: nn.Module, run: list[Unit], alpha: int, beta: int) -> list[Change]:
    """Put the branches in the place of the first child, in place, and nothing in that of the others; what that changes."""
    parent = new.get_submodule(run[0].parent)
    children = _children(new, run)
    prefix = f"{run[0].parent}.".lstrip(".")
    changes: dict[str, Change] = {}
    for key, child in children:
        for inner, module in child.named_modules(prefix=f"{prefix}{key}"):
            if isinstance(module, nn.Conv2d):
                weights = module.weight.numel()
                saved = Price(output=-weights, halved=weights)
                changes[inner] = Change(inner, brief(module), "the same, on a map of half the height and width", saved)
    like = next(parameter for _, child in children for parameter in child.parameters())
    normed = any(isinstance(module, _BatchNorm) for _, child in children for module in child.modules())
    little = _little(run, alpha, beta, normed=normed).to(like).train(parent.training)
    pool = nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)
    big = nn.Sequential(OrderedDict([("pool", pool), *children]))
    big.training = pool.training = parent.training
    branches = BigLittle(OrderedDict(big=big, little=little))
    branches.training = parent.training
    entry, *rest = [layer.weight.numel() for layer in little if isinstance(layer, nn.Conv2d)]
    params = sum(parameter.numel() for parameter in little.parameters())
    ends = {f"{prefix}{children[0][0]}": Price(params=params, input=entry)}
    last = f"{prefix}{children[-1][0]}"
    ends[last] = ends.get(last, Price()) + Price(output=sum(rest))
    for name, price in ends.items():
        old = changes.get(name)
        whole = price + (old.price if old and old.price else Price())
        changes[name] = Change(name, brief(new.get_submodule(name)), "in the big branch of a BigLittle", whole)
    parent._modules[children[0][0]] = branches
    for key, _ in children[1:]:
        parent._modules[key] = nn.Identity().train(parent.training)
    return list(changes.values())
