"""Stochastic depth as a way to train: each residual branch stays away at random, the later ones more often.

    y = shortcut(x) + b f(x) / survival_l,   b = 1 with probability survival_l, else 0
    survival_l = 1 - (l / L) (1 - survival)  for the branch l of L, in running order ("linear")

The edit of this name decides where and how often; its card says when it loses. The edit writes the layers into the recipe of a
net, for good; here they hang on the branches while it trains, and are gone afterwards.

Source: Huang et al. 2016, Deep networks with stochastic depth, https://arxiv.org/abs/1603.09382.
"""

from functools import partial
from typing import Any, Literal

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ...errors import UsageError
from ...nn import StochasticDepth
from ._places import take_off
from ._registry import Regularizer, regularizers

Decay = Literal["linear", "uniform"]
Per = Literal["image", "batch"]


class StochasticDepths(Regularizer):
    """Drops residual branches while the net trains."""

    def __init__(self, survival: float, decay: Decay, per: Per) -> None:
        StochasticDepth(survival, per=per)  # refuses what cannot be
        if decay not in ("linear", "uniform"):
            raise UsageError(f"stochastic_depth: decay is 'linear' or 'uniform', got {decay!r}")
        self.survival, self.decay, self.per = survival, decay, per
        self._handles: list[RemovableHandle] = []

    def prepare(self, model: nn.Module) -> None:
        """Hang a layer that drops on the end of each branch."""
        from ...edits.stochastic_depth import stochastic_depth as edit

        outcome = edit(model, survival=self.survival, decay=self.decay, per=self.per)
        if not outcome.changed:
            raise UsageError("stochastic_depth: the net has no residual branch that ends in a layer; take it out of regularize")
        for change in outcome.changed:
            _, drop = outcome.model.get_submodule(change.name).children()
            self._handles.append(model.get_submodule(change.name).register_forward_hook(partial(_behind, drop.train())))

    def restore(self, model: nn.Module) -> None:
        """Take all of them off."""
        take_off(self._handles)


@regularizers(paper="arxiv:1603.09382")
def stochastic_depth(*, survival: float = 0.5, decay: Decay = "linear", per: Per = "image") -> StochasticDepths:
    """Drop residual branches at random: each whole branch, `per` image or for the batch at once.

    `survival` is that of the last branch; "linear" goes down to it in equal steps from 1, "uniform" has it everywhere.

    Raises: UsageError unless 0 < survival <= 1, for another `decay` or `per`, and for a net without residual branches.
    """
    return StochasticDepths(survival, decay, per)


def _behind(drop: nn.Module, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    dropped: Tensor = drop(output) if module.training else output
    return dropped
