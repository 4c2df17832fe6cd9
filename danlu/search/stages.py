"""The stages of a search before the choice: a baseline, candidates measured untrained, the promising ones trained."""

import copy
import statistics
import time
from pathlib import Path

import torch
from torch import nn

from ..codec import load_saved, save
from ..data import Source
from ..data.spec import Input
from ..deploy import export_onnx
from ..edits.recipe import Call, parse, show
from ..errors import UsageError
from ..train import TrainConfig, evaluate, fit
from ..units import show_bytes, show_count, show_seconds
from ..zoo import create, load_weights, models
from . import baseline as ladder
from .choose import entrants, finalists, promoted, weight
from .context import Search
from .halving import Study, plan, resource, survivors
from .measure import Cost, count, latencies
from .trainer import Trainer, keep, settings

# Shares of the time. What is left after them trains the finalists; the end is kept free for the choice and the report.
BASELINE, HALVE = 0.25, 0.10


def make_baseline(search: Search, model: str | None, weights: str | None) -> None:
    """Stage 1: train a reliable net (or take the user's), export it, measure its file."""
    state, source, home = search.state, search.source, search.baseline_home
    started = time.monotonic()
    if "recipe" not in state.baseline:
        if model is None:
            recipe = ladder.choose(
                source.input, len(source.classes), len(source.train), BASELINE * search.clock.total - search.clock.elapsed,
                device=search.device, seed=search.seed, log=search.log,
            )  # fmt: skip
        else:
            recipe = model if Path(model).exists() else sized(model, source.input)
        state.baseline = {"recipe": recipe, "ready": False}
        search.save()
    net, ready = _baseline_net(search, state.baseline["recipe"], weights)
    state.baseline["recipe"] = getattr(net, "danlu_recipe", state.baseline["recipe"])
    if not ready and not (home / "model.json").exists():
        # The goal is that of the first start: `fit` counts the seconds of a training over its interruptions.
        goal = state.plan.setdefault("baseline", max(BASELINE * search.clock.total - search.clock.elapsed, 5.0))
        config = settings(net, len(source.train), TrainConfig(seconds=goal, seed=search.seed), pruned=weights is not None)
        search.log(f"training the baseline {state.baseline['recipe']} for {show_seconds(goal)}")
        resume = (home / "checkpoints").exists()
        done = fit(
            net, source, config, run=home, resume=resume, device=search.device, stop=search.stop, log=search.log,
            on_epoch=search.beat,
        )  # fmt: skip
        net = done.model
        keep(done, home, source)
        state.baseline["speed"] = statistics.median(row["images_per_second"] for row in done.history)
        state.baseline["tune"] = {"precision": done.tune.precision, "memory_format": done.tune.memory_format}
    elif not (home / "model.json").exists():
        save(net, home, input=source.input, classes=source.classes)
    export_onnx(net, search.baseline_file, input=source.input, classes=source.classes, recipe=state.baseline["recipe"])
    macs, params = count(net, source.input)
    accuracy, _ = search.accuracy(search.baseline_file, "val", source)
    median, low, high, _ = latencies([search.baseline_file], search.threads, min(2.0, 0.02 * search.clock.total))[0]
    cost = Cost("fp32", str(search.baseline_file), search.baseline_file.stat().st_size, median, low, high, 1.0, macs, params)
    if "speed" not in state.baseline:
        state.baseline["speed"] = 64 / ladder.step_seconds(copy.deepcopy(net), source.input, 64, search.device)
    state.baseline.update(ready=True, accuracy=accuracy, cost=cost.to_json())
    if accuracy < 1.5 / len(source.classes):
        search.log("the baseline is little better than chance: more --time or more images would help")
    search.log(
        f"baseline: {100 * accuracy:.1f} % on validation, {show_bytes(cost.size_bytes)}, {median:.3g} ms, {show_count(macs)} MACs"
    )
    state.phase = "measure"
    search.clock.stage("baseline", time.monotonic() - started)
    search.save()


def check_baseline(source: Source, model: str, weights: str | None, trust: bool) -> None:
    """Build the user's baseline and run it once, so that what is wrong with it is said before anything is written.

    Raises: UsageError for a recipe, a weight file or an input size that does not work, or an output that is not one per class.
    """
    if Path(model).exists():
        net = load_saved(model, trust=trust).model
    else:
        net = create(sized(model, source.input), num_classes=len(source.classes), in_channels=source.input.channels)
        if weights is not None:
            load_weights(net, weights)
    try:
        with torch.no_grad():
            shape = tuple(net.eval()(torch.zeros(1, *source.input.shape)).shape)
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"{model} does not take inputs {source.input.shape} ({reason}); add fit_input, or set --size") from error
    if shape != (1, len(source.classes)):
        raise UsageError(f"{model} gives outputs {shape[1:]} for an image; the data has {len(source.classes)} classes")


def sized(recipe: str, input: Input) -> str:
    """The recipe with the input size written into a base that has one built in (the LeNets), unless it is there already."""
    base, *rest = parse(recipe)
    if base.name in models and "size" in models[base.name].options() and "size" not in base.options:
        base = Call(base.name, {**base.options, "size": input.size[0]})
    return show([base, *rest])


def _baseline_net(search: Search, recipe: str, weights: str | None) -> tuple[nn.Module, bool]:
    """The baseline network, and whether its weights are those to keep."""
    source = search.source
    if (search.baseline_home / "model.json").exists():
        return load_saved(search.baseline_home, trust=True).model, True
    if Path(recipe).exists():
        return load_saved(recipe, trust=search.trust).model, True
    net = create(recipe, num_classes=len(source.classes), in_channels=source.input.channels, seed=search.seed)
    if weights is None:
        return net, False
    report = load_weights(net, weights)
    search.log(f"weights: {report}")
    if report.reshaped or report.missing:
        return net, False
    scores = evaluate(net, source, split="val", device=search.device)
    search.log(f"the given weights have {100 * scores.accuracy:.1f} % on validation")
    return net, scores.accuracy >= 2 / len(source.classes)


def halve(search: Search, trainer: Trainer) -> None:
    """Stage 3: successive halving among the feasible candidates (or, when none is, among the closest)."""
    state, limits, base = search.state, search.limits, search.baseline_cost
    started = time.monotonic()
    pool = search.feasible()
    if not pool:
        pool = sorted((c for c in state.candidates if c.costs), key=lambda c: weight(c, limits, base))[:3]
        search.log("no candidate fits the budget; the closest are trained")
    if not pool:
        state.phase = "final"
        search.save()
        return
    if "entrants" not in state.plan:
        seconds = max(min(HALVE * search.clock.total, 0.5 * search.clock.left), 1.0)
        entering, first, rungs = plan(seconds, len(pool))
        state.plan |= {"entrants": entering, "first": first, "rungs": rungs}
        state.live = [c.id for c in entrants(pool, limits, base, entering)]
        search.save()
    study = Study(search.folder / "study.log", search.folder.name, search.seed)
    entering, first, rungs = int(state.plan["entrants"]), state.plan["first"], int(state.plan["rungs"])
    while state.rung < rungs:
        goal = resource(first, state.rung)
        live = [state.by_id(i) for i in state.live]
        for candidate in live:
            if len(candidate.rungs) > state.rung:
                continue
            done = trainer.train(candidate, goal)
            candidate.rungs.append({"seconds": goal, "accuracy": done.best_accuracy})
            study.report(candidate, state.rung, done.best_accuracy)
            search.log(f"  rung {state.rung + 1}: {100 * done.best_accuracy:.1f} % {candidate.proposal.recipe}")
            search.save()
        if state.rung + 1 < rungs:
            kept = promoted(live, survivors(entering, state.rung + 1))
            for candidate in live:
                if candidate not in kept:
                    candidate.status, candidate.why = "stopped", f"outrun in rung {state.rung + 1}"
                    study.close(candidate, pruned=True)
            state.live = [c.id for c in kept]
        state.rung += 1
        search.save()
    live = [state.by_id(i) for i in state.live]
    chosen = finalists(live, limits, base)
    for candidate in live:
        if candidate not in chosen:
            candidate.status, candidate.why = "stopped", "not a finalist"
            study.close(candidate, pruned=True)
    state.live = [c.id for c in chosen]
    state.phase = "final"
    search.clock.stage("successive halving", time.monotonic() - started)
    search.save()


def train_finalists(search: Search, trainer: Trainer, reserve: float) -> None:
    """Stage 4: the time that is left, less `reserve`, goes to the finalists; the most accurate gets most of it."""
    state = search.state
    started = time.monotonic()
    study = Study(search.folder / "study.log", search.folder.name, search.seed)
    todo = [c for i in state.live if (c := state.by_id(i)).status != "trained"]
    for position, candidate in enumerate(todo):
        left = search.clock.left - reserve
        share = left if position == len(todo) - 1 else 0.6 * left
        key = f"finalist {candidate.id}"
        if share < 2.0 and candidate.rungs and key not in state.plan:
            candidate.status = "trained"
            continue
        # As for the baseline: what an interrupted training had is part of its goal, so the goal is set once.
        goal = state.plan.setdefault(key, candidate.seconds + max(share, 2.0))
        search.save()
        search.log(f"training finalist {candidate.proposal.recipe} for {show_seconds(goal - candidate.seconds)}")
        done = trainer.train(candidate, goal)
        candidate.rungs.append({"seconds": goal, "accuracy": done.best_accuracy})
        candidate.status = "trained"
        study.close(candidate, pruned=False)
        search.save()
    state.phase = "choose"
    search.clock.stage("train finalists", time.monotonic() - started)
    search.save()


def data_at(source: Source, size: tuple[int, int]) -> Source:
    """The data at another input size, or itself."""
    return source if size == source.input.size else source.at(size)
