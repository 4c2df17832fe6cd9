"""Where regularisers register: `@regularizers(paper="arxiv:...")` on a function `name(*, options...) -> Regularizer`.

A regulariser acts at up to three places of a training; each does nothing unless it is overridden:

    prepare(model)     once, before the first step: may put layers in, in place
    penalty(model)     a scalar that is added to the loss of each step, or None
    after_step(model)  in place, behind each update: a projection

A training names them as a chain: regularize="l1(strength=1e-5) | max_norm(limit=3)".
"""

from collections.abc import Callable

from torch import Tensor, nn

from ...registry import Registry


class Regularizer:
    """What keeps a network from learning its training images by heart."""

    def prepare(self, model: nn.Module) -> None:
        """Change the model in place, before the first step. `restore` takes it back."""

    def penalty(self, model: nn.Module) -> Tensor | None:
        """A scalar for the loss of this step."""
        return None

    def after_step(self, model: nn.Module) -> None:
        """Change the weights in place, behind an update."""

    def restore(self, model: nn.Module) -> None:
        """Take back what `prepare` put in, so that the trained net is the one that was asked for."""


regularizers: Registry[Callable[..., Regularizer]] = Registry("regularizer")
