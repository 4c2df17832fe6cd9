"""The loss over the images of a subject as a function of the weights, which may be moved and come back."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import DanluError
from .subject import BATCH, Subject

HIGHEST = 1e30  # what a loss counts as that is higher, or no number any more
Loss = Callable[[bool], float]  # with True the gradient is left in `grad` of the weights


def weights(model: nn.Module) -> list[Tensor]:
    """The weights that can be moved: all parameters of floating point, frozen ones too."""
    return [parameter for parameter in model.parameters() if parameter.is_floating_point()]


@contextmanager
def movable(moved: Sequence[Tensor]) -> Iterator[None]:
    """Inside, the weights take gradients and may be moved; behind, they are what they were."""
    before = [(one.detach().clone(), one.requires_grad) for one in moved]
    try:
        for one in moved:
            one.requires_grad_(True)
        yield
    finally:
        for one, (value, flag) in zip(moved, before, strict=True):
            one.grad = None
            one.requires_grad_(flag)
            with torch.no_grad():
                one.copy_(value)


def mean_loss(subject: Subject) -> Loss:
    """Cross-entropy, the mean over the images, in eval mode: the statistics of batch norms stay.

    Raises: DanluError where the loss is not finite to begin with.
    """
    x, labels = subject.x, subject.labels

    def loss(gradient: bool) -> float:
        if gradient:
            subject.model.zero_grad(set_to_none=True)
        total = 0.0
        with torch.set_grad_enabled(gradient):
            for part, truth in zip(x.split(BATCH), labels.split(BATCH), strict=True):
                one = F.cross_entropy(subject.model(part), truth, reduction="sum") / len(labels)
                if gradient:
                    one.backward()
                total += float(one.detach().double())
        return total if total < HIGHEST else HIGHEST

    if loss(False) == HIGHEST:
        raise DanluError("the loss of this network is not a finite number; its weights have diverged")
    return loss
