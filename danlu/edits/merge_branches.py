"""Merge the 1x1 and pool branches of inception blocks into the 3x3 and 5x5 branches beside them.

    [p(x); c3(r3(x)); c5(r5(x)); q(pool(x))]     becomes     [c3'(r3'(x)); c5'(r5'(x))]

c3' gives the channels of p and c3, c5' those of c5 and q, in the order they had; r3' and r5' have `ratio` times the channels.

Source: Li, Wang and Kong 2018, DeepRebirth, https://arxiv.org/abs/1708.04728 (branch merging).
Differs: the new layers start from a selection of the old 1x1 filters and a least-squares fit, where the paper starts at random.
Card: merge_branches.md
"""

import copy
from collections import OrderedDict
from collections.abc import Collection
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..nn import Concat
from ._check import check_choice
from ._merge_blocks import Branch, blocks, groups
from ._merge_fit import Pads, Sampler, budget, images, solve, standard, watch
from ._merge_rates import NEW
from ._penalties import without_penalties
from ._registry import edits
from ._trace import evaluating
from .chain import Batches
from .surgery import Change, Outcome, check_skip, count_params, is_skipped, set_module

Init = Literal["least_squares", "copy", "standard"]
ROUND = 8  # channels: a vector register of the processors this is for
MOST_RATIO = 4.0


@edits(
    exact=False,
    needs=("weights", "example", "batches"),
    reduces=("macs", "latency", "memory"),
    paper="arxiv:1708.04728",
    layers=True,
)
def merge_branches(
    model: nn.Module,
    *,
    ratio: float = 0.5,
    init: Init = "least_squares",
    example: Tensor | None = None,
    batches: Batches | None = None,
    skip: Collection[str] = (),
) -> Outcome:
    """Give inception blocks two branches for four; the result needs fine-tuning.

    A block is any module whose forward concatenates branches of its input. A branch that is a 1x1 convolution, or a pool and a
    1x1 convolution, is merged into a host beside it: a 1x1 convolution (the reduction) and a larger one, all at stride 1. Its
    norms are folded in. Branches of another kind stay. `danlu.nn.Concat` takes the place of the block.

    ratio     channels of the new reduction: this share of the old one's, to the nearest multiple of 8 and at least 8
    init      "least_squares" takes those old 1x1 filters, of reduction and guests, from which the block's output can best be
              made, and fits the new larger convolution to that output, on the first 8 `batches` of images, or on `example`;
              "copy" keeps the reduction's largest filters and what they feed, and draws the guests' channels at random;
              "standard" draws everything from N(0, 2 / fan in), as the paper does
    skip      names of blocks to leave alone

    `danlu.edits.rates_of(outcome)` is the paper's training: the new layers alone.

    Raises: UsageError for options out of range, "least_squares" without images, or a net that does not run on them.
    """
    check_choice("init", init, Init)
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 < ratio <= MOST_RATIO:
        raise UsageError(f"ratio is a share of the reduction's channels, above 0 and at most {MOST_RATIO:g}, got {ratio!r}")
    check_skip(model, skip)
    shown = images("merge_branches", model, example, batches) if init == "least_squares" else []
    new = without_penalties(model)
    teacher = copy.deepcopy(new).eval()
    outcome = Outcome(new)
    found, originals = blocks(new), dict(blocks(teacher))
    if not found:
        outcome.kept.append(("", "no branches are concatenated in it: there is no inception block"))
    inside: list[str] = []
    for name, branches in found:
        if is_skipped(name, skip):
            outcome.kept.append((name, "named in skip"))
        elif any(not outer or is_skipped(name, [outer]) for outer in inside):
            continue
        elif isinstance(branches, str):
            outcome.kept.append((name, branches))
        elif all(len(group) == 1 for group in groups(branches)):
            outcome.kept.append((name, _why_not(branches)))
        else:
            inside.append(name)
            was = originals[name]
            if not isinstance(was, str):
                _merge(name, branches, was, ratio, init, outcome, teacher, shown)
    outcome.params = (count_params(model), count_params(outcome.model))
    return outcome


def _why_not(branches: list[Branch]) -> str:
    kinds = [branch.kind for branch in branches]
    if "host" not in kinds:
        return "no branch of it is a 1x1 convolution and a larger one at stride 1, into which others could be merged"
    if not {"point", "pool"} & set(kinds):
        return "no branch of it is a 1x1 convolution, or a pool and a 1x1 convolution, at stride 1"
    return "its 1x1 and pool branches do not lie beside a branch with a larger kernel and the same activation"


def _merge(
    name: str, branches: list[Branch], originals: list[Branch], ratio: float, init: str, outcome: Outcome, teacher: nn.Module,
    shown: list[Tensor],
) -> None:  # fmt: skip
    """Replace one block of the outcome's model."""
    block = outcome.model.get_submodule(name)
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    at = 0
    for group in groups(branches):
        was = originals[at : at + len(group)]
        at += len(group)
        host = next((branch for branch in group if branch.kind == "host"), group[0])
        place = f"{name}.{host.name}" if name else host.name
        if len(group) == 1:
            parts[_free(host.name, parts)] = _whole(host, block)
            continue
        made, error = _hosted(group, was, ratio, init, (outcome.model, block), (teacher, teacher.get_submodule(name)), shown)
        parts[_free(host.name, parts)] = made
        widths = [layer.out_channels for layer in made if isinstance(layer, nn.Conv2d)]
        kernel = host.stages[1].conv.kernel_size[0]
        fitted = f", relative error {error:.2f}" if error is not None else ""
        before = " beside ".join(_brief(branch) for branch in group)
        outcome.changed.append(Change(place, before, f"{NEW}1x1 to {widths[0]} -> {kernel}x{kernel} to {widths[1]}{fitted}"))
        for branch in group:
            if branch is not host:
                guest = f"{name}.{branch.name}" if name else branch.name
                outcome.changed.append(Change(guest, _brief(branch), f"merged into {place}"))
    merged = Concat(parts)
    merged.train(block.training)
    if name:
        set_module(outcome.model, name, merged)
    else:
        outcome.model = merged


def _free(name: str, taken: OrderedDict[str, Any]) -> str:
    return name if name not in taken else f"{name}_{len(taken)}"


def _whole(branch: Branch, block: nn.Module) -> nn.Module:
    """A branch that stays: the child of the block that computes it, or its layers in a row."""
    child = block.get_submodule(branch.name) if branch.name in dict(block.named_children()) else None
    layers = [step for step in branch.steps if isinstance(step, nn.Module)]
    if child is not None and {m for m in child.modules() if not m._modules} == {m for m in layers if not m._modules}:
        return child
    return nn.Sequential(*layers)


def _brief(branch: Branch) -> str:
    sizes = [f"{s.conv.kernel_size[0]}x{s.conv.kernel_size[1]} to {s.conv.out_channels}" for s in branch.stages]
    return " -> ".join((["pool"] if branch.pool else []) + sizes)


def _hosted(
    group: list[Branch], originals: list[Branch], ratio: float, init: str, now: tuple[nn.Module, nn.Module],
    then: tuple[nn.Module, nn.Module], shown: list[Tensor],
) -> tuple[nn.Sequential, float | None]:  # fmt: skip
    """The new branch of a host and its guests, and the relative error of its fit. `now`, `then`: a net and its block."""
    host = next(branch for branch in group if branch.kind == "host")
    reduction, large = host.stages[0].folded(), host.stages[1].folded()
    points = [branch.stages[0].folded() for branch in group if branch is not host]
    width = max(ROUND, ROUND * round(ratio * reduction.out_channels / ROUND))
    weights = torch.cat([conv.weight for conv in (reduction, *points)])
    biases = torch.cat([conv.get_parameter("bias") for conv in (reduction, *points)])
    like: dict[str, Any] = {"device": weights.device, "dtype": weights.dtype}
    between, after = host.stages[0].activation, host.stages[1].activation
    kernel, count = large.kernel_size[0], sum(branch.channels for branch in group)
    use = large.weight.flatten(2).norm(dim=(0, 2))  # what the larger convolution makes of each channel of the reduction
    width = min(width, len(weights) if init == "least_squares" else width)
    if init == "least_squares":
        use = torch.cat([use, use.new_ones(len(weights) - len(use))])  # a guest's channel is an output itself
        chosen = _select(weights, biases, use, between, width, *now, shown)
    else:
        chosen = use.mul(reduction.weight.flatten(1).norm(dim=1)).argsort(descending=True)[:width].sort().values
    first = nn.Conv2d(reduction.in_channels, width, 1, **like)
    second = nn.Conv2d(width, count, kernel, padding=kernel // 2, **like)
    standard([first, second])
    if init != "standard":
        with torch.no_grad():
            first.weight[: len(chosen)] = weights[chosen]
            first.get_parameter("bias")[: len(chosen)] = biases[chosen]
            _transplant(second, group, large, chosen, zero=init == "least_squares")
    for parameter in (*first.parameters(), *second.parameters()):
        parameter.requires_grad_(host.stages[1].conv.weight.requires_grad)
    error = None
    if init == "least_squares":
        error = _fit(first, between, second, after, originals, now, then, shown)
    layers = [first, copy.deepcopy(between), second, copy.deepcopy(after)]
    return nn.Sequential(*(layer for layer in layers if layer is not None)), error


def _transplant(second: nn.Conv2d, group: list[Branch], large: nn.Conv2d, chosen: Tensor, *, zero: bool) -> None:
    """The old filters on the channels that are still there; a guest's channel that is there is passed on by a centre tap.

    With `zero`, nothing else is left in the filters.
    """
    into = large.in_channels
    at, offset = 0, into
    for branch in group:
        rows = slice(at, at + branch.channels)
        at += branch.channels
        if branch.kind == "host":
            second.weight[rows] = 0
            kept = chosen < into
            second.weight[rows, : len(chosen)][:, kept] = large.weight[:, chosen[kept]]
            second.get_parameter("bias")[rows] = large.get_parameter("bias")
            continue
        if zero:
            second.weight[rows] = 0
            middle = second.kernel_size[0] // 2
            for column, candidate in enumerate(chosen.tolist()):
                if offset <= candidate < offset + branch.channels:
                    second.weight[rows.start + candidate - offset, column, middle, middle] = 1
        offset += branch.channels


@torch.no_grad()
def _select(
    weights: Tensor, biases: Tensor, use: Tensor, between: nn.Module | None, width: int, model: nn.Module, block: nn.Module,
    shown: list[Tensor],
) -> Tensor:  # fmt: skip
    """The `width` 1x1 filters, in order, whose outputs explain most of all of them, weighted by their use.

    Greedy column subset selection: the next filter is the one that takes most off what the chosen ones leave unexplained.
    Source: Farahat et al. 2013, https://arxiv.org/abs/1312.6838 (the same criterion, on the matrix of products).
    """
    sampler = Sampler(max(4096, 8 * len(weights)), len(shown))
    with evaluating(model):
        rows = torch.cat(watch(model, block, shown, lambda x, _: sampler.rows(x)))
    features = torch.addmm(biases, rows, weights.flatten(1).T)
    features = (between(features) if between is not None else features).double() * use.double()
    features -= features.mean(dim=0)
    left = features.T @ features
    floor = 1e-9 * left.diagonal().max().clamp(min=1e-30)
    chosen: list[int] = []
    for _ in range(width):
        power = left.diagonal()
        gain = torch.where(power > floor, left.square().sum(dim=0) / power.clamp(min=floor), -1.0)
        gain[chosen] = -2.0
        best = int(gain.argmax())
        chosen.append(best)
        if power[best] > floor:
            column = left[:, best].clone()
            left -= torch.outer(column, column) / column[best]
    return torch.tensor(sorted(chosen), device=weights.device)


@torch.no_grad()
def _fit(
    first: nn.Conv2d, between: nn.Module | None, second: nn.Conv2d, after: nn.Module | None, originals: list[Branch],
    now: tuple[nn.Module, nn.Module], then: tuple[nn.Module, nn.Module], shown: list[Tensor],
) -> float:  # fmt: skip
    """Fit the larger convolution to what the group gave in the original net."""
    rectified = isinstance(after, nn.ReLU)

    def wanted(x: Tensor, _: Tensor) -> Tensor:
        outputs = []
        for branch in originals:
            last = branch.stages[-1].activation
            outputs.append(Branch("", [s for s in branch.steps if rectified or last is None or s is not last])(x))
        return wanted_at.rows(torch.cat(outputs, dim=1))

    def patches(x: Tensor, _: Tensor) -> Tensor:
        z = first(x)
        return patches_at.patches(z if between is None else between(z), second, pads)

    side = second.kernel_size[0] // 2
    pads: Pads = (side, side, side, side)
    wanted_at, patches_at = Sampler(budget(second), len(shown)), Sampler(budget(second), len(shown))
    goals = watch(*then, shown, wanted)
    with evaluating(now[0]):
        seen = watch(*now, shown, patches)
    return solve(second, torch.cat(seen), torch.cat(goals), rectified)
