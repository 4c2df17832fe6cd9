"""How many images change their class when a single pixel changes: a search by differential evolution that sees only the answers.

    child_i = r_1 + F (r_2 - r_3),  F = 0.5;  a candidate is (row, column, one value a channel) for each pixel it changes

r_1, r_2, r_3 are three different candidates; the child takes the place of candidate i where the true class stands worse with it.
Source: Su et al. 2017, https://arxiv.org/abs/1710.08864; differential evolution: Storn and Price 1997.
Differs: candidates are ranked by the margin, the logit of the true class less the highest other, which does not go flat where a
probability saturates; the search for an image ends when its answer changes; the default budget is smaller than the paper's
population of 400 in 100 generations.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UsageError
from ..metrics import wilson
from . import figures
from ._registry import Subject, View, views

SCALE = 0.5  # F of differential evolution
GREY, SPREAD = 128.0, 127.0  # of the first colours


@views(images=30, paper="arxiv:1710.08864")
def one_pixel(subject: Subject, *, pixels: int = 1, population: int = 100, generations: int = 30) -> View:
    """Search, for every image that is answered right, one pixel or a few that change the answer.

    At most population x (generations + 1) questions are asked of the network for each image.

    Raises: UsageError for a budget without a search, or when the network answers none of the images right.
    """
    height, width = subject.input.size
    if not 1 <= pixels <= height * width or population < 4 or generations < 0:
        raise UsageError(
            f"one_pixel needs 1 <= pixels <= {height * width}, population from 4 and generations from 0, "
            f"got {pixels}, {population}, {generations}"
        )
    before = subject.logits(subject.x)
    right = (before.argmax(1) == subject.labels).nonzero()[:, 0]
    if not len(right):
        raise UsageError(f"one_pixel attacks images that are answered right, and none of these {len(subject.labels)} is")
    found = attack(subject, right, pixels, population, generations)
    sure = before.double().softmax(1)
    rows = []
    for place, i in enumerate(right.tolist()):
        answer, truth = int(found.answers[place]), int(subject.labels[i])
        changed = [{"row": int(p[0]), "column": int(p[1]), "value": [int(v) for v in p[2:]]} for p in found.best[place].tolist()]
        rows.append({
            "image": i, "truth": subject.classes[truth], "answer": subject.classes[answer], "fooled": answer != truth,
            "confidence": float(sure[i, truth]), "confidence_after": float(found.confidence[place]),
            "questions": int(found.questions[place]), "pixels": changed,
        })  # fmt: skip
    fooled = sum(row["fooled"] for row in rows)
    low, high = wilson(fooled, len(rows))
    values = {
        "attacked": len(rows), "fooled": fooled, "rate": fooled / len(rows), "interval": [low, high], "pixels": pixels,
        "budget": population * (generations + 1), "images": rows,
    }  # fmt: skip
    asked = float(found.questions.double().mean())
    said = (
        f"{fooled} of {len(rows)} images change class: {100 * fooled / len(rows):.1f} %  [{100 * low:.1f}, {100 * high:.1f}]",
        f"at most {population * (generations + 1):,} questions an image, {asked:,.0f} on average",
    )
    return View(values, said, drawn(rows, subject.input.size))


@dataclass(frozen=True)
class Attack:
    """The best candidate of every image. Shape: best [N, pixels, 2 + C], answers, confidence and questions [N]."""

    best: Tensor
    answers: Tensor
    confidence: Tensor
    questions: Tensor


def attack(subject: Subject, which: Tensor, pixels: int, population: int, generations: int) -> Attack:
    """Search for all images at once, each with a population of its own. Shape: which [N], the numbers of the images."""
    height, width = subject.input.size
    channels, random = subject.input.channels, subject.generator()
    top = torch.tensor([height - 1.0, width - 1.0, *[255.0] * channels])
    crowd = torch.empty(len(which), population, pixels, 2 + channels)
    crowd[..., :2] = torch.rand(crowd[..., :2].shape, generator=random) * torch.tensor([height, width]) - 0.5
    crowd[..., 2:] = GREY + SPREAD * torch.randn(crowd[..., 2:].shape, generator=random)
    crowd = crowd.clamp(torch.zeros_like(top), top)
    margin = margins(subject, which, crowd)
    questions = torch.full((len(which),), population)
    for _ in range(generations):
        active = (margin.min(1).values >= 0).nonzero()[:, 0]
        if not len(active):
            break
        parents = three_others(len(active), population, random)
        old = crowd[active]
        one, two, three = (old[torch.arange(len(active))[:, None], parents[..., i]] for i in range(3))
        children = (one + SCALE * (two - three)).clamp(torch.zeros_like(top), top)
        theirs = margins(subject, which[active], children)
        better = theirs < margin[active]
        crowd[active] = torch.where(better[..., None, None], children, old)
        margin[active] = torch.where(better, theirs, margin[active])
        questions[active] += population
    best = crowd[torch.arange(len(which)), margin.argmin(1)].round()
    z = subject.logits(subject.normalised(painted(subject.pixels[which], best[:, None])))
    labels = subject.labels[which]
    return Attack(best, z.argmax(1).cpu(), z.double().softmax(1).gather(1, labels[:, None])[:, 0].cpu(), questions)


def three_others(crowds: int, population: int, random: torch.Generator) -> Tensor:
    """Three different candidates for every candidate, none of them itself. Shape: [crowds, population, 3]."""
    taken = torch.arange(population).expand(crowds, population)[..., None]
    for left in range(population - 1, population - 4, -1):
        drawn = (torch.rand(crowds, population, generator=random, dtype=torch.float64) * left).long()
        for excluded in taken.sort(-1).values.unbind(-1):  # the drawn one counts those that are left
            drawn = drawn + (drawn >= excluded)
        taken = torch.cat([taken, drawn[..., None]], -1)
    return taken[..., 1:]


def margins(subject: Subject, which: Tensor, crowd: Tensor) -> Tensor:
    """The logit of the true class less the highest other: below 0 the image is fooled. Shape: [N, P, pixels, 2 + C] -> [N, P]."""
    found = []
    for i, candidates in zip(which.tolist(), crowd, strict=True):
        z = subject.logits(subject.normalised(painted(subject.pixels[i : i + 1], candidates[None])))
        truth = subject.labels[i]
        others = z.clone()
        others[:, truth] = -torch.inf
        found.append(z[:, truth] - others.max(1).values)
    return torch.stack(found).cpu()


def painted(images: Tensor, candidates: Tensor) -> Tensor:
    """Every candidate on its image. Shape: uint8 [B, H, W, C], [B, P, pixels, 2 + C] -> uint8 [B P, H, W, C]."""
    many, count, pixels, _ = candidates.shape
    out = images.repeat_interleave(count, 0)
    place = candidates.flatten(0, 1).round().to(out.device)
    rows = torch.arange(many * count, device=out.device)
    for j in range(pixels):
        out[rows, place[:, j, 0].long(), place[:, j, 1].long()] = place[:, j, 2:].to(torch.uint8)
    return out


def drawn(rows: list[dict], size: tuple[int, int]) -> tuple:
    """Where the pixels are that fool, and how sure the network still is of the true class."""
    dots = []
    for colour, fooled, name in ((3, True, "fooled"), (5, False, "held")):
        points = [(p["column"], p["row"], row) for row in rows if row["fooled"] is fooled for p in row["pixels"]]
        texts = [
            f"{figures.escape(row['truth'])} → {figures.escape(row['answer'])}, image {row['image']}" for _, _, row in points
        ]
        dots.append({
            "type": "scatter", "mode": "markers", "name": name, "x": [x for x, _, _ in points], "y": [y for _, y, _ in points],
            "text": texts, "hovertemplate": "%{text}<br>row %{y}, column %{x}<extra></extra>",
            "marker": {"color": figures.COLOURS[colour], "size": 9, "symbol": "circle" if fooled else "circle-open"},
        })  # fmt: skip
    x = figures.axis("column", range=[-0.5, size[1] - 0.5], constrain="domain")
    y = figures.axis("row", range=[size[0] - 0.5, -0.5])
    places = {"switches": [], "views": {"": {"data": dots, "layout": {"xaxis": x, "yaxis": y}}}, "square": 520}
    order = sorted(rows, key=lambda row: row["confidence_after"])
    lines = [
        figures.line(
            range(1, len(rows) + 1),
            [row[key] for row in order],
            name,
            colour,
            mode="markers",
            marker={"color": figures.COLOURS[colour]},
        )
        for key, name, colour in (("confidence", "before", 5), ("confidence_after", "after", 3))
    ]
    sure = figures.plot(lines, figures.axis("image"), figures.axis("probability of the true class", range=[-0.03, 1.03]))
    return (
        ("places", "The changed pixels", "The best candidate of every image that was attacked.", places),
        ("confidence", "How sure it was", "Before and after the change, images in order of what is left.", sure),
    )
