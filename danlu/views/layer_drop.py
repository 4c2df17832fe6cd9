"""What is lost when a block is left out of a trained network: next to nothing in a residual net, everything in a plain one.

    y = x + F(x)  becomes  y = x

F, the residual branch, answers zeros; where the map changes its size the shortcut stays what it is. A step of a plain net that
keeps the shape of its map becomes the identity. First each block alone, then several at random: a residual net loses little by
little, as an ensemble of the shallow nets inside it would.

Source: Veit et al. 2016, https://arxiv.org/abs/1605.06431, sections 4.1 and 4.2.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..edits._units import branch_ends, units
from ..errors import UsageError
from ..metrics import paired_difference
from . import figures
from ._registry import Subject, View, views

POINTS = 12  # numbers of blocks on the curve, at most


@dataclass(frozen=True)
class Block:
    """What can be left out: the branch that ends in `name`, or the plain step from `name` to `last`."""

    name: str
    last: str
    residual: bool


@views(images=500, paper="arxiv:1605.06431")
def layer_drop(subject: Subject, *, draws: int = 5) -> View:
    """Accuracy without each block alone, and without several, the mean of `draws` random choices.

    Raises: UsageError for a network without such blocks.
    """
    if draws < 1:
        raise UsageError(f"layer_drop: draws must be at least 1, got {draws}")
    found = blocks(subject.model)
    if not found:
        raise UsageError("layer_drop finds no residual branch and no step that keeps the shape of its map in this network")
    x = subject.x
    whole = subject.logits(x)
    right = (whole.argmax(1) == subject.labels).cpu().numpy()
    rows = []
    for block in found:
        with without(subject.model, [block]):
            z = subject.logits(x)
        difference = paired_difference((z.argmax(1) == subject.labels).cpu().numpy(), right)
        rows.append(
            {"block": block.name, "residual": block.residual, "accuracy": subject.accuracy(z), "difference": list(difference)}
        )
    curve = several(subject, x, found, draws)
    accuracy = subject.accuracy(whole)
    values = {"accuracy": accuracy, "blocks": rows, "several": curve}
    return View(values, spoken(accuracy, rows), drawn(accuracy, rows, curve))


def several(subject: Subject, x: Tensor, found: Sequence[Block], draws: int) -> list[dict[str, Any]]:
    """Accuracy without k blocks, over random choices of them."""
    random = np.random.default_rng(subject.seed)
    curve = []
    for k in np.unique(np.linspace(0, len(found), min(len(found) + 1, POINTS)).round().astype(int)).tolist():
        scores = []
        for _ in range(draws if 0 < k < len(found) else 1):
            with without(subject.model, [found[i] for i in random.permutation(len(found))[:k]]):
                scores.append(subject.accuracy(subject.logits(x)))
        curve.append({"left_out": k, "accuracy": float(np.mean(scores)), "lowest": min(scores), "highest": max(scores)})
    return curve


def blocks(model: nn.Module) -> list[Block]:
    """What can be left out, residual branches and plain steps, in the order of the modules."""
    found = [Block(name, name, True) for name in branch_ends(model)]
    for unit in units(model):
        if not unit.residual and unit.keeps_shape:
            found.append(Block(unit.names[0], unit.names[-1], False))
    order = {name: i for i, (name, _) in enumerate(model.named_modules())}
    return sorted(found, key=lambda block: order[block.name])


@contextmanager
def without(model: nn.Module, left_out: Sequence[Block]) -> Iterator[None]:
    """Inside, the blocks are left out; hooks do it, and are taken away again."""
    with ExitStack() as stack:
        for block in left_out:
            for handle in hooked(model, block):
                stack.callback(handle.remove)
        yield


def hooked(model: nn.Module, block: Block) -> list[torch.utils.hooks.RemovableHandle]:
    """Leave out one block."""
    last = model.get_submodule(block.last)
    if block.residual:
        return [last.register_forward_hook(lambda module, taken, given: torch.zeros_like(given))]
    held: list[Tensor] = []
    keep = model.get_submodule(block.name).register_forward_pre_hook(lambda module, taken: held.append(taken[0].clone()))
    return [keep, last.register_forward_hook(lambda module, taken, given: held.pop())]


def spoken(accuracy: float, rows: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """For people: the block that matters most and the one that matters least, of each kind."""
    said = [f"accuracy {100 * accuracy:.1f} % with all blocks"]
    for residual, kind in ((True, "residual branch"), (False, "plain step")):
        some = sorted((row for row in rows if row["residual"] is residual), key=lambda row: row["accuracy"])
        if some:
            mean = sum(row["accuracy"] for row in some) / len(some)
            said.append(
                f"without one {kind} of {len(some)}: {100 * mean:.1f} % on average, {100 * some[0]['accuracy']:.1f} % without "
                f"{some[0]['block']}, {100 * some[-1]['accuracy']:.1f} % without {some[-1]['block']}"
            )
    return tuple(said)


def drawn(accuracy: float, rows: Sequence[dict[str, Any]], curve: Sequence[dict[str, Any]]) -> tuple:
    """A bar for every block, and the curve."""
    bars = {
        "type": "bar", "x": [figures.escape(row["block"]) for row in rows], "y": [100 * row["accuracy"] for row in rows],
        "marker": {"color": ["--accent" if row["residual"] else "--int8" for row in rows]}, "showlegend": False,
        "hovertemplate": "without %{x}: %{y:.2f} %<extra></extra>",
    }  # fmt: skip
    names = [figures.escape(row["block"]) for row in rows]
    level = figures.line([names[0], names[-1]], [100 * accuracy] * 2, "all blocks", 5, mode="lines")
    alone = figures.plot(
        [bars, level],
        figures.axis("left out", type="category"),
        figures.axis("accuracy", ticksuffix=" %", rangemode="tozero"),
        460,
    )
    x = [point["left_out"] for point in curve]
    band = [
        {"type": "scatter", "mode": "lines", "x": x, "y": [100 * point[key] for point in curve], "line": {"width": 0},
         "showlegend": False, "hoverinfo": "skip", **more}
        for key, more in (("lowest", {}), ("highest", {"fill": "tonexty", "fillcolor": "--bar"}))
    ]  # fmt: skip
    mean = figures.line(x, [100 * point["accuracy"] for point in curve], "mean")
    y = figures.axis("accuracy", ticksuffix=" %", rangemode="tozero")
    return (
        ("alone", "One block left out", "Residual branches are blue, plain steps orange.", alone),
        ("several", "Several left out", "Mean, lowest and highest over random choices.",
         figures.plot([*band, mean], figures.axis("blocks left out", tickvals=x), y)),
    )  # fmt: skip
