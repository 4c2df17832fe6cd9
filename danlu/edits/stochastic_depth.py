"""Stochastic depth: in training each residual branch stays away at random, the later ones more often.

    y = shortcut(x) + b f(x) / survival_l,   b = 1 with probability survival_l, else 0
    survival_l = 1 - (l / L) (1 - survival)  for the branch l of L, in running order ("linear")

At inference nothing is left of it.

Source: Huang et al. 2016, Deep networks with stochastic depth, https://arxiv.org/abs/1603.09382. Card: stochastic_depth.md
"""

import copy
from collections.abc import Collection
from typing import Literal

from torch import nn

from ..nn import StochasticDepth
from ._check import check_choice
from ._registry import edits
from ._units import branch_ends, is_plain
from .price import Price
from .surgery import Change, Outcome, brief, check_skip, count_params, is_skipped, set_module

Decay = Literal["linear", "uniform"]
Per = Literal["image", "batch"]


@edits(exact=False, needs=(), reduces=(), paper="arxiv:1603.09382", first=True)
def stochastic_depth(
    model: nn.Module, *, survival: float = 0.5, decay: Decay = "linear", per: Per = "image", skip: Collection[str] = ()
) -> Outcome:
    """Put `danlu.nn.StochasticDepth` at the end of each residual branch; outputs in eval mode stay equal.

    `survival` is that of the last branch; "linear" goes down to it in equal steps from 1, "uniform" has it everywhere. A
    branch is dropped `per` image, or for the whole batch at once. `skip` holds names of the layers at the ends, or of
    modules, to leave alone; they count among the L all the same.

    Raises: UsageError unless 0 < survival <= 1, for another `decay` or `per`.
    """
    check_choice("decay", decay, Decay)
    check_choice("per", per, Per)
    StochasticDepth(survival)  # refuses one that cannot be, also where there is no branch for it
    check_skip(model, skip)
    new = copy.deepcopy(model)
    outcome = Outcome(new, params=(count_params(model),) * 2)
    ends = branch_ends(model)
    for block, name in enumerate(ends, 1):
        if is_skipped(name, skip):
            outcome.kept.append((name, "named in skip"))
        elif any(isinstance(inner, StochasticDepth) for inner in _block_of(model, name).modules()):
            outcome.kept.append((name, "its branch has stochastic depth already"))
        else:
            share = block / len(ends) if decay == "linear" else 1
            drop = StochasticDepth(1 - share * (1 - survival), per=per)
            old = new.get_submodule(name)
            outcome.changed.append(Change(name, brief(old), f"{brief(old)} then {brief(drop)}", Price()))
            set_module(new, name, nn.Sequential(old, drop))
    if not ends:
        outcome.kept.append(("", "no residual branch in it ends in a layer"))
    return outcome


def _block_of(model: nn.Module, name: str) -> nn.Module:
    """The module around the layer that is no mere chain: the one whose forward has the sum."""
    while name:
        name = name.rpartition(".")[0]
        if not is_plain(model.get_submodule(name)):
            break
    return model.get_submodule(name)
