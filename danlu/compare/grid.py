"""The grid: every combination of the values, each a cell with its network and its training settings, checked before any runs."""

import copy
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..cost import profile
from ..data import Source
from ..errors import DanluError, UsageError
from ..tasks import classify
from ..train import TrainConfig
from ..train.job import batch_of, head_names, private_copy
from ..train.state import State
from ..units import parse_seconds
from ..zoo import create
from .vary import EDIT, RECIPE, check_name, check_value, check_vary, show_value

DEFAULT = "resnet20"  # the network where none is named: it takes any images and any optimiser
MOST_RUNS = 1000
SHORTEST_RUN = 2.0  # seconds, below which a training is all preparation
SHARE = 0.93  # of a time budget that is for the runs; the rest is for judging, storing and the report


@dataclass(frozen=True)
class Cell:
    """One combination. `values` are those that vary; `config` has the first seed."""

    id: int
    values: dict[str, Any]
    recipe: str
    config: TrainConfig

    @property
    def label(self) -> str:
        """`optimizer=adam, schedule=step`."""
        return label_of(self.values)

    @property
    def short(self) -> str:
        """`adam · step`."""
        return " · ".join(map(show_value, self.values.values()))


@dataclass(frozen=True)
class Grid:
    """A grid that was checked as far as that is possible without images. `total` is the time of all runs in seconds."""

    axes: dict[str, list[Any]]
    settings: dict[str, Any]
    budget: dict[str, float]
    total: float | None
    cells: list[Cell]


def check(
    recipe: str | None, vary: Mapping[str, Iterable[Any]], settings: Mapping[str, Any] | None, *, seeds: int = 3,
    epochs: int | None = None, steps: int | None = None, time: str | float | None = None, seed: int = 0,
) -> Grid:  # fmt: skip
    """Everything about a grid that can be said before its images are read. The arguments are those of `compare`.

    Raises UsageError as `compare` does.
    """
    axes = check_vary(vary)
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        raise UsageError(f"seeds must be a whole number from 1, got {seeds!r}")
    total = parse_seconds(time) if isinstance(time, str) else time
    given = {name: value for name, value in (("epochs", epochs), ("steps", steps), ("time", total)) if value is not None}
    if len(given) != 1:
        got = ", ".join(f"{name}={value:g}" for name, value in given.items()) or "none"
        raise UsageError(f"all runs have one budget: give exactly one of epochs, steps and time, got {got}")
    share = share_of(axes, seeds, total)
    budget = given if share is None else {"seconds": share}
    fixed = {(known := check_name(name)): check_value(known, value) for name, value in (settings or {}).items()}
    return Grid(axes, fixed, budget, total, make_cells(recipe, axes, fixed, budget, seed))


def label_of(values: Mapping[str, Any]) -> str:
    """`optimizer=adam, schedule=step`."""
    return ", ".join(f"{name}={show_value(value)}" for name, value in values.items())


def make_cells(
    recipe: str | None, axes: Mapping[str, Sequence[Any]], settings: Mapping[str, Any], budget: Mapping[str, float], seed: int
) -> list[Cell]:
    """Every combination of the axes over the other settings; of `DEFAULT` where no network is named.

    Raises UsageError that names the combination where one cannot be trained.
    """
    for name in axes:
        if name in settings:
            raise UsageError(f"{name} is both set to {show_value(settings[name])} and varied; leave one out")
    if RECIPE in axes and recipe is not None:
        raise UsageError(f"the network is both given ({recipe}) and varied; leave one out")
    if RECIPE in settings or EDIT in settings:
        raise UsageError("the network and its edits are written as the RECIPE, not as a setting")
    cells, wrong = [], []
    for id, combination in enumerate(itertools.product(*axes.values())):
        values = dict(zip(axes, combination, strict=True))
        network = str(values.get(RECIPE, recipe or DEFAULT))
        if values.get(EDIT):
            network = f"{network} | {values[EDIT]}"
        own = {name: value for name, value in values.items() if name not in (RECIPE, EDIT)}
        try:
            cells.append(Cell(id, values, network, TrainConfig(**{**settings, **own, **budget, "seed": seed})))
        except UsageError as error:
            wrong.append(f"{label_of(values)}: {error}")
    if wrong:
        more = f" (and {len(wrong) - 1} more of the {len(wrong) + len(cells)} combinations)" if len(wrong) > 1 else ""
        raise UsageError(f"this combination cannot be trained{more}: {wrong[0]}")
    return cells


def share_of(axes: Mapping[str, Sequence[Any]], seeds: int, seconds: float | None) -> float | None:
    """The seconds of each run, where there is a time for all; None else. Raises UsageError for a grid that is too large."""
    runs = seeds
    for values in axes.values():
        runs *= len(values)
    grid = " x ".join(f"{len(values)} {name}" for name, values in axes.items()) + f" x {seeds} seeds = {runs:,} runs"
    if runs > MOST_RUNS:
        raise UsageError(f"the grid is too large: {grid}, and at most {MOST_RUNS:,} are compared; vary less at once")
    if seconds is None:
        return None
    share = SHARE * seconds / runs
    if share < SHORTEST_RUN:
        raise UsageError(
            f"the grid is too large for {seconds:g} s: {grid} leave {share:.2g} s for each, and a run needs {SHORTEST_RUN:g} s; "
            f"vary less, take fewer seeds, or give it {SHORTEST_RUN * runs / SHARE:.0f} s"
        )
    return share


def rehearse(cells: Sequence[Cell], source: Source, device: str) -> dict[str, dict[str, int]]:
    """Build each network, and everything up to the first step of each cell; parameters and MACs by network.

    Raises UsageError that names the combination where something does not fit the network or the images.
    """
    costs: dict[str, dict[str, int]] = {}
    channels, task = source.input.channels, classify(source.classes)
    for cell in sorted(cells, key=lambda cell: cell.recipe):
        try:
            if cell.recipe not in costs:
                net = create(cell.recipe, num_classes=len(source.classes), in_channels=channels, seed=cell.config.seed)
                ready = private_copy(net, "network", source, task, device)
                counted = profile(net, input=source.input.shape)
                costs[cell.recipe] = {"params": counted.params, "macs": counted.macs}
            batch = batch_of(ready, cell.config, len(source.train))
            State(copy.deepcopy(ready), cell.config, batch=batch, head=head_names(ready, source, cell.config, device))
        except DanluError as error:
            raise UsageError(f"{cell.label}: {error}") from error
    return costs
