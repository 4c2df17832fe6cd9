"""How many linear pieces a network of ReLUs is made of, counted exactly along lines or on planes through images.

Each unit is either above or below its bend; where none of them changes, the network is one linear function. On a line the regions
of equal activation are intervals, on a plane convex polygons. Depth allows exponentially many; before training a line crosses
only as many as are in proportion to the number of units.

Source: Montúfar et al. 2014, https://arxiv.org/abs/1402.1869; lines and planes through images: Hanin and Rolnick 2019,
https://arxiv.org/abs/1901.09021.
"""

import copy
from typing import Any, Literal

import numpy as np
from torch import Tensor

from ..errors import UsageError
from . import figures
from ._regions import Bending, pieces_of_line, pieces_of_plane
from ._registry import Subject, View, views

DRAWN = 5  # classes whose outputs are drawn along a line
SHADES = (1.0, 0.75, 0.55)  # of the regions on a plane


@views(images=100, paper="arxiv:1901.09021")
def linear_regions(
    subject: Subject, *, dimensions: Literal[1, 2] = 1, slices: int = 5, span: float = 1.0, most: int = 20_000
) -> View:
    """Count the linear pieces on `slices` random lines from image to image, or squares with images at three corners.

    With `span` the line or the square is so many times as long, around the same middle.

    Raises: UsageError for a network that is not piecewise linear, too few images, or more than `most` regions.
    """
    if slices < 1 or most < 1 or not 0 < span < float("inf"):
        raise UsageError(f"linear_regions: slices and most must be at least 1, span above 0, got {slices}, {most} and {span}")
    corners, low, high = dimensions + 1, 0.5 - span / 2, 0.5 + span / 2
    if len(subject.labels) < corners:
        raise UsageError(f"linear_regions needs {corners} images for each slice, there are {len(subject.labels)}")
    model = copy.deepcopy(subject.model).double().cpu()
    x, random = subject.x.double().cpu(), np.random.default_rng(subject.seed)
    rows: list[dict[str, Any]] = []
    figure: tuple[str, str, str, figures.Figure] | None = None
    units = 0
    for _ in range(slices):
        chosen = random.permutation(len(x))[:corners].tolist()
        bending = Bending(model, through(x[chosen]), most)
        if dimensions == 1:
            knots = pieces_of_line(bending, low, high)
            count = len(knots) - 1
            figure = figure or drawn_line(bending, knots, subject)
        else:
            polygons = pieces_of_plane(bending, low, high)
            count = len(polygons)
            figure = figure or drawn_plane(bending, polygons, subject)
        units = sum(bending.layers(np.zeros((1, dimensions))))
        rows.append({"images": chosen, "regions": count})
    counts = [row["regions"] for row in rows]
    mean = float(np.mean(counts))
    values = {"dimensions": dimensions, "span": span, "units": units, "slices": rows, "mean": mean}
    kind = "line" if dimensions == 1 else "plane"
    said = (
        f"{mean:,.1f} linear regions on a {kind}, from {min(counts):,} to {max(counts):,} over {slices} of them",
        f"{units:,} units that bend: {mean / units:.3g} regions a unit",
    )
    return View(values, said, () if figure is None else (figure,))


def through(x: Tensor) -> Any:
    """Places to inputs: x_0 + sum_i t_i (x_i - x_0). Shape: x [d + 1, C, H, W]; places [P, d] -> [P, C, H, W]."""
    away = (x[1:] - x[:1]).flatten(1)
    return lambda places: x[:1] + (places @ away).view(-1, *x.shape[1:])


def drawn_line(bending: Bending, knots: np.ndarray, subject: Subject) -> tuple[str, str, str, figures.Figure]:
    """The outputs along the line, exact between their bends."""
    z = bending.outputs(knots[:, None])
    leading = np.argsort(-z.max(0))[:DRAWN].tolist()
    lines = [figures.line(knots.tolist(), z[:, k].tolist(), subject.classes[k], i, mode="lines") for i, k in enumerate(leading)]
    foot = float(z[:, leading].min())
    ticks = {"symbol": "line-ns-open", "size": 9, "color": "--muted"}
    bends = {
        "type": "scatter",
        "mode": "markers",
        "name": "bends",
        "x": knots.tolist(),
        "y": [foot] * len(knots),
        "marker": ticks,
    }
    figure = figures.plot([*lines, bends], figures.axis("from one image (0) to another (1)"), figures.axis("logit"))
    return "line", "Along the first line", "The highest outputs; a tick at every place where a unit bends.", figure


def drawn_plane(bending: Bending, polygons: list[np.ndarray], subject: Subject) -> tuple[str, str, str, figures.Figure]:
    """The regions, coloured by the answer in their middle, in shades that tell neighbours apart."""
    answers = bending.outputs(np.stack([polygon.mean(0) for polygon in polygons])).argmax(1)
    data: list[figures.Figure] = []
    for i, answer in enumerate(np.unique(answers).tolist()):
        members = np.flatnonzero(answers == answer).tolist()
        colour = figures.COLOURS[i % len(figures.COLOURS)]
        for shade, opacity in enumerate(SHADES):
            x: list[float | None] = []
            y: list[float | None] = []
            for polygon in (polygons[j] for j in members[shade :: len(SHADES)]):
                ring = np.concatenate([polygon, polygon[:1]]).round(6)
                x += [*ring[:, 0].tolist(), None]
                y += [*ring[:, 1].tolist(), None]
            data.append({
                "type": "scatter", "mode": "lines", "fill": "toself", "x": x, "y": y, "fillcolor": colour, "opacity": opacity,
                "name": figures.escape(subject.classes[answer]), "legendgroup": str(answer), "showlegend": shade == 0,
                "line": {"color": "--card", "width": 0.5}, "hoverinfo": "name",
            })  # fmt: skip
    square = np.concatenate(polygons)
    ends = [float(square.min()), float(square.max())]
    inside = [(x, y) for x, y in ((0, 0), (1, 0), (0, 1)) if ends[0] <= min(x, y) and max(x, y) <= ends[1]]
    images = {"type": "scatter", "mode": "markers", "name": "images", "x": [x for x, _ in inside], "y": [y for _, y in inside],
              "cliponaxis": False, "marker": {"color": "--ink", "size": 10, "symbol": "x"}}  # fmt: skip
    layout = {
        "xaxis": figures.axis("towards the second image", range=ends, constrain="domain"),
        "yaxis": figures.axis("towards the third", range=ends),
    }
    figure = {"switches": [], "views": {"": {"data": [*data, images], "layout": layout}}, "square": 640}
    return "plane", "The first plane", "Each polygon is one linear function; colours are the answers in their middle.", figure
