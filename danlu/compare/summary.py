"""From runs to an answer: a row for each combination, the differences between them, and what each setting does by itself."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from .grid import Cell
from .runs import Result
from .significance import Difference, Side, holm, mean_of, paired, sides
from .vary import show_value

ALPHA = 0.05
Row = dict[str, Any]


def summarise(
    cells: Sequence[Cell], results: Sequence[Result], axes: Mapping[str, Sequence[Any]], costs: Mapping[str, Mapping[str, int]]
) -> Row:
    """`rows` (best first, failed last), `pairs` of whole rows, `effects` of each axis; and `test`, where it was looked at.

    The order is made on validation alone.
    """
    runs = {cell.id: [result for result in results if result.cell == cell.id] for cell in cells}
    whole = [cell for cell in cells if not any(run.why for run in runs[cell.id])]
    judged = sides({cell.id: np.stack([run.right for run in runs[cell.id]]) for cell in whole})
    rows = [row_of(cell, runs[cell.id], costs[cell.recipe]) for cell in cells]
    rows.sort(key=lambda row: (row["state"] == "failed", -(row["accuracy"] or 0.0), row["id"]))
    order = [row["id"] for row in rows if row["state"] != "failed"]
    pairs = family([(a, b, paired(judged[a], judged[b])) for a, b in itertools.combinations(order, 2)])
    against = {pair["b"]: pair for pair in pairs if pair["a"] == order[0]} if order else {}
    for row in rows:
        if row["id"] in against:
            pair = against[row["id"]]
            row["state"] = "worse" if pair["real"] else "level"
            row |= {"difference": -pair["difference"], "interval": [-end for end in reversed(pair["interval"])]}
            row |= {"p": pair["p"], "p_holm": pair["p_holm"]}
    if order:
        rows[0]["state"] = "best"
    return {"rows": rows, "pairs": pairs, "effects": effects(axes, whole, judged), "test": on_test(order, runs)}


def row_of(cell: Cell, runs: Sequence[Result], cost: Mapping[str, int]) -> Row:
    """Mean and range over the seeds. A combination that fails with one seed has failed: nobody can rely on it."""
    good = [run for run in runs if not run.why]
    bad = [run for run in runs if run.why]
    accuracies = [None if run.why else run.accuracy for run in runs]
    why = ""
    if bad:
        seeds = ", ".join(str(run.seed) for run in bad)
        why = f"{len(bad)} of {len(runs)} seeds ({seeds}): {bad[0].why}" if len(runs) > 1 else bad[0].why

    def mean(of: Callable[[Result], float]) -> float | None:
        return fmean(map(of, good)) if good else None

    reached = [run.accuracy for run in good]
    return {
        "id": cell.id, "values": {name: show_value(value) for name, value in cell.values.items()}, "label": cell.label,
        "short": cell.short, "recipe": cell.recipe, "state": "failed" if bad else "", "why": why,
        "accuracy": mean(lambda run: run.accuracy), "range": [min(reached), max(reached)] if good else None,
        "accuracies": accuracies, "best_epoch": mean(lambda run: run.best_epoch), "epochs": mean(lambda run: run.epochs),
        "seconds": mean(lambda run: run.seconds), "difference": None, "interval": None, "p": None, "p_holm": None, **cost,
    }  # fmt: skip


def family(found: Sequence[tuple[Any, Any, Difference]]) -> list[Row]:
    """Comparisons that are corrected together. `real` says that the difference is there, whichever way it points."""
    adjusted = holm([difference.p for _, _, difference in found])
    return [
        {
            "a": a, "b": b, "difference": one.mean, "interval": [one.low, one.high], "p": one.p, "p_holm": p,
            "real": p < ALPHA, "df": one.df,
        }
        for (a, b, one), p in zip(found, adjusted, strict=True)
    ]  # fmt: skip


def effects(axes: Mapping[str, Sequence[Any]], whole: Sequence[Cell], judged: Mapping[int, Side]) -> list[Row]:
    """Each axis by itself: a value's mean over the combinations of all other axes, where every value of the axis is whole.

    Axes are compared only so that both sides have the same partners; one without a whole set of partners is left out.
    """
    found = []
    for axis, values in axes.items():
        if len(values) < 2 or sum(len(others) > 1 for others in axes.values()) < 2:
            continue
        partners: dict[str, dict[str, int]] = {}
        for cell in whole:
            rest = ", ".join(f"{name}={value!r}" for name, value in cell.values.items() if name != axis)
            partners.setdefault(rest, {})[show_value(cell.values[axis])] = cell.id
        sets = [ids for ids in partners.values() if len(ids) == len(values)]
        if not sets:
            continue
        means = {name: mean_of([judged[ids[name]] for ids in sets]) for name in map(show_value, values)}
        order = sorted(means, key=lambda name: -float(means[name].right.mean()))
        compared = [(a, b, paired(means[a], means[b])) for a, b in itertools.combinations(order, 2)]
        rows = [{"value": name, "accuracy": float(means[name].right.mean())} for name in order]
        found.append({"setting": axis, "over": len(sets), "means": rows, "pairs": family(compared)})
    return found


def on_test(order: Sequence[int], runs: Mapping[int, Sequence[Result]]) -> Row | None:
    """The same rows on the test images, and the one that validation chose against each other one; None before that look."""
    tables: dict[int, np.ndarray] = {}
    for id in order:
        seen = [run.test_right for run in runs[id] if run.test_right is not None]
        if len(seen) < len(runs[id]):
            return None
        tables[id] = np.stack(seen)
    if not tables:
        return None
    accuracies = {id: [float(mean) for mean in table.mean(1)] for id, table in tables.items()}
    rows = [
        {"id": id, "accuracy": fmean(found), "range": [min(found), max(found)], "accuracies": found}
        for id, found in accuracies.items()
    ]
    judged = sides(tables)
    pairs = family([(order[0], id, paired(judged[order[0]], judged[id])) for id in order[1:]])
    return {"n": int(tables[order[0]].shape[1]), "rows": rows, "pairs": pairs}
