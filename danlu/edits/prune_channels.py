"""Cut whole channels: smaller tensors, the same kind of net, faster everywhere without special kernels.

    score of a channel = mean over the layers it passes of sum |w| (l1), w^2 (l2), |gamma| (bn), |w dL/dw| (taylor);
    divided by the mean score of its group, so that groups compare

Channels that must go together (a residual stream, a depthwise filter and its input, a flattened map) are found by
torch-pruning's dependency graph, for any net whose forward runs.

Source: Li et al. 2016, https://arxiv.org/abs/1608.08710 (l1); Liu et al. 2017, https://arxiv.org/abs/1708.06519 (bn);
Molchanov et al. 2019, https://arxiv.org/abs/1906.10771 (taylor); Fang et al. 2023, https://arxiv.org/abs/2301.12900.
Card: prune_channels.md
"""

import copy
import math
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UsageError
from ..nn import ActiveConv2d, BilinearPool, CompactBilinearPool, DeformableConv2d
from ._channels import ROOTS, Graph, Group, same_function, tensors
from ._check import check_choice
from ._masks import with_masks, without_masks
from ._penalties import without_penalties
from ._registry import edits
from ._trace import FORWARD_ERRORS
from .surgery import Change, Outcome, brief, check_skip, count_params

Importance = Literal["l1", "l2", "bn", "taylor", "random"]
Scope = Literal["global", "layer"]
Batches = Callable[[], Iterator[tuple[Tensor, Tensor]]]
# torch-pruning takes the places that the former look at for channels, and numbers the products of the latter without end.
NOT_FOLLOWED = (ActiveConv2d, DeformableConv2d, BilinearPool, CompactBilinearPool)
MOST = 0.9  # of the channels of a layer, when layers compete
TAYLOR_BATCHES = 8
SCORES: dict[str, Callable[[], Any]] = {
    "l1": lambda: tp.importance.GroupMagnitudeImportance(p=1),
    "l2": lambda: tp.importance.GroupMagnitudeImportance(p=2),
    "bn": tp.importance.BNScaleImportance,
    "taylor": tp.importance.GroupTaylorImportance,
}


@edits(
    exact=False,
    needs=("weights", "example", "batches"),
    needs_if={"batches": {"importance": "taylor"}},
    reduces=("params", "macs", "latency", "memory"),
    paper="arxiv:2301.12900",
)
def prune_channels(
    model: nn.Module,
    *,
    example: Tensor,
    ratio: float = 0.5,
    importance: Importance = "l1",
    scope: Scope = "global",
    round_to: int = 8,
    skip: Collection[str] = (),
    seed: int = 0,
    batches: Batches | None = None,
) -> Outcome:
    """Cut the least important channels; the result needs fine-tuning.

    `ratio` is the share of channels cut: with scope "layer" of every layer that can be cut, with "global" of all of them
    together, the least important first wherever they are, at most 90 % of any layer. What a layer keeps is rounded to the
    nearest multiple of `round_to`, never below it: kernels work in such blocks. A ratio of channels is not one of
    parameters: halving every layer leaves a quarter; `Outcome.params` has the real numbers.

    `example` [B, C, H, W] is what the graph is traced with. `batches` gives the (x, y) for "taylor": the first 8 are used,
    with the cross-entropy. `skip` names layers whose outputs stay, or modules; `seed` is for "random".

    Masked weights stay masked (`prune` before it). Weights that are shared or quantised cannot be cut: that comes after.

    Never cut: the input and the output of the net, and channels that a shortcut fills up with zeros. The result is proved
    on noise to equal the net with those channels silenced; a group for which this fails is kept, with the reason.

    Raises: UsageError for options out of range, encoded weights, active or deformable convolutions, bilinear pooling, when
    the net does not run on `example`, and when its graph cannot be read.
    """
    check_choice("importance", importance, Importance)
    check_choice("scope", scope, Scope)
    if not 0 < ratio < 1 or round_to < 1:
        raise UsageError(f"prune_channels: 0 < ratio < 1 and round_to >= 1, got ratio={ratio} and round_to={round_to}")
    if importance == "taylor" and batches is None:
        raise UsageError('prune_channels(importance="taylor") needs batches: a callable that gives an iterator of (x, y)')
    check_skip(model, skip)
    for name, layer in model.named_modules():
        if isinstance(layer, NOT_FOLLOWED):
            raise UsageError(f"prune_channels: it cannot follow channels through {name} ({type(layer).__name__})")
    model, masked = without_masks(without_penalties(model), "prune_channels")
    example = example[:2]
    work = _working_copy(model, example)
    if importance == "taylor" and batches is not None:
        _gradients(work, batches)
    try:
        graph = Graph(work, example)
        groups = graph.groups(skip)
    except FORWARD_ERRORS as error:
        what = str(error) or type(error).__name__
        raise UsageError(f"prune_channels: torch-pruning cannot follow the channels of this net: {what}") from error
    kept: list[tuple[str, str]] = []
    candidates = []
    for group in groups:
        verdict: Candidate | str = group.keep or _rated(group, importance, seed, round_to)
        if isinstance(verdict, Candidate):
            candidates.append(verdict)
        else:
            kept += [(layer, verdict) for layer in group.layers]
    cuts: dict[str, list[int]] = {}
    for candidate, width in zip(candidates, _widths(candidates, ratio, scope), strict=True):
        if width < candidate.group.width:
            cuts[candidate.group.root] = candidate.worst(width)
        else:
            reason = f"all {width} channels: to the nearest multiple of {candidate.step}, nothing is cut"
            kept += [(layer, reason) for layer in candidate.group.layers]
    if cuts and (_cut(graph, work, model, cuts, example) is not None):
        work, refused = _one_by_one(model, cuts, example)
        layers_of = {candidate.group.root: candidate.group.layers for candidate in candidates}
        kept += [(layer, reason) for root, reason in refused.items() for layer in layers_of[root]]
    _restore(work, model)
    changed = [
        Change(name, brief(model.get_submodule(name)), brief(layer))
        for name, layer in work.named_modules()
        if isinstance(layer, ROOTS) and brief(layer) != brief(model.get_submodule(name))
    ]
    with_masks(work, masked)
    return Outcome(work, changed, kept, (count_params(model), count_params(work)))


@dataclass(frozen=True)
class Candidate:
    """A group that may be cut: the score of each of its places (alike in all blocks), and the step its width goes in."""

    group: Group
    scores: Tensor  # [width / blocks]
    step: int

    def worst(self, width: int) -> list[int]:
        """The channels to cut to get to `width`: the lowest scores, the same places in every block."""
        places = torch.argsort(self.scores, stable=True)[: (self.group.width - width) // self.group.blocks].tolist()
        return sorted(block * len(self.scores) + place for block in range(self.group.blocks) for place in places)


def _working_copy(model: nn.Module, example: Tensor) -> nn.Module:
    """A copy in eval mode in which every weight wants a gradient, since the graph is read off autograd's."""
    work = copy.deepcopy(model).eval()
    for parameter in work.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    try:
        with torch.enable_grad():
            out = tensors(work(example))
    except FORWARD_ERRORS as error:
        raise UsageError(f"prune_channels: the net does not run on the example {tuple(example.shape)}: {error}") from error
    if not any(tensor.requires_grad for tensor in out):
        raise UsageError("prune_channels: no output of the net depends on its weights by a gradient")
    return work


def _gradients(work: nn.Module, batches: Batches) -> None:
    """Gradients of the mean cross-entropy over the first batches, in eval mode; zero where a weight has no part in it."""
    like = next(work.parameters())
    used = 0
    with torch.enable_grad():
        for x, y in islice(batches(), TAYLOR_BATCHES):
            F.cross_entropy(work(x.to(like)), y.to(like.device)).backward()
            used += 1
    if used == 0:
        raise UsageError("prune_channels: batches gave none")
    for parameter in work.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad / used


def _rated(group: Group, importance: str, seed: int, round_to: int) -> Candidate | str:
    """A group with its scores; the reason to keep it when it has none or no smaller width."""
    step = math.lcm(round_to, group.blocks)
    if group.width <= step:
        return f"all {group.width} channels: no smaller multiple of {step}"
    if importance == "random":
        # One stream a layer, so that the scores of a layer do not depend on the others.
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {group.root}".encode()))
        scores: Tensor | None = torch.rand(group.width, generator=generator)
    else:
        try:
            scores = SCORES[importance]()(group.items)
        except IndexError:  # the graph numbers the channels of one layer by those of another
            return "the forward joins its channels in a way that the graph does not see"
    if scores is None:
        return "no batch norm has a scale to rank its channels by"
    places = scores.detach().float().cpu().view(group.blocks, -1).mean(0)
    return Candidate(group, torch.nan_to_num(places), step)


def _widths(candidates: list[Candidate], ratio: float, scope: str) -> list[int]:
    """What each group keeps: the wanted width to the nearest multiple of its step, at least one step."""
    wanted = [candidate.group.width * (1 - ratio) for candidate in candidates]
    if scope == "global":
        wanted = _compete(candidates, ratio)
    rounded = [c.step * max(1, math.floor(w / c.step + 0.5)) for c, w in zip(candidates, wanted, strict=True)]
    return [min(c.group.width, r) for c, r in zip(candidates, rounded, strict=True)]


def _compete(candidates: list[Candidate], ratio: float) -> list[float]:
    """What each group keeps when the lowest scores of all groups go first, at most MOST of any group."""
    left = [candidate.group.width for candidate in candidates]
    to_cut = ratio * sum(left)
    # Equal scores (the scales of a fresh batch norm are all 1) fall on all groups alike: the second key is how far down
    # its own group a place stands.
    ranked = sorted(
        (round(score, 6), place / len(candidate.scores), i)
        for i, candidate in enumerate(candidates)
        for place, score in enumerate(sorted(candidate.scores.tolist()))
    )
    for _, _, i in ranked:
        group = candidates[i].group
        if to_cut < group.blocks / 2:
            break
        if left[i] - group.blocks >= (1 - MOST) * group.width:
            left[i] -= group.blocks
            to_cut -= group.blocks
    return [float(width) for width in left]


def _cut(graph: Graph, work: nn.Module, before: nn.Module, cuts: dict[str, list[int]], example: Tensor) -> str | None:
    """Cut `work` in place; None when it now equals `before` with those channels silenced, else the reason."""
    try:
        removed = graph.touched(cuts)
        graph.cut(cuts)
        return same_function(work, before, removed, example)
    except FORWARD_ERRORS as error:
        return f"the graph cannot cut them: {str(error) or type(error).__name__}"


def _one_by_one(model: nn.Module, cuts: dict[str, list[int]], example: Tensor) -> tuple[nn.Module, dict[str, str]]:
    """Cut one group after the other, and take back those that change the function."""
    work = _working_copy(model, example)
    refused: dict[str, str] = {}
    for root, indices in cuts.items():
        trial = copy.deepcopy(work)
        problem = _cut(Graph(trial, example), trial, work, {root: indices}, example)
        if problem is None:
            work = trial
        else:
            refused[root] = problem
    return work, refused


def _restore(work: nn.Module, model: nn.Module) -> None:
    """The flags of the original: training or not, gradient wanted or not; no gradients."""
    for (_, new), (_, old) in zip(work.named_modules(), model.named_modules(), strict=True):
        new.training = old.training
    for (_, new), (_, old) in zip(work.named_parameters(), model.named_parameters(), strict=True):
        new.requires_grad_(old.requires_grad)
        new.grad = None
