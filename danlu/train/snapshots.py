"""Snapshot ensembles: train once, keep several networks: the weights at each minimum of a rate that restarts.

    rate at step t of T, with M snapshots:  that of the schedule at step t - a_k of a_(k+1) - a_k,   a_k = floor(k T / M) <= t
    cosine:  lr / 2 (cos(pi (t - a_k) / (a_(k+1) - a_k)) + 1)

Each cycle ends at a low rate, in a minimum, and the restart throws the weights out of it, so that the next minimum is another and
errs elsewhere. Averaging the answers of the M networks costs M times one at inference, and one training.

Source: Huang et al. 2017, Snapshot ensembles: train 1, get M for free, https://arxiv.org/abs/1704.00109.
Differs: cycles may be a step shorter than ceil(T / M), so that all of them are whole; the warm-up, where there is one, is that of
the first cycle.
"""

import copy
import re
from bisect import bisect_right
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from ..data import Source
from ..encodings import settled
from ..errors import UsageError

FOLDER = "snapshots"


def run_for(run: Path | None, model: nn.Module) -> Path:
    """The run folder, where snapshots of such a net can be stored.

    Raises: UsageError without a folder, and for a net without a recipe or one that is not settled.
    """
    if run is None:
        raise UsageError("snapshots are written into a run folder: give run=...")
    if getattr(model, "danlu_recipe", None) is None:
        raise UsageError("snapshots are saved with the recipe of their net, and this one has none; make it with danlu.create")
    if not settled(model):
        raise UsageError("a net that is still being pruned or quantised while it trains is not ready at each snapshot")
    return Path(run)


class Snapshots:
    """The cycles of a training of `total` steps, and the files of their ends: snapshots/1.safetensors, ... in the run folder.

    `model` is the net that was asked for: what is stored is a copy of it, without what a training hangs on its own.

    Raises: UsageError for more cycles than steps.
    """

    def __init__(self, run: Path, count: int, total: int, model: nn.Module) -> None:
        if total < count:
            raise UsageError(f"{count} snapshots need at least as many steps; this training has {total}")
        self.folder, self._asked = run / FOLDER, model
        self.begins = [total * number // count for number in range(count + 1)]

    def cycle(self, step: int) -> tuple[int, int, int]:
        """Of a coming step: its cycle, from 0, its place in it, and how long that is."""
        number = bisect_right(self.begins, step) - 1
        return number, step - self.begins[number], self.begins[number + 1] - self.begins[number]

    def end(self, step: int) -> int:
        """The number, from 1, of the snapshot that is due after so many steps; 0 where none is."""
        return self.begins.index(step) if step in self.begins else 0

    def keep(self, number: int, weights: Mapping[str, Tensor], source: Source) -> Path:
        """Store a network with these weights as `danlu evaluate` and `danlu.load` read it."""
        from ..codec import save

        net = copy.deepcopy(self._asked)
        net.load_state_dict({name: weights[name] for name in net.state_dict()})
        return save(net, self.folder / f"{number}.safetensors", input=source.input, classes=source.classes)

    def clear(self) -> None:
        """Forget the snapshots of another training."""
        for path in self.folder.glob("*") if self.folder.is_dir() else ():
            if re.fullmatch(r"\d+\.(safetensors|json)", path.name):
                path.unlink()
