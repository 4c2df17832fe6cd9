"""Network slimming: an L1 penalty on the scales of batch norms, so that training drives those of needless channels to zero.

    L += l1 * sum |gamma|        over the channels of every BatchNorm that follows a convolution or a linear layer

Afterwards `prune_channels(importance="bn")` cuts the channels whose scales are small; that also ends the penalty.

Source: Liu et al. 2017, https://arxiv.org/abs/1708.06519. Card: slim.md
"""

import copy
import math
from collections.abc import Collection

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from ..encodings import Penalty, decode, encode
from ..errors import UsageError
from ._registry import edits
from ._trace import Neighbours
from .fold_bn import FOLDS, why_alone
from .surgery import Change, Outcome, brief, check_skip, count_params, is_skipped


@edits(exact=True, needs=("weights",), reduces=(), paper="arxiv:1708.06519")
def slim(model: nn.Module, *, l1: float = 1e-4, skip: Collection[str] = ()) -> Outcome:
    """Put an L1 penalty on the scales of the batch norms; the training that follows makes them sparse.

    `l1` is the weight of the penalty beside the loss; the paper takes 1e-4 and 1e-5. The outputs do not change: the scale is
    parametrised by a `Penalty`, the identity whose gradient has l1 * sign(gamma) added, so any training loop obeys it. A norm
    that has a penalty already gets the new one in its place. `skip` holds names of norms, or of modules, to leave alone.

    A norm is kept, with the reason, when it does not follow exactly one convolution or linear layer that feeds nothing else,
    when it has no scale, or when its scale is parametrised by something else.

    Raises: UsageError unless l1 is above zero and finite.
    """
    if not 0 < l1 < math.inf:
        raise UsageError(f"slim: l1 is a number above zero, got {l1}")
    check_skip(model, skip)
    model = copy.deepcopy(model)
    outcome = Outcome(model)
    neighbours = Neighbours(model)
    for name, norm in list(model.named_modules()):
        if not isinstance(norm, _BatchNorm):
            continue
        problem = "named in skip" if is_skipped(name, skip) else why_not(neighbours, norm)
        if problem is not None:
            outcome.kept.append((name, problem))
            continue
        before = brief(norm)
        if parametrize.is_parametrized(norm, "weight"):
            before += f" weight: {norm.parametrizations.weight[0].describe(norm.weight)}"  # type: ignore[union-attr, index]
            decode(norm, "weight")
        penalty = Penalty(norm="l1", strength=l1)
        encode(norm, "weight", penalty)
        outcome.changed.append(Change(name, before, f"{brief(norm)} weight: {penalty.describe(norm.weight)}"))
    outcome.params = (count_params(model), count_params(model))
    return outcome


def why_not(neighbours: Neighbours, norm: nn.Module) -> str | None:
    """Why the scales of `norm` say nothing about the channels of one layer, or cannot be penalised; None when they can."""
    layer = neighbours.only_before(norm)
    if layer is None:
        return why_alone(neighbours, norm)
    if not isinstance(layer, FOLDS):
        return f"it follows a {type(layer).__name__}, which makes no channels"
    if norm.weight is None:
        return "it has no scale to penalise"
    if parametrize.is_parametrized(norm, "weight") and not is_penalised(norm):
        return "its scale is parametrised: bake it first"
    return None


def is_penalised(norm: nn.Module) -> bool:
    """Whether the scale of a norm has one penalty and no other encoding."""
    chain = list(norm.parametrizations.weight)  # type: ignore[union-attr, arg-type]
    return len(chain) == 1 and isinstance(chain[0], Penalty)
