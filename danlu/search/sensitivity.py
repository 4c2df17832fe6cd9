"""Which layers can be compressed how far: each layer edited alone, without fine-tuning, judged on validation.

    drop(layer, level) = accuracy of the net - accuracy with this layer alone at this level

The suggestion takes for each layer the strongest level whose drop is accepted. Drops add up when all layers are edited, and
fine-tuning wins most of it back: it is where to start, not the result.

Source: Han et al. 2015, https://arxiv.org/abs/1506.02626, section 3.1 and figure 6.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..codec import load_saved
from ..data import Source, load_data
from ..edits import edit as apply
from ..edits import edits
from ..edits._encode import WEIGHTED
from ..edits.recipe import Call
from ..errors import UsageError, unknown
from ..train import evaluate


@dataclass(frozen=True)
class Kind:
    """An edit that can be scanned: its option, the levels tried from mild to strong, and whether it takes a level a layer."""

    option: str
    levels: tuple[float, ...]
    whole: bool = False


KINDS = {
    "prune": Kind("sparsity", (0.5, 0.8, 0.9, 0.95)),
    "share": Kind("bits", (6, 5, 4, 3, 2), whole=True),
    "low_rank": Kind("energy", (0.99, 0.95, 0.9, 0.8)),
}


@dataclass(frozen=True)
class Cell:
    """One layer at one level; accuracy and loss on validation. `kept` is why the edit left the layer as it was, if it did."""

    level: float
    accuracy: float | None
    loss: float | None
    drop: float | None
    accepted: bool = False
    kept: str = ""

    def __str__(self) -> str:
        return f"{self.level:g}: {'kept' if self.accuracy is None else f'{100 * self.accuracy:.1f} %'}"


@dataclass(frozen=True)
class Row:
    """One layer. `chosen` is the strongest level whose drop is accepted, None where none is."""

    name: str
    kind: str
    weights: int
    cells: list[Cell]
    chosen: float | None


@dataclass(frozen=True)
class Sensitivity:
    """A scan of all layers. `suggestion` is a recipe to paste, empty where no layer can be edited."""

    edit: str
    option: str
    levels: tuple[float, ...]
    images: int
    max_drop: float
    accuracy: float
    loss: float
    rows: list[Row]
    suggestion: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "levels": list(self.levels)}


def sensitivity(
    model: nn.Module | str | Path,
    source: Source | str | Path,
    *,
    edit: str = "prune",
    levels: Sequence[float] | None = None,
    images: int = 2000,
    max_drop: float = 0.01,
    seed: int = 0,
    device: str = "cpu",
    trust: bool = False,
    log: Callable[[str], None] = lambda _: None,
) -> Sensitivity:
    """Edit each convolution and linear layer alone at each level and judge the net on at most `images` of validation.

    `model` is a net or a saved one, `source` a Source or what `load_data` takes. `edit` is prune (levels: sparsities), share
    (bits) or low_rank (energies); `levels` go from mild to strong. `max_drop` in [0, 1] is what a layer may cost alone.

    Raises: UsageError for another edit, levels it does not take, or data of other classes.
    """
    kind = KINDS.get(edit)
    if kind is None:
        raise unknown("edit to scan", edit, KINDS)
    chosen = checked(edit, kind, levels)
    if images < 1 or not 0 <= max_drop < 1:
        raise UsageError(f"images must be at least 1 and max_drop lie in [0, 1), got {images} and {max_drop}")
    net, source = opened(model, source, seed, trust)
    order = np.random.default_rng(seed).permutation(len(source.val))[:images]
    source = replace(source, val=source.val.only(np.sort(order)))
    layers = {name: layer for name, layer in net.named_modules() if isinstance(layer, WEIGHTED)}
    accuracy, loss = judged(net, source, device)
    log(f"{len(layers)} layers x {len(chosen)} levels on {len(source.val)} validation images: {100 * accuracy:.1f} % as it is")
    rows = []
    for name, layer in layers.items():
        others = [other for other in layers if other != name]
        cells = [cell(net, edit, kind, level, name, others, source, device, accuracy, max_drop) for level in chosen]
        good = [c.level for c in cells if c.accepted]
        row = Row(name, type(layer).__name__, layer.weight.numel(), cells, good[-1] if good else None)  # type: ignore[operator]
        log(f"  {name}: " + ", ".join(map(str, cells)))
        rows.append(row)
    return Sensitivity(
        edit, kind.option, chosen, len(source.val), max_drop, accuracy, loss, rows, suggested(edit, kind, rows)
    )  # fmt: skip


def checked(name: str, kind: Kind, levels: Sequence[float] | None) -> tuple[float, ...]:
    """The levels to try. Raises UsageError for those the edit cannot take."""
    edits[name]
    found = tuple(kind.levels if levels is None else levels)
    if not found or (kind.whole and any(level != int(level) for level in found)):
        raise UsageError(f"levels of {name} are its {kind.option}, e.g. {', '.join(f'{v:g}' for v in kind.levels)}; got {found}")
    return tuple(int(level) for level in found) if kind.whole else found


def opened(model: nn.Module | str | Path, source: Source | str | Path, seed: int, trust: bool) -> tuple[nn.Module, Source]:
    """The net in eval mode, and the data as it is fed."""
    if not isinstance(source, Source):
        source = load_data(source, seed=seed)
    if isinstance(model, nn.Module):
        return model, source
    saved = load_saved(model, trust=trust)
    if saved.classes != source.classes:
        raise UsageError(f"the model knows the classes {list(saved.classes)[:8]}, the data has {list(source.classes)[:8]}")
    return saved.model, source.with_input(saved.input)


def judged(net: nn.Module, source: Source, device: str) -> tuple[float, float]:
    """(accuracy, cross-entropy) on validation."""
    scores = evaluate(net, source, split="val", device=device)
    loss = F.cross_entropy(torch.from_numpy(scores.logits), torch.from_numpy(scores.labels))
    return scores.accuracy, float(loss)


def cell(
    net: nn.Module, name: str, kind: Kind, level: float, layer: str, others: list[str], source: Source, device: str,
    before: float, max_drop: float,
) -> Cell:  # fmt: skip
    """One layer at one level."""
    example = torch.zeros(1, *source.input.shape)
    step = Call(name, {kind.option: level, **({"skip": others} if others else {})})
    outcome = apply(net, str(step), example=example)
    if not outcome.changed:
        why = next((reason for where, reason in outcome.kept if where == f"{name}: {layer}"), "the edit left it as it was")
        return Cell(level, None, None, None, kept=why)
    accuracy, loss = judged(outcome.model, source, device)
    drop = before - accuracy
    return Cell(level, accuracy, loss, drop, drop <= max_drop + 1e-9)


def suggested(name: str, kind: Kind, rows: Sequence[Row]) -> str:
    """The scan as a recipe: a level for each layer where the edit takes that, else one step for each level that was chosen."""
    chosen = {row.name: row.chosen for row in rows if row.chosen is not None}
    if not chosen:
        return ""
    if name in ("prune", "share"):
        return str(Call(name, {kind.option: chosen}))
    steps = []
    for level in dict.fromkeys(chosen.values()):
        skip = [row.name for row in rows if chosen.get(row.name) != level]
        steps.append(Call(name, {kind.option: level, **({"skip": skip} if skip else {})}))
    return " | ".join(map(str, steps))
