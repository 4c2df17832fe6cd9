"""What is lost when the blocks of a trained residual net change places: little, if the net is many shallow nets added up.

    tau = (pairs of blocks in their old order - pairs in the other order) / all pairs

Random pairs of blocks that take each other's maps, of one stage, are swapped one after the other; the accuracy falls as the order
gets lost, which Kendall's tau measures: 1 is the trained order, 0 none.

Source: Veit et al. 2016, https://arxiv.org/abs/1605.06431, section 4.3.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import nn

from ..edits._units import units
from ..errors import UsageError
from . import figures
from ._registry import Subject, View, views

Stage = tuple[str, list[str]]  # a nn.Sequential and the keys of its blocks that can change places


@views(images=500, paper="arxiv:1605.06431")
def layer_shuffle(subject: Subject, *, swaps: int = 10, draws: int = 5) -> View:
    """Accuracy when residual blocks trade places: after 1 to `swaps` swaps, for `draws` random sequences of them.

    Raises: UsageError for a network without two residual blocks that take each other's maps.
    """
    if swaps < 1 or draws < 1:
        raise UsageError(f"layer_shuffle: swaps and draws must be at least 1, got {swaps} and {draws}")
    found = stages(subject.model)
    if not found:
        raise UsageError("layer_shuffle finds no two residual blocks of one shape in a row in this network")
    x, random = subject.x, np.random.default_rng(subject.seed)
    accuracy = subject.accuracy(subject.logits(x))
    rows: list[dict[str, Any]] = []
    for _ in range(draws):
        orders = [list(range(len(keys))) for _, keys in found]
        for swap in range(1, swaps + 1):
            pairs = np.array([len(order) * (len(order) - 1) / 2 for order in orders])
            order = orders[random.choice(len(orders), p=pairs / pairs.sum())]
            i, j = random.permutation(len(order))[:2]
            order[i], order[j] = order[j], order[i]
            with reordered(subject.model, found, orders):
                rows.append({"swaps": swap, "tau": kendall(orders), "accuracy": subject.accuracy(subject.logits(x))})
    after = [{"swaps": k, **{key: mean_of(rows, k, key) for key in ("tau", "accuracy")}} for k in range(1, swaps + 1)]
    blocks = sum(len(keys) for _, keys in found)
    values = {"accuracy": accuracy, "blocks": blocks, "orders": rows, "mean": after}
    said = (
        f"accuracy {100 * accuracy:.1f} % in the trained order of {blocks} blocks that can change places",
        *(f"{100 * after[k]['accuracy']:.1f} % after {k + 1} swaps, tau {after[k]['tau']:.2f}" for k in sorted({0, swaps - 1})),
    )
    dots = figures.line(
        [row["tau"] for row in rows], [100 * row["accuracy"] for row in rows], "an order", mode="markers",
        text=[f"{row['swaps']} swaps" for row in rows], hovertemplate="%{text}<br>tau %{x:.2f}: %{y:.1f} %<extra></extra>",
    )  # fmt: skip
    trained = figures.line(
        [1.0], [100 * accuracy], "trained", 3, mode="markers", marker={"size": 10, "color": figures.COLOURS[3]}
    )
    x_axis = figures.axis("Kendall's tau of the order", autorange="reversed")
    drawn = figures.plot([dots, trained], x_axis, figures.axis("accuracy", ticksuffix=" %", rangemode="tozero"))
    return View(
        values, said, (("orders", "Blocks in other orders", "Each dot is an order, the trained one on the left.", drawn),)
    )


def stages(model: nn.Module) -> list[Stage]:
    """The runs of residual blocks that keep the shape of their map, with at least two in one nn.Sequential."""
    found: dict[tuple[str, int, int], list[str]] = {}
    for unit in units(model):
        if unit.residual and unit.keeps_shape and unit.first == unit.last:
            found.setdefault((unit.parent, unit.stage, unit.in_channels), []).append(unit.names[0].rpartition(".")[2])
    return [(parent, keys) for (parent, _, _), keys in found.items() if len(keys) > 1]


@contextmanager
def reordered(model: nn.Module, found: Sequence[Stage], orders: Sequence[Sequence[int]]) -> Iterator[None]:
    """Inside, block `order[i]` of each stage runs in place i."""
    places = [(model.get_submodule(parent), keys) for parent, keys in found]
    before = [[parent.get_submodule(key) for key in keys] for parent, keys in places]
    try:
        for (parent, keys), blocks, order in zip(places, before, orders, strict=True):
            for key, which in zip(keys, order, strict=True):
                parent._modules[key] = blocks[which]
        yield
    finally:
        for (parent, keys), blocks in zip(places, before, strict=True):
            parent._modules.update(zip(keys, blocks, strict=True))


def kendall(orders: Sequence[Sequence[int]]) -> float:
    """Kendall's tau of a net's blocks with their trained order; those of different stages keep theirs."""
    whole: list[int] = []
    for order in orders:
        whole += [len(whole) + which for which in order]
    place = np.array(whole)
    rising = np.sign(place[None, :] - place[:, None])[np.triu_indices(len(place), 1)]
    return float(rising.mean())


def mean_of(rows: Sequence[dict[str, Any]], swaps: int, key: str) -> float:
    """The mean over the draws after so many swaps."""
    return float(np.mean([row[key] for row in rows if row["swaps"] == swaps]))
