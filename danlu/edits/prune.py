"""Prune weights by magnitude: a mask that is held while the rest is trained.

    weight = original * mask,   mask: the round(n (1 - sparsity)) largest |original|

Source: Han et al. 2015, https://arxiv.org/abs/1506.02626; the gradual schedule: Zhu and Gupta 2017,
https://arxiv.org/abs/1710.01878; 2:4: Mishra et al. 2021, https://arxiv.org/abs/2104.08378. Card: prune.md
"""

from collections.abc import Collection, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from ..encodings import Encoding, Mask, Penalty
from ..errors import UsageError, unknown
from ._check import check_choice
from ._encode import TRANSPOSED, WEIGHTED, chain_of, encode_layers
from ._registry import edits
from .surgery import Keep, Outcome, check_skip, is_skipped

Scope = Literal["global", "layer"]
Schedule = Literal["oneshot", "gradual"]
Structure = Literal["weight", "2:4"]
LEAST = 0.01  # of a layer's weights stay when layers compete, so that none is cut through


@edits(exact=False, needs=("weights",), reduces=("size",), paper="arxiv:1506.02626")
def prune(
    model: nn.Module,
    *,
    sparsity: float | dict[str, float] | None = None,
    scope: Scope = "global",
    schedule: Schedule = "oneshot",
    structure: Structure = "weight",
    ramp: float = 0.6,
    group: float = 0.0,
    skip: Collection[str] = (),
) -> Outcome:
    """Mask the smallest weights of convolutions and linear layers; the result needs fine-tuning, which holds the mask.

    `sparsity` is the share of zeros: a number (0.9 if none is given), or one for each layer by name (others are kept). With
    scope "global" it is that of all layers together: the smallest weights go wherever they are, at most 99 % of a layer;
    with "layer" that of each. A weight that was masked before stays masked.

    schedule "gradual" masks nothing now: as the training goes on the sparsity rises by s (1 - (1 - t / ramp)^3) and stays
    at s after `ramp`, a share of the training. `danlu.fit` drives it; another loop calls
    `danlu.encodings.advance(model, share)` at each step. With scope "global" the share of each layer is decided now.

    structure "2:4" keeps two of every four weights along the inputs, the pattern that sparse tensor cores run: a `sparsity` of
    0.5, and of nothing else. `group` > 0 adds the gradient of a group penalty on rows and columns during the first `ramp` of
    a training, so that whole inputs and outputs die together and the positions of the rest cost little to store; 1e-5 to
    1e-4 are sensible.

    Raises: UsageError for a sparsity out of [0, 1), an unknown layer, or options that exclude each other.
    """
    check_choice("scope", scope, Scope)
    check_choice("schedule", schedule, Schedule)
    check_choice("structure", structure, Structure)
    check_skip(model, skip)
    if structure == "weight":
        goals = targets(model, 0.9 if sparsity is None else sparsity, scope, skip)
    else:
        goals = halves(model, sparsity, schedule)
    if not 0 < ramp <= 1 or group < 0:
        raise UsageError(f"prune: 0 < ramp <= 1 and group >= 0, got ramp={ramp} and group={group}")

    def decide(name: str, layer: nn.Module, weight: Tensor) -> list[Encoding] | Keep:
        reason = why_not(name, layer, weight, goals, structure)
        if reason:
            return Keep(reason)
        have = 1 - weight.count_nonzero().item() / weight.numel()
        goal = max(goals[name], have)
        mask = Mask(sparsity=goal, structure=structure, ramp=ramp if schedule == "gradual" else 0.0, shape=weight.shape)
        return [Penalty(norm="group", strength=group, until=ramp), mask] if group else [mask]

    return encode_layers(model, decide, skip)


def why_not(name: str, layer: nn.Module, weight: Tensor, goals: Mapping[str, float], structure: str) -> str:
    """Why a layer is not pruned; empty when it is."""
    others = [type(part).__name__ for part in chain_of(layer, "weight") if not isinstance(part, Mask)]
    if others:
        return f"its weight is encoded by {others[0]} already: prune first"
    if name not in goals:
        return "no sparsity is given for it"
    if structure == "2:4" and isinstance(layer, TRANSPOSED):
        return "2:4 is not for transposed convolutions"
    if structure == "2:4" and weight.shape[1] % 4:
        return f"its {weight.shape[1]} inputs are not fours"
    if round(weight.numel() * (1 - goals[name])) >= weight.count_nonzero():
        return f"at least {goals[name]:.2%} of it are zeros already"
    return ""


def halves(model: nn.Module, sparsity: float | dict[str, float] | None, schedule: str) -> dict[str, float]:
    """2:4 has one sparsity and one moment."""
    if schedule != "oneshot":
        raise UsageError("prune: structure='2:4' is pruned at once; use schedule='oneshot'")
    if sparsity not in (0.5, None):
        raise UsageError(f"prune: structure='2:4' means sparsity=0.5, got {sparsity}")
    return dict.fromkeys(weights(model), 0.5)


def weights(model: nn.Module) -> dict[str, Tensor]:
    """The weight of every convolution and linear layer by name."""
    return {name: layer.weight.detach() for name, layer in model.named_modules() if isinstance(layer, WEIGHTED)}  # type: ignore[operator]


def targets(model: nn.Module, sparsity: float | dict[str, float], scope: str, skip: Collection[str]) -> dict[str, float]:
    """The sparsity of each layer. Raises UsageError for a number out of range or an unknown name."""
    found = weights(model)
    given = sparsity if isinstance(sparsity, dict) else {"sparsity": sparsity}
    for name, value in given.items():
        if isinstance(sparsity, dict) and name not in found:
            raise unknown("layer with a weight", name, found)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise UsageError(f"prune: a sparsity is from 0 and below 1, got {name}={value!r}")
    if isinstance(sparsity, dict):
        return dict(sparsity)
    free = {name: weight for name, weight in found.items() if not is_skipped(name, skip)}
    if scope == "layer" or not free:
        return dict.fromkeys(free, float(sparsity))
    return compete(free, float(sparsity))


def compete(free: Mapping[str, Tensor], sparsity: float) -> dict[str, float]:
    """Each layer's share of zeros when the smallest weights of all layers go first and every layer keeps its LEAST.

    One threshold for all: a layer's largest LEAST of weights count as infinitely large.
    """
    marked = []
    for weight in free.values():
        size = weight.float().abs().flatten().cpu()
        safe = max(1, round(LEAST * size.numel()))
        size[size.topk(safe, sorted=False).indices] = torch.inf
        marked.append(size)
    every = torch.cat(marked)
    cut = round(sparsity * len(every))
    if cut == 0:
        return dict.fromkeys(free, 0.0)
    order = every.argsort(stable=True)[:cut]
    owner = torch.repeat_interleave(torch.arange(len(marked)), torch.tensor([len(m) for m in marked]))
    cuts = torch.bincount(owner[order], minlength=len(marked)).tolist()
    # The last of a layer's safe weights can be reached only by a sparsity above 1 - LEAST: then they go as well.
    return {name: min(count / len(m), 1 - 1 / len(m)) for name, count, m in zip(free, cuts, marked, strict=True)}
