"""Merge what follows a convolution (pool, LRN, batch norm) into it: one new convolution whose stride takes over the pooling.

    conv -> batch norm -> ReLU -> LRN -> pool      becomes      conv' -> ReLU       stride(conv') = stride(conv) stride(pool)

The layers without weights cost memory traffic, and the convolution no longer computes what the pool throws away.

Source: Li, Wang and Kong 2018, DeepRebirth, https://arxiv.org/abs/1708.04728 (streamline merging).
Differs: the new layer starts from a least-squares fit to the layers it stands for, where the paper starts it at random.
Card: merge_streamline.md
"""

import copy
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from ..errors import UsageError
from ._check import check_choice
from ._merge_blocks import concatenated
from ._merge_fit import Pads, Sampler, budget, images, solve, standard, watch
from ._merge_rates import NEW
from ._merge_shape import POOLS, padded, reborn, why_not_conv, why_not_pool
from ._penalties import without_penalties
from ._registry import edits
from ._trace import Neighbours, evaluating, trace
from .chain import Batches
from .fold_bn import FOLDS, fold, name_of, why_not
from .surgery import Change, Keep, Outcome, brief, check_skip, count_params, is_skipped, set_module
from .swap_activation import ACTIVATIONS

Init = Literal["least_squares", "copy", "standard"]
MERGED = (*POOLS, nn.LocalResponseNorm)


@dataclass
class Chain:
    """A convolution and the layers after it, in order, up to the last one that is merged."""

    conv: nn.Conv2d
    rest: list[nn.Module]

    @property
    def activation(self) -> nn.Module | None:
        return next((layer for layer in self.rest if isinstance(layer, ACTIVATIONS)), None)

    @property
    def pools(self) -> list[nn.Module]:
        return [layer for layer in self.rest if isinstance(layer, POOLS)]


@edits(
    exact=False,
    needs=("weights", "example", "batches"),
    reduces=("macs", "latency", "memory"),
    paper="arxiv:1708.04728",
    layers=True,
)
def merge_streamline(
    model: nn.Module,
    *,
    init: Init = "least_squares",
    kernel: int | Literal["same", "cover"] = "same",
    relu: Literal["keep", "merge"] = "keep",
    bn: bool = True,
    example: Tensor | None = None,
    batches: Batches | None = None,
    skip: Collection[str] = (),
) -> Outcome:
    """Replace every convolution that a pool or an LRN follows, and them, by one convolution; the result needs fine-tuning.

    A chain is a convolution and the BatchNorm, activation, LRN, MaxPool and AvgPool that each feed the next and nothing else;
    it ends with the last pool or LRN. nn.Identity takes their places. A pool over concatenated branches is merged into the
    last convolution of each. The new layer has a bias, and an output of the same size for inputs of any size.

    init      "least_squares" fits it to the chain's outputs on the first 8 `batches` of images, or on `example`; "copy" keeps
              the old filters (a strided convolution), "standard" draws N(0, 2 / fan in)
    kernel    of the new layer: "same" as the old, "cover" (all that the chain saw), or a number
    relu      "keep" the activation behind the new layer, or "merge" it too, which leaves a linear layer
    bn        also fold (exactly) the BatchNorms outside chains
    skip      names of pools, LRNs, BatchNorms, or of modules, to leave alone

    `danlu.edits.rates_of(outcome)` is the paper's training: the new layers alone.

    Raises: UsageError for another option, for "least_squares" without images, or a net that does not run on them.
    """
    check_choice("init", init, Init)
    check_choice("relu", relu, Literal["keep", "merge"])
    if not (kernel in ("same", "cover") or (isinstance(kernel, int) and not isinstance(kernel, bool) and kernel >= 1)):
        raise UsageError(f"kernel must be 'same', 'cover' or a number from 1, got {kernel!r}")
    check_skip(model, skip)
    shown = images("merge_streamline", model, example, batches) if init == "least_squares" else []
    new = without_penalties(model)
    teacher = copy.deepcopy(new).eval()
    names = {module: name for name, module in new.named_modules()}
    outcome = Outcome(new)
    neighbours = Neighbours(new)
    merged: set[nn.Module] = set()
    for chains, last in _found(new, neighbours, outcome, names, skip):
        fresh = [_reborn(chain, kernel, neighbours, merged) for chain in chains]
        problem = next((one.reason for one in fresh if isinstance(one, Keep)), None)
        if problem is not None:
            outcome.kept.append((names[last], problem))
            continue
        # All are fitted before the first is hung in: while they are exchanged the branches differ in size.
        made = [one for one in fresh if not isinstance(one, Keep)]
        errors = [
            _start(chain, conv, pads, init, relu, new, teacher, shown, names)
            for chain, (conv, pads) in zip(chains, made, strict=True)
        ]
        for chain, (conv, pads), error in zip(chains, made, errors, strict=True):
            _hang(chain, conv, pads, error, relu, new, names, outcome)
            merged.update([chain.conv, *chain.rest])
    if bn:
        _fold_others(new, Neighbours(new), outcome, skip)
    outcome.params = (count_params(model), count_params(new))
    return outcome


def _found(
    model: nn.Module, neighbours: Neighbours, outcome: Outcome, names: dict[nn.Module, str], skip: Collection[str]
) -> Iterator[tuple[list[Chain], nn.Module]]:
    """Chains that may be merged, with the layer they end in; several where a pool follows concatenated branches.

    Layers that are in none are told to the outcome, with the reason.
    """
    concatenated = _pools_over_branches(model)
    inside: set[nn.Module] = set()
    layers = [layer for layer in model.modules() if isinstance(layer, MERGED)]
    for conv in [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]:
        chain = _chain(conv, neighbours, lambda layer: is_skipped(names[layer], skip))
        if chain is not None:
            inside.update(chain.rest)
            yield [chain], chain.rest[-1]
    for layer in layers:
        if layer in inside:
            continue
        if is_skipped(names[layer], skip):
            outcome.kept.append((names[layer], "named in skip"))
        elif layer in concatenated:
            chains = [_backwards(end, neighbours) for end in concatenated[layer]]
            whole = [Chain(chain.conv, [*chain.rest, layer]) for chain in chains if chain is not None]
            if len(whole) == len(chains) and len({chain.conv for chain in whole}) == len(whole):
                yield whole, layer
            else:
                outcome.kept.append((names[layer], "it follows branches that do not all end in a convolution of their own"))
        else:
            outcome.kept.append((names[layer], _why_alone(layer, neighbours)))


def _chain(conv: nn.Conv2d, neighbours: Neighbours, skipped: Any) -> Chain | None:
    """The chain that begins with `conv`; None when no pool or LRN ends one."""
    rest: list[nn.Module] = []
    end, rectified, layer = 0, False, next(iter(neighbours.after.get(conv, set())), None)
    before: nn.Module = conv
    while layer is not None and neighbours.only_before(layer) is before and layer not in rest and not skipped(layer):
        activation = isinstance(layer, ACTIVATIONS)
        if not isinstance(layer, (*MERGED, *ACTIVATIONS, _BatchNorm, nn.Identity)):
            break
        if rectified and (activation or isinstance(layer, _BatchNorm)):
            break
        if isinstance(layer, _BatchNorm) and layer.running_mean is None:
            break
        if isinstance(layer, POOLS) and why_not_pool(layer) is not None:
            break
        rest.append(layer)
        rectified = rectified or activation
        if isinstance(layer, MERGED):
            end = len(rest)
        before, layer = layer, next(iter(neighbours.after.get(layer, set())), None)
    return Chain(conv, rest[:end]) if end else None


def _backwards(end: nn.Module, neighbours: Neighbours) -> Chain | None:
    """The convolution that a branch ends in, with its norm and activation."""
    rest: list[nn.Module] = []
    layer: nn.Module | None = end
    while layer is not None and isinstance(layer, (*ACTIVATIONS, _BatchNorm, nn.Identity)):
        rest.insert(0, layer)
        layer = neighbours.only_before(layer)
    count = sum(isinstance(part, ACTIVATIONS) for part in rest)
    ordered = count == 0 or (count == 1 and not any(isinstance(part, _BatchNorm) for part in _after_activation(rest)))
    return Chain(layer, rest) if isinstance(layer, nn.Conv2d) and ordered else None


def _after_activation(rest: list[nn.Module]) -> list[nn.Module]:
    at = next(i for i, layer in enumerate(rest) if isinstance(layer, ACTIVATIONS))
    return rest[at + 1 :]


def _pools_over_branches(model: nn.Module) -> dict[nn.Module, list[nn.Module]]:
    """Pools that are called once, on concatenated channels: the last layer of each branch, which feeds nothing else."""
    found: dict[nn.Module, list[nn.Module]] = {}
    calls: dict[nn.Module, int] = {}
    with evaluating(model), torch.no_grad():
        graph = trace(model)
    for node in graph.nodes if graph is not None else ():
        if node.op != "call_module":
            continue
        layer = model.get_submodule(str(node.target))
        calls[layer] = calls.get(layer, 0) + 1
        if isinstance(layer, POOLS) and (parts := concatenated(node.args[0] if node.args else None)) is not None:
            ends = [model.get_submodule(str(part.target)) for part in parts if part.op == "call_module" and len(part.users) == 1]
            if len(ends) == len(parts) and len(node.args[0].users) == 1:
                found[layer] = ends
    return {pool: ends for pool, ends in found.items() if all(calls[layer] == 1 for layer in (pool, *ends))}


def _why_alone(layer: nn.Module, neighbours: Neighbours) -> str:
    """Why a pool or an LRN is in no chain."""
    if isinstance(layer, POOLS) and (problem := why_not_pool(layer)) is not None:
        return problem
    before = neighbours.before.get(layer)
    if not before:
        return "it is never called, or only where the forward cannot be traced"
    if layer in neighbours.untraced:
        return "the forward around it cannot be traced, so what feeds it is unknown"
    source = neighbours.only_before(layer)
    if any(isinstance(user, nn.Conv2d) for user in neighbours.after.get(layer, set())) and source is None:
        return "it stands before a convolution; only what follows one is merged into it"
    if source is None:
        return "it does not follow one layer that feeds nothing else"
    return f"no convolution is before it that it could be merged into: it follows a {type(source).__name__}"


def _reborn(chain: Chain, kernel: int | str, neighbours: Neighbours, merged: set[nn.Module]) -> tuple[nn.Conv2d, Pads] | Keep:
    """The new layer of a chain, with the old filters, its BatchNorm folded in."""
    conv = chain.conv
    problem = why_not_conv(conv)
    for layer in (conv, *chain.rest):
        if parametrize.is_parametrized(layer):
            problem = "a weight is parametrised: bake it first"
        elif layer._forward_hooks or layer._forward_pre_hooks:
            problem = "a hook watches it or a layer before it"
        elif isinstance(layer, POOLS) and why_not_pool(layer) is not None:
            problem = why_not_pool(layer)
    if conv in merged:
        problem = "the convolution before it has been merged already"
    if problem is not None:
        return Keep(problem)
    old = copy.deepcopy(conv)
    for layer in chain.rest:
        if isinstance(layer, _BatchNorm):  # behind a pool it is folded as if it were before: "copy" keeps its scale at least
            if (reason := why_not(old, layer)) is not None:
                return Keep(reason)
            fold(old, layer)
    return reborn(old, chain.pools, kernel)


def _start(
    chain: Chain, conv: nn.Conv2d, pads: Pads, init: str, relu: str, new: nn.Module, teacher: nn.Module, shown: list[Tensor],
    names: dict[nn.Module, str],
) -> float | None:  # fmt: skip
    """Give the new layer its first weights; the relative error of a fit."""
    if init == "standard":
        standard([conv])
    if init != "least_squares":
        return None
    return _fit(chain, conv, pads, chain.activation if relu == "keep" else None, new, teacher, shown, names)


def _hang(
    chain: Chain, conv: nn.Conv2d, pads: Pads, error: float | None, relu: str, new: nn.Module, names: dict[nn.Module, str],
    outcome: Outcome,
) -> None:  # fmt: skip
    """Hang the new layer into the net; the rest of the chain becomes nn.Identity."""
    place, kept = names[chain.conv], chain.activation if relu == "keep" else None
    layer = padded(conv, pads)
    before = " -> ".join(brief(part) for part in (chain.conv, *chain.rest) if not isinstance(part, nn.Identity))
    shape = brief(conv) if layer is conv else f"{brief(conv)} behind ZeroPad2d{pads}"
    fitted = f", relative error {error:.2f}" if error is not None else ""
    outcome.changed.append(Change(place, before, f"{NEW}{shape}{fitted}"))
    set_module(new, place, layer)
    for part in chain.rest:
        if part is kept or isinstance(part, nn.Identity) or not any(part is module for module in new.modules()):
            continue
        outcome.changed.append(Change(names[part], brief(part), f"merged into {place}"))
        set_module(new, names[part], nn.Identity())


def _fit(
    chain: Chain, conv: nn.Conv2d, pads: Pads, kept: nn.Module | None, new: nn.Module, teacher: nn.Module, shown: list[Tensor],
    names: dict[nn.Module, str],
) -> float:  # fmt: skip
    """Least squares: what the net as it is now feeds the layer, against what the original chain gives."""
    rectified = isinstance(kept, nn.ReLU)
    originals = [teacher.get_submodule(names[part]) for part in chain.rest]
    # A ReLU is left to the fit. Another activation stays behind, and the fit is to what would go into it.
    steps = [part for part in originals if rectified or kept is None or not isinstance(part, ACTIVATIONS)]

    def chained(_: Tensor, output: Tensor) -> Tensor:
        z = output.clone()
        for step in steps:
            z = step(z)
        return wanted_at.rows(z)

    wanted_at, patches_at = Sampler(budget(conv), len(shown)), Sampler(budget(conv), len(shown))
    wanted = watch(teacher, teacher.get_submodule(names[chain.conv]), shown, chained)
    with evaluating(new):
        patches = watch(new, chain.conv, shown, lambda x, _: patches_at.patches(x, conv, pads))
    return solve(conv, torch.cat(patches), torch.cat(wanted), rectified)


def _fold_others(model: nn.Module, neighbours: Neighbours, outcome: Outcome, skip: Collection[str]) -> None:
    """Fold the BatchNorms that are left into the layers before them, exactly."""
    for name, norm in list(model.named_modules()):
        if not isinstance(norm, _BatchNorm):
            continue
        layer: Any = neighbours.only_before(norm)
        if is_skipped(name, skip):
            outcome.kept.append((name, "named in skip"))
        elif not isinstance(layer, FOLDS):
            outcome.kept.append((name, "no layer of its own is before it that it could be folded into"))
        elif (reason := why_not(layer, norm)) is not None:
            outcome.kept.append((name, reason))
        else:
            fold(layer, norm)  # type: ignore[arg-type]  # one of FOLDS
            outcome.changed.append(Change(name, brief(norm), f"folded into {name_of(model, layer)}"))
            set_module(model, name, nn.Identity())
