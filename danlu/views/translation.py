"""How far an image may move before the network changes its mind: its answers at every shift, as a map.

    distance(dy, dx) = mean_i |z(shift(x_i, dy, dx)) - z(x_i)| / median |z(x_i) - z(x_j)| over images of different classes

1 means that the shift moves the outputs as far as another class would. Beside it stand accuracy, the mean probability of the true
class, and the share of images whose answer is that of the image in its place.

Source: Kauderer-Abrams 2018, https://arxiv.org/abs/1801.01450.
Differs: the paper compares features on a large canvas; here it is the outputs, and `fill` says what comes in at the border.
"""

from typing import Literal

import torch
from torch import Tensor

from ..errors import UsageError
from . import figures
from ._registry import Subject, View, views


@views(images=200, paper="arxiv:1801.01450")
def translation(subject: Subject, *, shift: int = 4, step: int = 1, fill: Literal["edge", "black", "mean"] = "edge") -> View:
    """The answers when the images are moved, by up to `shift` pixels each way in steps of `step`.

    Shape: maps [2 s + 1, 2 s + 1] with s = shift // step, rows by dy (down), columns by dx (to the right)
    Raises: UsageError for shifts that leave nothing of the image, or images of one class only.
    """
    most = min(subject.input.size) - 1
    if not 1 <= shift <= most or not 1 <= step <= shift:
        raise UsageError(f"translation: 1 <= step <= shift <= {most} pixels is needed, got step={step}, shift={shift}")
    x, fillers = subject.x, {"edge": None, "mean": 0.0, "black": subject.normalised(torch.zeros_like(subject.pixels[:1]))[0]}
    in_place = subject.logits(x)
    scale = between_classes(in_place, subject.labels)
    moves = [step * i for i in range(-(shift // step), shift // step + 1)]
    found: dict[str, list[list[float]]] = {"accuracy": [], "confidence": [], "agreement": [], "distance": []}
    for dy in moves:
        rows: dict[str, list[float]] = {name: [] for name in found}
        for dx in moves:
            z = subject.logits(moved(x, dy, dx, fillers[fill]))
            rows["accuracy"].append(subject.accuracy(z))
            rows["confidence"].append(float(z.double().softmax(1).gather(1, subject.labels[:, None]).mean()))
            rows["agreement"].append(float((z.argmax(1) == in_place.argmax(1)).double().mean()))
            rows["distance"].append(float((z - in_place).double().norm(dim=1).mean()) / scale)
        for name, row in rows.items():
            found[name].append(row)
    rings = by_radius(moves, found)
    values = {"shifts": moves, "fill": fill, "maps": found, "by_radius": rings}
    far = rings[-1]
    said = (
        f"accuracy {100 * rings[0]['accuracy']:.1f} % in place, {100 * far['accuracy']:.1f} % at {far['radius']} pixels",
        f"{100 * far['agreement']:.1f} % of the answers at {far['radius']} pixels are those of the image in its place",
    )
    caption = "Each cell is the mean over all images, moved by so many pixels to the right and down."
    lines = [
        figures.line([ring["radius"] for ring in rings], [ring[name] for ring in rings], name, i) for i, name in enumerate(found)
    ]
    curves = figures.plot(lines, figures.axis("pixels moved"), figures.axis("mean", rangemode="tozero"))
    return View(
        values,
        said,
        (
            ("map", "Sensitivity to translation", caption, figures.maps(found, moves, moves, "to the right", "down")),
            ("radius", "By distance", "The mean over all shifts of about this length.", curves),
        ),
    )


def moved(x: Tensor, dy: int, dx: int, fill: Tensor | float | None) -> Tensor:
    """The images `dy` pixels lower and `dx` further right; None repeats the pixels of the edge. Shape: [B, C, H, W] -> same."""
    rows, columns = (torch.arange(n, device=x.device) - by for n, by in ((x.shape[2], dy), (x.shape[3], dx)))
    out = x[:, :, rows.clamp(0, x.shape[2] - 1)][:, :, :, columns.clamp(0, x.shape[3] - 1)]
    if fill is None:
        return out
    inside = ((rows >= 0) & (rows < x.shape[2]))[:, None] & ((columns >= 0) & (columns < x.shape[3]))
    return torch.where(inside, out, torch.as_tensor(fill, dtype=x.dtype, device=x.device))


def between_classes(z: Tensor, labels: Tensor) -> float:
    """The median distance of two outputs of different classes. Shape: z [N, K], labels [N]. Raises UsageError for one class."""
    apart = labels[:, None] != labels
    if not apart.any():
        raise UsageError(f"translation compares with the distance between classes, and all {len(labels)} images are of one class")
    median = float(torch.cdist(z.double(), z.double())[apart].median())
    if median == 0:
        raise UsageError("translation: the network gives images of different classes the same outputs; it has learned nothing")
    return median


def by_radius(moves: list[int], found: dict[str, list[list[float]]]) -> list[dict[str, float]]:
    """The mean of each map over the shifts whose length rounds to the same number of steps, up to the longest axis."""
    step = moves[1] - moves[0]
    rings: dict[int, list[tuple[int, int]]] = {}
    for i, dy in enumerate(moves):
        for j, dx in enumerate(moves):
            rings.setdefault(step * round((dy * dy + dx * dx) ** 0.5 / step), []).append((i, j))
    kept = sorted(radius for radius in rings if radius <= moves[-1])
    return [
        {"radius": radius}
        | {name: sum(table[i][j] for i, j in rings[radius]) / len(rings[radius]) for name, table in found.items()}
        for radius in kept
    ]
