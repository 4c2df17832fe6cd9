"""`optimize`: a folder of images and a budget in, a deployed model and its report out.

    baseline -> candidates measured untrained -> successive halving -> finalists -> (chain of edits) -> choice -> one look at
    the test split

Cost is measured before training, because latency does not depend on the weights and training is the expensive part.
"""

import contextlib
import shutil
import time as clock_time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..codec import load_saved
from ..data import Source, load_data
from ..edits.recipe import parse
from ..errors import UsageError, unknown
from ..runs import Run
from ..units import parse_seconds, show_seconds
from ..zoo import create
from . import baseline as ladder
from .budget import Budget
from .chain import Editor
from .clock import Clock
from .context import Search
from .finish import finish
from .shipped import FORMATS
from .space import fitted
from .squeeze import SHARE as SQUEEZE
from .squeeze import squeeze
from .stages import check_baseline, halve, make_baseline, sized, train_finalists
from .state import State
from .survey import survey
from .trainer import Trainer, affords_teacher

SHORTEST_SECONDS = 20.0
SHORTEST_CHAIN_SECONDS = 40.0
# About what a finalist gets to train; decides whether the teacher's time is worth it.
FINALIST_SHARE = 0.55


@dataclass(frozen=True)
class Result:
    """What `optimize` found. `data` is everything in result.json; `met` says whether the budget is kept on test."""

    data: dict[str, Any]

    @property
    def met(self) -> bool:
        """Whether every limit is kept."""
        return bool(self.data["budget"]["met"])

    @property
    def file(self) -> Path:
        """The chosen model as ONNX."""
        return Path(self.data["best"].get("onnx") or self.data["best"]["file"])

    @property
    def report(self) -> Path:
        """The report to open."""
        return Path(self.data["run"]) / "report.html"

    def to_json(self) -> dict[str, Any]:
        """The object `danlu optimize --json` prints: result.json without pictures, layers and curves."""
        data = {k: v for k, v in self.data.items() if k not in ("layers", "curves")}
        data["test"] = {k: v for k, v in data["test"].items() if k not in ("mistakes",)}
        data["report"] = str(self.report)
        return data


def optimize(
    source: Source | str | Path,
    budget: Budget | None = None,
    time: str | float = "10m",
    *,
    model: str | None = None,
    weights: str | None = None,
    out: str | Path = "runs",
    resume: str | Path | None = None,
    seed: int = 0,
    device: str = "cpu",
    threads: int = 1,
    format: str = "onnx",
    edits: str | None = None,
    trust: bool = False,
    command: str = "",
    started: float | None = None,
    log: Callable[[str], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Result:
    """Find the smallest, fastest network that keeps the accuracy of a baseline within `budget`, in `time`.

    `source` is a Source or what `load_data` takes. `time` ("20m" or seconds) is a promise on the wall clock. `model` replaces
    the baseline: a recipe, `module:function`, `timm:NAME` or the folder of a run; `weights` is its weight file. `threads` are
    those of onnxruntime when latency is measured. `format` says which file ships and is held against the limit on size: "onnx",
    or "danlu", for which a finalist is pruned, shared and packed as far as its accuracy (or the limit) says; latency is always
    that of the ONNX file, which a .danlu file unpacks to. `edits` is a chain of your own that takes the place of that ladder,
    or with "onnx" is applied to the winner before its export. `trust` lets a saved `model` run the `module:function` it names.
    `resume` continues a run folder that was interrupted. `started` (`time.monotonic()`) counts the time from an earlier moment,
    such as the start of the process.

    Always returns a model: `Result.met` is False when no candidate keeps the budget, and the result says what stands in the way.
    Raises: UsageError for unusable data, recipe, weights, budget or time.
    """
    from ..report import write_card, write_report

    budget = budget or Budget()
    total = parse_seconds(time) if isinstance(time, str) else float(time)
    if total < SHORTEST_SECONDS:
        raise UsageError(f"time must be at least {SHORTEST_SECONDS:.0f} s to train and compare anything, got {total:.3g} s")
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    if (edits or format == "danlu") and total < SHORTEST_CHAIN_SECONDS:
        raise UsageError(
            f"time must be at least {SHORTEST_CHAIN_SECONDS:.0f} s where the winner is edited and fine-tuned, got {total:.3g} s"
        )
    if weights is not None and model is None:
        raise UsageError("weights need the network they belong to: give model as well")
    start = clock_time.monotonic() if started is None else started
    if not isinstance(source, Source):
        source = load_data(source, seed=seed)
    if model is not None:
        source = _as_trained(source, model, trust) if Path(model).exists() else source
        check_baseline(source, model, weights, trust)
    if edits:
        check_chain(source, edits, model, trust, seed)
    run = _open(resume, out, source)
    with contextlib.closing(run):
        speak = _speaker(run, log)
        state = State.open(run.path / "state.json")
        if state.done:
            raise UsageError(f"the run {run.path} is finished; its result is in {run.path / 'report.html'}")
        search = Search(source, budget, run, Clock(total, state.elapsed, start), state, seed, device, threads, speak, stop, trust,
                        format, edits)  # fmt: skip
        search.clock.stages = list(state.stages)
        run.write_config({
            "verb": "optimize", "data": str(source.where), "budget": budget.to_json(), "time": total, "model": model,
            "weights": weights, "seed": seed, "device": device, "threads": threads, "input": source.input.to_json(),
            "format": format, "edits": edits, "command": command,
        })  # fmt: skip
        search.save()
        speak(
            f"{source.name}: {len(source.classes)} classes, {len(source.train)} + {len(source.val)} + {len(source.test)} images, "
            f"input {source.input.shape}; {show_seconds(total)} in {run.path}"
        )
        result = _run(search, model, weights, command)
        write_card(run.path, result)
        write_report(run.path, result)
        shutil.rmtree(run.path / "candidates", ignore_errors=True)
        state.done = True
        search.save()
        speak(f"done in {show_seconds(search.clock.elapsed)}: {run.path / 'report.html'}")
    return Result(result)


def _run(search: Search, model: str | None, weights: str | None, command: str) -> dict[str, Any]:
    """The stages in order; a resumed search enters where it left off."""
    from ..train import TrainConfig

    state = search.state
    if state.phase == "baseline":
        make_baseline(search, model, weights)
    net, input = search.baseline_model()
    tune = state.baseline.get("tune", {})
    config = TrainConfig(seconds=1.0, seed=search.seed, **tune)
    trainer = Trainer(
        search.source, net, input, config, search.folder / "candidates", search.device, search.seed, search.stop, search.log,
        distils=lambda macs: affords_teacher(
            FINALIST_SHARE * search.clock.total, len(search.source.train), state.baseline["speed"],
            search.baseline_cost.macs, macs,
        ),
        on_epoch=search.beat,
    )  # fmt: skip
    if state.phase == "measure":
        survey(search, trainer)
    if state.phase == "halve":
        halve(search, trainer)
    if state.phase == "final":
        train_finalists(search, trainer, reserve=reserve(search) + (SQUEEZE * search.clock.total if search.chained else 0.0))
    if state.phase == "choose" and search.chained:
        squeeze(search, trainer, reserve(search))
    return finish(search, trainer, command)


def reserve(search: Search) -> float:
    """Seconds to keep for the last stage: exports, int8, both files over validation and test, timing, the report.

    The evaluation is predicted from the baseline's measured latency at batch 1, which batches undercut; the fixed part is
    that of exports, quantisation and drawing on two cores.
    """
    images = 2 * len(search.source.val) + 1.5 * len(search.source.test)
    return 7.0 + 0.8 * images * search.baseline_cost.latency_ms / 1000 + 0.03 * search.clock.total


def check_chain(source: Source, edits: str, model: str | None, trust: bool, seed: int) -> None:
    """Run the user's chain once on an untrained net, so that what is wrong with it is said before anything is trained.

    The net is the user's baseline, or the smallest the search would take for one.
    Raises: UsageError for a chain that does not apply.
    """
    calls = parse(edits)
    editor = Editor(source, seed)
    history = model if model is not None and not Path(model).exists() else None
    editor.check(calls, history)
    if model is not None and Path(model).exists():
        net = load_saved(model, trust=trust).model
    else:
        recipe = sized(model, source.input) if model is not None else fitted(ladder.LADDER[0], source.input.size)
        net = create(recipe, num_classes=len(source.classes), in_channels=source.input.channels, seed=seed)
    editor.rehearse(net, calls)


def _as_trained(source: Source, model: str, trust: bool) -> Source:
    """The data as the saved `model` was fed. Raises UsageError when it knows other classes."""
    saved = load_saved(model, trust=trust)
    if saved.classes != source.classes:
        raise UsageError(
            f"the model in {model} knows the classes {list(saved.classes)[:8]}, the data has {list(source.classes)[:8]}"
        )
    return source.with_input(saved.input)


def _open(resume: str | Path | None, out: str | Path, source: Source) -> Run:
    if resume is None:
        return Run.create(out, source.name)
    path = Path(resume)
    if not (path / "state.json").exists():
        raise UsageError(f"{path} is not an interrupted optimize run: it has no state.json")
    return Run(path)


def resumed_settings(path: str | Path) -> dict[str, Any]:
    """The settings an interrupted run was started with. Raises UsageError when the folder is not such a run."""
    file = Path(path) / "config.yaml"
    if not file.exists():
        raise UsageError(f"{path} is not a run folder: it has no config.yaml")
    settings = yaml.safe_load(file.read_text())
    if not isinstance(settings, dict) or settings.get("verb") != "optimize":
        raise UsageError(f"{path} is not a run of optimize")
    return {"format": "onnx", "edits": None} | settings


def _speaker(run: Run, log: Callable[[str], None] | None) -> Callable[[str], None]:
    def speak(text: str) -> None:
        run.log(text)
        if log is not None:
            log(text)

    return speak
