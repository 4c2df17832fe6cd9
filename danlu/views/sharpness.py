"""How much higher the loss is in the neighbourhood of a minimum: sharp minima rise fast, and are said to generalise worse.

    sharpness = 100 (max over |y_i| <= e (|w_i| + 1) of f(w + y) - f(w)) / (1 + f(w))

The maximum is searched by steps along the sign of the gradient, kept in the box, from random places in it: what is found is a
lower bound of it.

Source: Keskar et al. 2016, https://arxiv.org/abs/1609.04836, section 2.2.2, with A the identity.
Differs: the paper searches by 10 iterations of L-BFGS-B from w itself, where the gradient of a minimum vanishes. Sharpness
depends on the scale of the weights (Dinh et al. 2017, https://arxiv.org/abs/1703.04933): compare nets of one architecture only.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import UsageError
from . import figures
from ._landscape import Loss, mean_loss, movable, weights
from ._registry import Subject, View, views

REACH = 2.5  # times the half width of the box, over all steps: far enough to come from anywhere to a corner


@views(images=200, paper="arxiv:1609.04836")
def sharpness(
    subject: Subject, *, epsilons: tuple[float, ...] = (1e-4, 5e-4, 1e-3, 5e-3), steps: int = 10, starts: int = 2
) -> View:
    """How much the loss rises in a box around the weights, for boxes of several sizes.

    Raises: UsageError for no or not positive `epsilons`, or less than one step or start.
    """
    if not epsilons or min(epsilons) <= 0 or steps < 1 or starts < 1:
        raise UsageError(
            f"sharpness needs epsilons above 0, and steps and starts from 1; got epsilons={tuple(epsilons)}, steps={steps}, "
            f"starts={starts}"
        )
    moved, loss = weights(subject.model), mean_loss(subject)
    at = loss(False)
    random = subject.generator()
    rows = []
    for epsilon in sorted(epsilons):
        highest = highest_in_box(loss, moved, epsilon, steps, starts, random)
        rows.append({"epsilon": epsilon, "highest": highest, "sharpness": 100 * (highest - at) / (1 + at)})
    values = {"loss": at, "boxes": rows, "parameters": sum(one.numel() for one in moved)}
    said = (
        f"loss {at:.4f} at the minimum",
        *(f"in the box of {row['epsilon']:g}: up to {row['highest']:.4f}, sharpness {row['sharpness']:.3g}" for row in rows),
    )
    line = figures.line([row["epsilon"] for row in rows], [row["sharpness"] for row in rows], "sharpness")
    ticks = {"tickvals": [row["epsilon"] for row in rows], "ticktext": [f"{row['epsilon']:g}" for row in rows]}
    flat = any(row["sharpness"] <= 0 for row in rows)  # a logarithm has no place for these
    y = figures.axis("sharpness", rangemode="tozero") if flat else figures.axis("sharpness", type="log")
    drawn = figures.plot([line], figures.axis("size of the box, e", type="log", **ticks), y)
    caption = "The rise of the loss in the box, in per cent of one plus the loss at the minimum; flat is low."
    return View(values, said, (("sharpness", "Sharpness of the minimum", caption, drawn),))


def highest_in_box(
    loss: Loss, moved: Sequence[Tensor], epsilon: float, steps: int, starts: int, random: torch.Generator
) -> float:
    """The highest loss found with every weight within epsilon (|w| + 1) of where it is; never below the loss at w."""
    centre = [one.detach().clone() for one in moved]
    half = [epsilon * (one.abs() + 1) for one in centre]
    low, high = torch._foreach_sub(centre, half), torch._foreach_add(centre, half)
    best = loss(False)
    with movable(moved):
        for _ in range(starts):
            with torch.no_grad():
                for one, middle, width in zip(moved, centre, half, strict=True):
                    one.copy_(middle + width * (2 * torch.rand(one.shape, generator=random).to(one) - 1))
            for _ in range(steps):
                best = max(best, loss(True))
                with torch.no_grad():
                    for one, width, down, up in zip(moved, half, low, high, strict=True):
                        if one.grad is not None:
                            one.add_(width * one.grad.sign(), alpha=REACH / steps)
                            one.copy_(torch.clamp(one, down, up))
            best = max(best, loss(False))
    return best
