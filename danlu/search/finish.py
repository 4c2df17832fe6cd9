"""The last stage of a search: export what was trained, choose on validation, confirm the exported file on test, once."""

import json
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from .. import __version__
from ..codec import save
from ..cost import advise, profile
from ..data import Source
from ..deploy import bench, calibration_batches, export_onnx, int8_report, quantize_int8
from ..edits.recipe import parse
from ..encodings import bake
from ..files import replacing, write_json
from ..metrics import paired_difference
from ..runs import environment
from ..train import score_logits
from ..units import show_bytes
from .candidate import Candidate, overrun
from .choose import Deployable, in_the_way, winner
from .context import Search
from .measure import Cost, latencies
from .space import Proposal
from .stages import data_at
from .trainer import Trainer


@dataclass
class Chosen:
    """The winner with what the report needs to show."""

    pick: Deployable
    model: nn.Module
    source: Source
    kept_float: list[dict[str, str]]


def deployables(search: Search, trainer: Trainer) -> tuple[list[Deployable], dict[str, list[dict[str, str]]]]:
    """Every trained candidate, and the baseline, as exported files: fp32 and int8, each with its validation accuracy.

    Where .danlu files ship, they are there already. After a chain of the user's own only what came out of it is chosen from.
    """
    base = search.baseline_cost
    if search.danlu:
        packed = [search.state.by_id(number) for number in search.state.live]
        return [Deployable(c, c.costs[0], c.accuracy["danlu"]) for c in packed], {c.costs[0].file: c.kept for c in packed}
    model, _ = search.baseline_model()
    recipe = search.state.baseline["recipe"]
    itself = Candidate(0, Proposal(recipe, search.source.input.size, "baseline"), [base], "baseline")
    rows = [] if search.edits else [Deployable(itself, base, search.state.baseline["accuracy"])]
    kept: dict[str, list[dict[str, str]]] = {}
    work: list[tuple[Candidate, nn.Module | None, Source]] = [] if search.edits else [(itself, None, search.source)]
    for number in search.state.live:
        candidate = search.state.by_id(number)
        work.append((candidate, trainer.saved(candidate), data_at(search.source, candidate.proposal.size)))
    for candidate, net, source in work:
        home = search.folder / "candidates" / f"{candidate.id:03d}"
        home.mkdir(parents=True, exist_ok=True)
        fp32 = search.baseline_file
        if net is not None:
            fp32 = export_onnx(
                net, home / "fp32.onnx", input=source.input, classes=source.classes, recipe=candidate.proposal.recipe
            )  # fmt: skip
        int8 = quantize_int8(fp32, home / "int8.onnx", calibration_batches(source.train, source.input))
        kept[str(fp32)] = candidate.kept
        kept[str(int8)] = candidate.kept + [{"what": name, "why": why} for name, why in int8_report(int8).kept]
        files = [fp32, int8]
        timed = latencies([search.baseline_file, *files], search.threads, min(3.0, 0.015 * search.clock.total))[1:]
        first = candidate.costs[0]
        candidate.costs = []
        for precision, file, (median, low, high, ratio) in zip(("fp32", "int8"), files, timed, strict=True):
            scale = ratio * base.latency_ms / median
            cost = replace(
                first, precision=precision, file=str(file), size_bytes=file.stat().st_size, latency_ms=median * scale,
                latency_p10_ms=low * scale, latency_p90_ms=high * scale, latency_ratio=ratio,
            )  # fmt: skip
            accuracy, _ = search.accuracy(file, "val", source)
            candidate.costs.append(cost)
            candidate.accuracy[precision] = accuracy
            if not (candidate is itself and precision == "fp32"):
                rows.append(Deployable(candidate, cost, accuracy))
            search.log(
                f"  {precision} {candidate.proposal.recipe}: {100 * accuracy:.1f} % on validation, "
                f"{show_bytes(cost.size_bytes)}, {cost.latency_ms:.3g} ms"
            )
    del model
    search.save()
    return rows, kept


def choose(search: Search, trainer: Trainer) -> Chosen:
    """Pick the winner on validation and put its file and weights at the top of the run folder."""
    rows, kept = deployables(search, trainer)
    pick = winner(rows, search.state.baseline["accuracy"], search.limits, search.baseline_cost)
    source = data_at(search.source, pick.candidate.proposal.size)
    net = search.baseline_model()[0] if pick.candidate.id == 0 else trainer.saved(pick.candidate)
    save(net, search.folder, input=source.input, classes=source.classes)
    with replacing(search.folder / "model.onnx") as temp:
        shutil.copyfile(Path(pick.cost.file).with_suffix(".onnx"), temp)
    if search.danlu:
        with replacing(search.folder / "model.danlu") as temp:
            shutil.copyfile(pick.cost.file, temp)
    pick.candidate.status = "chosen"
    search.log(f"chosen: {pick.cost.precision} {pick.candidate.proposal.recipe}")
    return Chosen(pick, net, source, kept.get(pick.cost.file, []))


def confirm(search: Search, chosen: Chosen) -> dict[str, Any]:
    """The exported files in onnxruntime on the test split, once: accuracies, their paired difference, confusion and mistakes."""
    labels = search.source.test.labels
    before, base_logits = search.accuracy(search.baseline_file, "test", search.source)
    after, logits = search.accuracy(search.folder / "model.onnx", "test", chosen.source)
    difference, low, high = paired_difference(logits.argmax(1) == labels, base_logits.argmax(1) == labels)
    scores = score_logits(logits, labels, search.source.classes)
    return {
        "n": len(labels),
        "accuracy": after,
        "baseline_accuracy": before,
        "difference": difference,
        "interval": [low, high],
        "metrics": scores.to_json(),
        "confusion": confusion(logits, labels, len(search.source.classes)),
        "mistakes": mistakes(chosen.source, logits),
    }


def confusion(logits: np.ndarray, labels: np.ndarray, classes: int) -> list[list[int]]:
    """counts[truth][predicted]."""
    table = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(table, (labels, logits.argmax(1)), 1)
    return table.tolist()


def mistakes(source: Source, logits: np.ndarray, most: int = 24) -> list[dict[str, Any]]:
    """The wrong answers given with the most confidence, as pictures."""
    from ..report import to_data_uri

    labels, answers = source.test.labels, logits.argmax(1)
    shifted = logits - logits.max(1, keepdims=True)
    confidence = np.exp(shifted.max(1)) / np.exp(shifted).sum(1)
    wrong = np.flatnonzero(answers != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:most]
    if not len(worst):
        return []
    pictures = source.test.images(worst).permute(0, 2, 3, 1).numpy()
    return [
        {
            "image": to_data_uri(picture),
            "truth": source.classes[labels[i]],
            "predicted": source.classes[answers[i]],
            "confidence": float(confidence[i]),
            "name": str(source.test.names[i]),
        }
        for i, picture in zip(worst, pictures, strict=True)
    ]


def final_costs(search: Search, chosen: Chosen) -> tuple[Cost, Cost, list[float]]:
    """Baseline and winner timed once more, interleaved and longer: (baseline, winner, [p10, p90] of the speed-up)."""
    files = [search.baseline_file, search.folder / "model.onnx"]
    base, best = bench([str(f) for f in files], threads=search.threads, repeats=1000, seconds=min(5.0, 0.03 * search.clock.total))
    old = replace(search.baseline_cost, latency_ms=base.median_ms, latency_p10_ms=base.p10_ms, latency_p90_ms=base.p90_ms)
    shipped = search.folder / ("model.danlu" if search.danlu else "model.onnx")
    new = replace(
        chosen.pick.cost, file=str(shipped), latency_ms=best.median_ms, latency_p10_ms=best.p10_ms, latency_p90_ms=best.p90_ms,
        latency_ratio=best.ratio,
    )  # fmt: skip
    return old, new, [1 / best.ratio_p90, 1 / best.ratio_p10]


def describe(recipe: str, cost: Cost, val: float, test: float) -> dict[str, Any]:
    """A model as `--json` and the report show it."""
    return {"recipe": recipe, **cost.to_json(), "val_accuracy": val, "accuracy": test}


def steps(
    search: Search, chosen: Chosen, baseline: dict[str, Any], best: dict[str, Any], distilled: bool
) -> list[dict[str, Any]]:
    """What each step bought: baseline, smaller network in fp32, the edits on it, the precision it ships in.

    Accuracies are on validation.
    """

    def row(name: str, recipe: str, cost: Cost, accuracy: float) -> dict[str, Any]:
        return {
            "name": name, "recipe": recipe, "accuracy": accuracy, "size_bytes": cost.size_bytes,
            "latency_ms": cost.latency_ms, "macs": cost.macs, "params": cost.params, "note": "ONNX file",
        }  # fmt: skip

    candidate = chosen.pick.candidate
    rows = [row("baseline", baseline["recipe"], search.baseline_cost, baseline["val_accuracy"])]
    fp32 = next((c for c in candidate.costs if c.precision == "fp32"), None)
    if candidate.steps:
        rows += candidate.steps
    elif candidate.id != 0 and fp32 is not None:
        name = "channels pruned, fine-tuned" if candidate.proposal.pruned else "smaller network"
        name += " with distillation" if distilled else ""
        rows.append(row(name, candidate.proposal.recipe, fp32, candidate.accuracy["fp32"]))
    if chosen.pick.cost.precision == "int8":
        rows.append(row("int8", best["recipe"], chosen.pick.cost, chosen.pick.accuracy))
    return rows


def curves(search: Search, chosen: Chosen) -> list[dict[str, Any]]:
    """Training curves of the baseline, of the winner, and of each step of the chain that led to it."""
    found = []
    homes: list[tuple[str, Path]] = [("baseline", search.baseline_home)]
    pick, folder = chosen.pick.candidate, search.folder / "candidates"
    if pick.parent:
        homes.append((search.state.by_id(pick.parent).proposal.recipe, folder / f"{pick.parent:03d}"))
    if pick.chain:
        homes += [(str(call), folder / f"{pick.id:03d}" / str(k)) for k, call in enumerate(parse(pick.chain))]
    elif pick.id != 0:
        homes.append((pick.proposal.recipe, folder / f"{pick.id:03d}"))
    for name, home in homes:
        file = home / "history.json"
        if file.exists():
            found.append({"name": name, "points": json.loads(file.read_text())})
    return found


def finish(search: Search, trainer: Trainer, command: str) -> dict[str, Any]:
    """Choose, confirm, and gather everything the report and `--json` show; writes result.json."""
    started = time.monotonic()
    chosen = choose(search, trainer)
    test = confirm(search, chosen)
    old, new, speedup = final_costs(search, chosen)
    state = search.state
    candidate = chosen.pick.candidate
    baseline = describe(state.baseline["recipe"], old, state.baseline["accuracy"], test["baseline_accuracy"])
    best = describe(candidate.proposal.recipe, new, chosen.pick.accuracy, test["accuracy"])
    best["onnx"] = str(search.folder / "model.onnx")
    # Shares are of the baseline as measured in this last run, turn by turn with the winner.
    limits = search.budget.limits(old.size_bytes, old.latency_ms, old.macs)
    checks = limits.checks(new.size_bytes, new.latency_ms, new.macs)
    drop = -test["difference"]
    everyone = [cost for c in state.candidates for cost in c.costs] + [new]
    obstacle = in_the_way(limits, new, drop, min(everyone, key=lambda cost: overrun(cost, limits)))
    model, _ = search.baseline_model()
    before, after = (
        profile(model, search.source.input.shape, time=True),
        profile(bake(chosen.model), chosen.source.input.shape, time=True),
    )
    result: dict[str, Any] = {
        "danlu": __version__,
        "run": str(search.folder),
        "name": search.source.name,
        "seed": search.seed,
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "time_budget": search.clock.total,
        "machine": environment(),
        "threads": search.threads,
        "data": data_facts(search.source),
        "format": search.format,
        "edits": search.edits,
        "budget": {
            "text": search.budget.to_json(),
            "max_size_bytes": limits.size_bytes, "max_latency_ms": limits.latency_ms, "max_macs": limits.macs,
            "max_drop": limits.drop,
            "met": not obstacle,
            "checks": [vars(check) for check in checks]
            + [{"what": "accuracy drop", "limit": limits.drop, "got": drop, "unit": "share", "met": drop <= limits.drop}],
            "in_the_way": obstacle,
        },
        "baseline": baseline,
        "best": best,
        "speedup": {
            "latency": 1 / new.latency_ratio, "latency_interval": speedup, "size": old.size_bytes / new.size_bytes,
            "macs": old.macs / max(new.macs, 1), "params": old.params / max(new.params, 1),
        },
        "test": test,
        "candidates": [row for c in [*state.candidates, *([candidate] if candidate.id == 0 else [])] for row in c.rows()],
        "failed": [{"recipe": c.proposal.recipe, "why": c.why} for c in state.candidates if c.status == "failed"],
        "steps": steps(search, chosen, baseline, best, trainer.distils(new.macs)),
        "curves": curves(search, chosen),
        "layers": {"baseline": before.to_json(), "best": after.to_json()},
        "advice": [vars(a) for a in advise(after)],
        "not_compressed": chosen.kept_float,
    }  # fmt: skip
    search.clock.stage("choose and confirm", time.monotonic() - started)
    result["stages"] = list(search.clock.stages)
    result["seconds"] = search.clock.elapsed
    write_json(search.folder / "result.json", result)
    return result


def data_facts(source: Source) -> dict[str, Any]:
    """The data as the report shows it."""
    return {
        "name": source.name,
        "where": source.where,
        "classes": list(source.classes),
        "counts": {"train": len(source.train), "val": len(source.val), "test": len(source.test)},
        "input": source.input.to_json(),
        "health": source.health.to_json(),
    }
