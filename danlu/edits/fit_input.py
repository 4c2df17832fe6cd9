"""Fit a classifier to an input size: strides change until its last map is 4 to 8 wide.

A last map too small can no longer tell classes apart; one too large has abstracted too little, and costs more. Nets for
224x224 end in 7x7. The map is what the input size and the strides make of it, so the strides are what must change.

Source: the column "AI初识境", ten pieces of advice for a first project, https://github.com/longpeng2008/yousan.ai: last maps
of 3x3 to 7x7 classify, 9x9 and above lose. Card: fit_input.md
"""

import copy
import math
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from ..errors import UsageError
from ._maps import ADAPTIVE, LOCAL_POOLS, Move, Probe, Size, Step, kernel_of, levels, stride_of, tail_of, with_pool, with_stride
from ._registry import edits
from .surgery import Change, Outcome, brief, count_params

SMALLEST, LARGEST = 4, 8
LOOK = 256  # pixels: large enough that no level of a net is degenerate


@edits(exact=False, needs=(), reduces=("macs", "memory"), paper="https://github.com/longpeng2008/yousan.ai")
def fit_input(model: nn.Module, *, size: int | tuple[int, int], channels: int | None = None) -> Outcome:
    """Change strides until the last map (before global pooling or flattening) is 4 to 8 wide; the narrower side counts.

    Too small: the earliest downsampling level loses its stride, both branches of a residual block together; a pool becomes
    the identity. Too large: the earliest convolution whose kernel covers it gets twice its stride, or an activation before
    it a 2x2 max pool. A Linear behind a flatten gets the width it is given, with fresh weights on the scale of the old
    ones; an adaptive pool that would enlarge the map is set to the map. All other weights keep their shapes and values.

    `size` is H = W or (H, W) in pixels. `channels` of the input are known for zoo nets and nets with convolutions.

    Raises: UsageError when the input is too small for the net, or when its forward has a size built in.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise UsageError(f"fit_input: size is at least 1 pixel, got {size}")
    size, look = (height, width), (max(LOOK, height), max(LOOK, width))
    probe = Probe(model, channels if channels is not None else _channels(model))
    steps, position = probe.run(look).steps, tail_of(probe.run(look), model)
    if position is None:
        kept = [("", "it has no convolution, so there is no last map to fit")]
    else:
        body, tail = steps[: position + 1], steps[position].name
        pools = _free_pools(probe, steps[position + 1 :])
        if _grows(body):
            kept = [("", "its maps grow again towards the end, and the rule is for classifiers")]
        else:
            kept = [*_relax(probe, size, look, body), *_tighten(probe, size, tail)]
            _fit_pools(probe, size, tail, pools)
    _fit_linears(probe, size)
    return _apply(probe, model, kept)


def _channels(model: nn.Module) -> int:
    known = getattr(model, "danlu_in_channels", None)
    if isinstance(known, int):
        return known
    conv = next((module for module in model.modules() if isinstance(module, _ConvNd)), None)
    if conv is None:
        raise UsageError("fit_input cannot tell how many channels this net takes; say fit_input(size=..., channels=...)")
    return conv.in_channels


def _grows(body: list[Step]) -> bool:
    """Whether the last map is larger than an earlier one: a decoder. Pooled side branches (attention) are no maps."""
    maps = [min(step.after) for step in body if step.before != (1, 1) and not isinstance(step.module, ADAPTIVE)]
    return min(body[-1].after) > min(maps)


def _relax(probe: Probe, size: Size, look: Size, body: list[Step]) -> list[tuple[str, str]]:
    """Take strides away, earliest level first, while the last map is too small."""
    tail, kept = body[-1].name, []
    runs = probe.run(look).error is None
    for level in levels(body):
        while (last := min(probe.run(size).last(tail))) < SMALLEST:
            strides = {name: stride_of(probe.model.get_submodule(name)) for name in level}
            halved = {name: ((a + 1) // 2, (b + 1) // 2) for name, (a, b) in strides.items() if max(a, b) > 1}
            if not halved:
                break
            for identity in (True, False):  # beside a convolution without padding, a pool must stay one to give the same map
                undo = probe.make(*(Move(name, with_stride(now, identity=identity)) for name, now in halved.items()))
                broken = runs and probe.run(look).error is not None
                if not broken and min(probe.run(size).last(tail)) >= last:
                    break
                undo()
            else:
                kept += [(name, "another stride here breaks the forward") for name in level]
                break
    last = min(probe.run(size).last(tail))
    if last < 1:
        raise UsageError(_too_small(probe, size, tail))
    if last < SMALLEST:
        kept.append(("", f"the last map stays {last} wide: no stride is left to take away"))
    return kept


def _too_small(probe: Probe, size: Size, tail: str) -> str:
    """The error text for an input of which nothing is left, with every stride taken away that can be."""
    got = f"an input of {size[0]}x{size[1]} is too small for this net"
    for side in range(min(size) + 1, LOOK + 1):
        if min(probe.run((side, side)).last(tail)) >= 1:
            return f"{got}: with every layer's stride at 1 it takes {side}x{side} at least"
    return f"{got}: {probe.run(size).error}"


def _tighten(probe: Probe, size: Size, tail: str) -> list[tuple[str, str]]:
    """Halve the map at the earliest place that takes it, while the last map is too large."""
    while (last := min((maps := probe.run(size)).last(tail))) > LARGEST:
        if maps.error is not None:
            return []  # said, with its reason, when the net is run a last time
        names = [step.name for step in maps.steps]
        end = len(names) - 1 - names[::-1].index(tail)
        for step in maps.steps[: end + 1]:
            once = names.count(step.name) == 1 and step.name in probe.names
            move = _halve(step) if once else None
            if move is None:
                continue
            undo = probe.make(move)
            after = probe.run(size)
            if after.error is None and SMALLEST <= min(after.last(tail)) < last:
                break
            undo()
        else:
            return [("", f"the last map stays {last} wide: there is no place where it can be halved")]
    return []


def _halve(step: Step) -> Move | None:
    """The move that halves the map at this layer without skipping pixels; None when there is none."""
    module = step.module
    if step.before == (1, 1):
        return None
    if isinstance(module, _ConvNd) and not isinstance(module, _ConvTransposeNd):
        doubled = (2 * stride_of(module)[0], 2 * stride_of(module)[1])
        covered = doubled[0] <= kernel_of(module)[0] and doubled[1] <= kernel_of(module)[1]
        return Move(step.name, with_stride(doubled)) if covered else None
    without_state = next(module.parameters(), None) is None and next(module.buffers(), None) is None
    return Move(step.name, with_pool) if without_state and not module._modules and step.before == step.after else None


def _free_pools(probe: Probe, head: list[Step]) -> list[Step]:
    """The pools of the head. A fixed average over the last map stands for global pooling: on the probe it becomes that."""
    local = [Move(step.name, _global) for step in head if isinstance(step.module, LOCAL_POOLS)]
    probe.make(*local)
    probe.moves.clear()  # whether the net itself needs them is seen when the last map is known
    return [step for step in head if isinstance(step.module, ADAPTIVE + LOCAL_POOLS)]


def _global(pool: nn.Module) -> nn.Module:
    return nn.AdaptiveMaxPool2d(1) if isinstance(pool, nn.MaxPool2d) else nn.AdaptiveAvgPool2d(1)


def _fit_pools(probe: Probe, size: Size, tail: str, pools: list[Step]) -> None:
    """Set the pools of the head to the last map where they were made for another one."""
    last = probe.run(size).last(tail)
    for step in pools:
        if isinstance(step.module, LOCAL_POOLS):
            if kernel_of(step.module) != last:
                probe.moves.append(Move(step.name, _global))  # the probe has it already
            continue
        wanted: Any = step.module.output_size  # a number, None (as it comes), or two of these
        sides = [side or own for side, own in zip(wanted if isinstance(wanted, tuple) else (wanted, wanted), last, strict=True)]
        if sides[0] > last[0] or sides[1] > last[1]:
            fitted = (min(sides[0], last[0]), min(sides[1], last[1]))
            probe.make(Move(step.name, partial(_resized, size=fitted)))


def _resized(pool: nn.Module, size: Size) -> nn.Module:
    return (nn.AdaptiveMaxPool2d if isinstance(pool, nn.AdaptiveMaxPool2d) else nn.AdaptiveAvgPool2d)(size)


def _fit_linears(probe: Probe, size: Size) -> None:
    """Give every Linear the width it meets; raise UsageError when the net still does not run."""
    maps = probe.run(size)
    if maps.error is not None:
        where = f" (behind {maps.steps[-1].name})" if maps.steps else ""
        raise UsageError(f"this net does not run on {size[0]}x{size[1]}{where}: {maps.error}")
    probe.moves += [Move(name, partial(_widened, in_features=met)) for name, (met, _) in maps.linears.items()]


@torch.no_grad()
def _widened(old: Any, in_features: int) -> nn.Module:
    """Fresh weights for another width, N(0, s^2) with s^2 of the old ones times old / new width; the bias stays."""
    if old.in_features == in_features:
        return old
    new = nn.Linear(in_features, old.out_features, old.bias is not None, device=old.weight.device, dtype=old.weight.dtype)
    if old.weight.numel() > 1 and not old.weight.is_meta:
        nn.init.normal_(new.weight, std=old.weight.std().item() * math.sqrt(old.in_features / in_features))
    if old.bias is not None:
        new.bias.copy_(old.bias)
    return new


def _apply(probe: Probe, model: nn.Module, kept: list[tuple[str, str]]) -> Outcome:
    """Do the moves on a copy of the net; what changed is what reads differently in the end."""
    new = copy.deepcopy(model)
    for move in probe.moves:
        move.do(new)
    changed = []
    for name in dict.fromkeys(move.name for move in probe.moves):
        old, now = model.get_submodule(name), new.get_submodule(name)
        after = brief(now) if not isinstance(now, nn.Sequential) else " then ".join(brief(part) for part in now)
        if brief(old) != after:
            changed.append(Change(name, brief(old), after))
    return Outcome(new, changed, kept, (count_params(model), count_params(new)))
