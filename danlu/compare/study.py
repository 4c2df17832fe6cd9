"""`compare`: a grid of settings, each combination trained with several seeds under one budget; one report of what is better.

    check every combination -> train them, seed by seed -> rank on validation -> (look at the test images, once) -> report

All combinations get the first seed before any gets the second, so that an interrupted comparison is a fair one of fewer seeds.
"""

import time as clock_time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from ..data import Input, Source, load_data
from ..errors import UsageError
from ..files import write_json
from ..runs import Run, environment
from ..train import Interrupted
from ..units import show_seconds
from .grid import DEFAULT, Cell, check, make_cells, rehearse, share_of
from .runs import Result, judge_on_test, read_result, run_cell
from .significance import METHOD, METHOD_ONE_SEED
from .summary import summarise
from .vary import RECIPE, check_value, check_vary

Log = Callable[[str], None]


@dataclass(frozen=True)
class Comparison:
    """What a comparison found; `data` is everything in result.json.

    `rows` are the combinations, the best on validation first and the failed last: `values`, `accuracy` (mean over the seeds),
    `range`, `accuracies`, `best_epoch`, `seconds`, `state` (best, level: not told apart from it, worse, failed) and `why`.
    """

    data: dict[str, Any]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The combinations, best first."""
        return list(self.data["rows"])

    @property
    def best(self) -> dict[str, Any] | None:
        """The row with the best mean accuracy on validation; None where every combination failed."""
        first = self.data["rows"][0]
        return first if first["state"] == "best" else None

    @property
    def report(self) -> Path:
        """The report to open."""
        return Path(self.data["run"]) / "report.html"

    def to_json(self) -> dict[str, Any]:
        """The object that `danlu compare --json` prints: result.json without the curves."""
        return {**{name: value for name, value in self.data.items() if name != "curves"}, "report": str(self.report)}


def compare(
    source: Source | str | Path,
    recipe: str | None = None,
    *,
    vary: Mapping[str, Iterable[Any]],
    seeds: int = 3,
    epochs: int | None = None,
    steps: int | None = None,
    time: str | float | None = None,
    settings: Mapping[str, Any] | None = None,
    test: bool = False,
    out: str | Path = "runs",
    seed: int = 0,
    device: str = "cpu",
    command: str = "",
    log: Log | None = None,
    stop: Callable[[], bool] | None = None,
) -> Comparison:
    """Train every combination of `vary` on `source` with `seeds` seeds, and say which differences are real.

    recipe    the network, `grid.DEFAULT` where none is named or varied
    vary      values by setting of TrainConfig, {"optimizer": ["sgd", "adam"], "lr": [0.1, 0.01]}; also "recipe" (networks)
              and "edit" (chains that are appended to the recipe, "" for none)
    epochs, steps, time
              exactly one: passes or steps of each run, or the time of all runs together ("10m" or seconds), in equal shares
    settings  what all combinations share, where it is not the default of TrainConfig
    test      look at the test images in the end, too; the order of the rows is made on validation all the same
    seed      the first of the seeds, and that of the splits of the data
    out       folder that run folders are made in; `resume` continues one

    Raises: UsageError, before anything is trained, for a setting, value or budget that cannot be, naming the combination;
    Interrupted when asked to stop.
    """
    grid = check(recipe, vary, settings, seeds=seeds, epochs=epochs, steps=steps, time=time, seed=seed)
    if recipe is None and RECIPE not in grid.axes:
        recipe = DEFAULT
    if not isinstance(source, Source):
        source = load_data(source, seed=seed)
    costs = rehearse(grid.cells, source, device)
    config = {
        "verb": "compare", "data": str(source.where), "recipe": recipe, "vary": plain(grid.axes),
        "settings": plain(grid.settings), "seeds": seeds, "seed": seed, "budget": grid.budget, "time": grid.total,
        "test": test, "device": device, "input": source.input.to_json(), "images": images_of(source), "costs": costs,
        "command": command,
    }  # fmt: skip
    with Run.create(out, source.name) as run:
        return Comparer(run, config, grid.cells, source, log, stop).go()


def resume(
    path: str | Path,
    *,
    source: Source | None = None,
    seeds: int | None = None,
    test: bool = False,
    log: Log | None = None,
    stop: Callable[[], bool] | None = None,
) -> Comparison:
    """Go on with the comparison in the folder `path`: finished runs are kept, the one that was training continues.

    seeds     as many as before, or more; all get the budget of a run that was set at the start
    test      look at the test images as well, also of a comparison that is finished
    source    the same images, where the comparison was given a Source that `load_data` does not make from its name

    Raises: UsageError where the folder has no comparison, or the images are not those it was made with.
    """
    config = settings_of(path)
    if seeds is not None and seeds < config["seeds"]:
        raise UsageError(f"the comparison in {path} has {config['seeds']} seeds; it can go on with more, not with {seeds}")
    config |= {"seeds": seeds or config["seeds"], "test": config["test"] or test}
    axes = check_vary(config["vary"])
    share_of(axes, config["seeds"], None)
    fixed = {name: check_value(name, value) for name, value in config["settings"].items()}
    cells = make_cells(config["recipe"], axes, fixed, config["budget"], config["seed"])
    if source is None:
        size, resize = config["input"]["size"], config["input"]["resize"]
        source = load_data(config["data"], size=tuple(size), resize=resize, seed=config["seed"])
        source = source.with_input(Input.from_json(config["input"]))  # its normalisation may have been another
    if images_of(source) != config["images"]:
        raise UsageError(f"the images in {source.where} are not those that the comparison in {path} was made with")
    with Run(Path(path)) as run:
        return Comparer(run, config, cells, source, log, stop).go()


def settings_of(path: str | Path) -> dict[str, Any]:
    """What the comparison in a folder was started with. Raises UsageError when there is none."""
    file = Path(path) / "config.yaml"
    found = yaml.safe_load(file.read_text()) if file.is_file() else None
    if not isinstance(found, dict) or found.get("verb") != "compare":
        raise UsageError(f"{path} is not the folder of a comparison: it has no config.yaml of one")
    return found


def images_of(source: Source) -> list[Any]:
    """By what the images are known again."""
    return [source.fingerprint, len(source.train), len(source.val), len(source.test)]


def plain(values: Any) -> Any:
    """Tuples as lists, which YAML has a form for."""
    if isinstance(values, Mapping):
        return {name: plain(value) for name, value in values.items()}
    return [plain(value) for value in values] if isinstance(values, list | tuple) else values


class Comparer:
    """A comparison in its run folder: what is done is read from there, what is not is trained."""

    def __init__(
        self, run: Run, config: dict[str, Any], cells: list[Cell], source: Source, log: Log | None,
        stop: Callable[[], bool] | None,
    ) -> None:  # fmt: skip
        self.run, self.config, self.cells, self.source, self.stop = run, config, cells, source, stop
        self.show = log or (lambda text: None)
        self.seeds = range(config["seed"], config["seed"] + config["seeds"])
        self.tunes: dict[str, dict[str, str]] = {}

    def say(self, text: str) -> None:
        """A line for people and for log.txt."""
        self.run.log(text)
        self.show(text)

    def home(self, cell: Cell, seed: int) -> Path:
        """The folder of a run."""
        return self.run.path / "cells" / f"{cell.id:03d}" / f"seed-{seed}"

    def go(self) -> Comparison:
        """Train, rank, report."""
        from .page import write_report

        self.run.write_config(self.config)
        everything = [(cell, seed) for seed in self.seeds for cell in self.cells]
        self.say(
            f"{self.source.name}: {len(self.cells)} combinations x {len(self.seeds)} seeds = {len(everything)} runs, "
            f"{self.budget}; {self.run.path}"
        )
        results = self.train(everything)
        if self.config["test"]:
            self.say(f"the {len(self.source.test):,} test images, once")
            homes = [self.home(cell, seed) for cell, seed in everything]
            device = self.config["device"]
            results = [judge_on_test(one, home, self.source, device) for one, home in zip(results, homes, strict=True)]
        data = self.answer(results)
        write_json(self.run.path / "result.json", data)
        write_report(self.run.path, data)
        self.say(f"report: {self.run.path / 'report.html'}")
        return Comparison(data)

    @property
    def budget(self) -> str:
        """The budget of a run in words: `5 epochs each`."""
        ((name, value),) = self.config["budget"].items()
        if name == "seconds":
            return f"{show_seconds(value)} each, {show_seconds(self.config['time'])} in all"
        return f"{value} {name if value > 1 else name[:-1]} each"

    def train(self, everything: list[tuple[Cell, int]]) -> list[Result]:
        """Every run, those on disk first read and then left alone."""
        known = [read_result(self.home(cell, seed)) for cell, seed in everything]
        for (cell, _), result in zip(everything, known, strict=True):
            if result is not None and not result.why:
                self.tunes.setdefault(cell.recipe, result.tune)
        kept = sum(result is not None for result in known)
        if kept:
            self.say(f"{kept} run{'s are' if kept > 1 else ' is'} done and kept")
        found, taken = [], []
        for number, ((cell, seed), result) in enumerate(zip(everything, known, strict=True), 1):
            if result is None:
                started = clock_time.monotonic()
                result = self.one(cell, seed, f"run {number} of {len(everything)}: {cell.label}, seed {seed}")
                taken.append(clock_time.monotonic() - started)
                left = fmean(taken) * sum(result is None for result in known[number:])
                self.say(f"  {ended(result)}" + (f"; about {show_seconds(left)} to go" if left else ""))
            found.append(result)
        return found

    def one(self, cell: Cell, seed: int, name: str) -> Result:
        """One run."""
        self.say(name)

        def on_epoch(row: dict[str, Any]) -> None:
            self.run.metric(cell=cell.id, seed=seed, **row)

        try:
            result = run_cell(
                cell, seed, self.home(cell, seed), self.source, tune=self.tunes.get(cell.recipe, {}),
                device=self.config["device"], stop=self.stop, on_epoch=on_epoch, log=self.run.log,
            )  # fmt: skip
        except Interrupted as error:
            how = f"danlu compare --resume {self.run.path}"
            raise Interrupted(f"the comparison was interrupted in {name}; continue it with {how}", error.exit_code) from error
        if not result.why:
            self.tunes.setdefault(cell.recipe, result.tune)
        return result

    def answer(self, results: list[Result]) -> dict[str, Any]:
        """result.json."""
        kept = ("data", "recipe", "vary", "settings", "seeds", "seed", "budget", "time", "device", "command", "input")
        splits = {name: len(getattr(self.source, name)) for name in ("train", "val", "test")}
        curves = [{"cell": one.cell, "seed": one.seed, "points": one.history} for one in results if one.history]
        return {
            "verb": "compare", "name": self.source.name, "run": str(self.run.path),
            "date": clock_time.strftime("%Y-%m-%d %H:%M"), **{name: self.config[name] for name in kept},
            "budget_text": self.budget, "images": splits, "classes": len(self.source.classes),
            "seconds_in_all": sum(one.seconds for one in results),
            "method": METHOD if len(self.seeds) > 1 else METHOD_ONE_SEED,
            **summarise(self.cells, results, check_vary(self.config["vary"]), self.config["costs"]),
            "tunes": self.tunes, "machine": environment(), "curves": curves,
        }  # fmt: skip


def ended(result: Result) -> str:
    """How a run ended, for people."""
    if result.why:
        return f"failed: {result.why}"
    early = ", stopped early" if result.stopped_early else ""
    short = " (less than one pass over the data: the time is short for this grid)" if result.epochs < 1 else ""
    epochs = f"best at epoch {result.best_epoch:.3g} of {result.epochs:.3g}{early}{short}"
    return f"{100 * result.accuracy:.2f} % on validation, {epochs}, {show_seconds(result.seconds)}"
