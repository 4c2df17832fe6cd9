"""The loss along a random direction, or on a random plane, through the weights: how wide the valley is that training ended in.

    f(a) = L(w + a d),   f(a, b) = L(w + a d + b e),   d_j <- d_j |w_j| / |d_j| for every filter j

A filter is what makes one output channel. With the directions scaled to the filters, nets whose weights differ in scale but not
in what they compute look the same. Biases and the weights of norms do not move.

Source: Li et al. 2017, https://arxiv.org/abs/1712.09913, section 4.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError
from . import figures
from ._landscape import Loss, mean_loss, movable, weights
from ._registry import Subject, View, views


@views(images=200, paper="arxiv:1712.09913")
def loss_slice(subject: Subject, *, dimensions: Literal[1, 2] = 1, span: float = 1.0, points: int = 21) -> View:
    """The loss around the weights, along a direction or on a plane: at `points` places a side, `span` filter norms each way.

    Shape: losses [points], or [points, points] with a down and b across
    Raises: UsageError for a span that is not positive, or an even number of points or fewer than 3.
    """
    if not 0 < span < float("inf") or points < 3 or points % 2 == 0:
        raise UsageError(f"loss_slice needs span above 0 and an odd number of points from 3, got span={span}, points={points}")
    moved, random = weights(subject.model), subject.generator()
    directions = [filter_normalised(moved, random) for _ in range(dimensions)]
    places = np.linspace(-span, span, points).tolist()
    losses = along(mean_loss(subject), moved, directions, places)
    middle = losses[points // 2] if dimensions == 1 else losses[points // 2][points // 2]
    flat = [float(v) for v in np.ravel(losses)]
    values: dict[str, Any] = {"dimensions": dimensions, "places": places, "losses": losses, "loss": middle}
    said = (
        f"loss {middle:.4f} where training ended, {min(flat):.4f} to {max(flat):.4f} on the slice",
        f"{100 * sum(v <= 2 * middle for v in flat) / len(flat):.0f} % of the slice are within twice that loss",
    )
    if dimensions == 1:
        y = figures.axis("loss", rangemode="tozero")
        drawn = figures.plot([figures.line(places, flat, "loss")], figures.axis("a, in norms of the filters"), y)
    else:
        logs = [[float(np.log10(max(v, 1e-12))) for v in row] for row in losses]
        drawn = figures.maps({"loss": losses, "log10 loss": logs}, places, places, "b", "a")
    return View(values, said, (("slice", "The loss around the minimum", "The middle is the trained network.", drawn),))


def filter_normalised(moved: Sequence[Tensor], random: torch.Generator) -> list[Tensor]:
    """A random direction, every filter as long as that of the weights; zeros for biases and norms."""
    direction = []
    for weight in moved:
        drawn = torch.randn(weight.shape, generator=random).to(weight)
        if weight.dim() < 2:
            direction.append(torch.zeros_like(drawn))
            continue
        own, wanted = (one.detach().flatten(1).norm(dim=1) for one in (drawn, weight))
        scale = wanted / own.clamp_min(torch.finfo(own.dtype).tiny)
        direction.append(drawn * scale.view(-1, *[1] * (weight.dim() - 1)))
    return direction


def along(loss: Loss, moved: Sequence[Tensor], directions: Sequence[Sequence[Tensor]], places: Sequence[float]) -> Any:
    """The loss at every place of the slice; the weights come back. Shape: [P] for one direction, [P, P] for two."""
    centre = [one.detach().clone() for one in moved]

    def at(*steps: float) -> float:
        with torch.no_grad():
            for i, one in enumerate(moved):
                one.copy_(centre[i] + sum(step * direction[i] for step, direction in zip(steps, directions, strict=True)))
        return loss(False)

    with movable(moved):
        if len(directions) == 1:
            return [at(a) for a in places]
        return [[at(a, b) for b in places] for a in places]
