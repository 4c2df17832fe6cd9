"""Candidates as points: what each costs, how accurate it is, which of them no other beats."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

from . import numbers
from .recipes import wrapped

STATUS = {
    "infeasible": "over the budget",
    "measured": "not trained",
    "failed": "failed",
    "stopped": "stopped early",
    "trained": "trained",
    "chosen": "chosen",
    "baseline": "baseline",
}


@dataclass(frozen=True)
class Point:
    """A candidate in one precision."""

    recipe: str
    precision: str
    status: str
    why: str
    accuracy: float | None
    size_bytes: float | None
    latency_ms: float | None
    latency_p10_ms: float | None
    latency_p90_ms: float | None
    macs: float | None
    params: float | None
    input: tuple[int, ...] = ()
    id: int | None = None
    rungs: tuple[dict[str, float], ...] = ()

    @property
    def predicted(self) -> bool:
        """Whether its size is that of a file nobody made; its accuracy is then that before compression."""
        return self.precision.endswith("predicted")

    def cost(self, key: str) -> float | None:
        """The figure on the horizontal axis; None where a log axis has no place for it."""
        value = getattr(self, key)
        return float(value) if value is not None and value > 0 else None

    @classmethod
    def of(cls, row: dict[str, Any], status: str, accuracy: float | None) -> "Point":
        """From a candidate's or a model's row."""
        costs = ("size_bytes", "latency_ms", "latency_p10_ms", "latency_p90_ms", "macs", "params")
        return cls(
            row["recipe"],
            row.get("precision") or "fp32",
            status,
            row.get("why") or "",
            accuracy,
            **{key: row.get(key) for key in costs},
            input=tuple(row.get("size") or ()),
            id=row.get("id"),
            rungs=tuple(row.get("rungs") or ()),
        )


def points(result: dict[str, Any]) -> list[Point]:
    """Every candidate, then the baseline and the chosen file, each once.

    A candidate exists in two precisions; only the one that was chosen is marked so, with the figures of the final measurement.
    """
    best, base = result["best"], result["baseline"]
    precision = best.get("precision") or "fp32"
    rest, mine = [], {}
    for row in result.get("candidates") or []:
        status = row.get("status") or "measured"
        chosen = status == "chosen" and (row.get("precision") or "fp32") == precision
        if chosen:
            mine = {key: row.get(key) for key in ("size", "id", "rungs", "why")}
        elif not is_baseline(row, base):
            rest.append(Point.of(row, "trained" if status == "chosen" else status, row.get("accuracy")))
    first = Point.of({"size": _input(result), **base}, "baseline", base.get("val_accuracy"))
    same = best["recipe"] == base["recipe"] and precision == (base.get("precision") or "fp32")
    if same:
        return [*rest, replace(first, status="chosen")]
    return [*rest, first, Point.of({**mine, **best}, "chosen", best.get("val_accuracy"))]


def is_baseline(row: dict[str, Any], base: dict[str, Any]) -> bool:
    """Whether a candidate's row is the baseline's own file, which `points` adds by itself.

    Where the baseline is chosen in another precision, its own file is listed as chosen too.
    """
    same = row["recipe"] == base["recipe"] and (row.get("precision") or "fp32") == (base.get("precision") or "fp32")
    return same and row.get("status") in ("baseline", "chosen")


def _input(result: dict[str, Any]) -> Any:
    return ((result.get("data") or {}).get("input") or {}).get("size")


def frontier(rows: Sequence[Point], key: str) -> list[Point]:
    """The points that no other beats: none is at most as costly and at least as accurate. By rising cost.

    A candidate that was not packed has no file, so it beats none.
    """
    known = [row for row in rows if not row.predicted and row.accuracy is not None and row.cost(key) is not None]
    known.sort(key=lambda row: (row.cost(key), -(row.accuracy or 0)))
    kept: list[Point] = []
    for row in known:
        if not kept or (row.accuracy or 0) > (kept[-1].accuracy or 0):
            kept.append(row)
    return kept


def hover(point: Point) -> str:
    """Everything known of a candidate, as the small HTML that plotly shows."""
    lines = [f"<b>{wrapped(point.recipe)}</b>"]
    lines.append(escape(point.precision) + (f", input {numbers.shape(point.input)}" if point.input else ""))
    if point.accuracy is not None:
        lines.append(f"accuracy {numbers.percent(point.accuracy)} on validation")
    spread = ""
    if point.latency_p10_ms is not None and point.latency_p90_ms is not None:
        spread = f" (80 % of runs: {numbers.plain(point.latency_p10_ms)} to {numbers.plain(point.latency_p90_ms)})"
    lines.append(f"size {numbers.size(point.size_bytes)}")
    lines.append(f"latency {numbers.ms(point.latency_ms)}{spread}")
    lines.append(f"{numbers.count(point.macs)} MACs, {numbers.count(point.params)} parameters")
    lines.append(escape(STATUS.get(point.status, point.status)) + (f": {wrapped(point.why)}" if point.why else ""))
    return "<br>".join(lines)
