"""The layer tables: whatever columns a profile's rows have, known ones first and in a sensible order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import numbers
from .table import Cell, Column, Line, Table, number, spread, text

HIDDEN = {"index", "sources", "scales", "median_ms", "p10_ms", "p90_ms", "time", "operators", "call"}


@dataclass(frozen=True)
class Layers:
    """A network's table with its totals and what the profile says about its own limits."""

    title: str
    facts: list[tuple[str, str]]
    table: Table
    notes: list[str] = field(default_factory=list)


def _sides(value: Any) -> Cell:
    """A shape or a kernel; sorted by its number of elements."""
    if value is None:
        return Cell("", None)
    if not isinstance(value, list | tuple):
        return number(value, numbers.plain) if isinstance(value, int | float) else text(value)
    area = 1.0
    for side in value:
        area *= side if isinstance(side, int | float) else 1
    return Cell(" × ".join(numbers.plain(s) if isinstance(s, int | float) else str(s) for s in value), area)


def _one_image(value: Any) -> Cell:
    """The shape of one image's activation: a batch of one goes without saying."""
    batch = isinstance(value, list | tuple) and len(value) > 1 and value[0] == 1
    return _sides(value[1:] if batch else value)


def _any(value: Any) -> Cell:
    """A column this file knows nothing about."""
    if isinstance(value, bool):
        return text("yes" if value else "no")
    if isinstance(value, int | float):
        return number(value, numbers.plain)
    if isinstance(value, list | tuple):
        return _sides(value) if all(isinstance(v, int | float) for v in value) else text(", ".join(map(str, value)))
    if isinstance(value, dict):
        return text(", ".join(f"{key} {item}" for key, item in value.items()))
    return text(value)


Make = Callable[[Any, float | None], Cell]
MOVED = "Weights and activations, if nothing stays in a cache"
SHAPE = "Channels × height × width"


def _size(value: Any, _: float | None) -> Cell:
    return number(value, numbers.size)


def _plain(value: Any, _: float | None) -> Cell:
    return _sides(value)


KNOWN: dict[str, tuple[Column, Make]] = {
    "name": (Column("Layer"), lambda v, _: text(v or "(the network itself)", "code")),
    "kind": (Column("Kind"), lambda v, _: text(v, "kind")),
    "time": (Column("Time", True, "Median of repeated single runs in PyTorch"), lambda v, w: _time(v, w)),
    "macs": (Column("MACs", True, "Multiply-accumulates"), lambda v, w: number(v, numbers.count, w)),
    "params": (Column("Parameters", True), lambda v, w: number(v, numbers.count, w)),
    "kernel": (Column("Kernel", True), _plain),
    "stride": (Column("Stride", True), _plain),
    "groups": (Column("Groups", True), _plain),
    "input": (Column("Input", True, SHAPE), lambda v, _: _one_image(v)),
    "output": (Column("Output", True, SHAPE), lambda v, _: _one_image(v)),
    "bytes_read": (Column("Read", True, MOVED), _size),
    "read_bytes": (Column("Read", True, MOVED), _size),
    "bytes_written": (Column("Written", True), _size),
    "written_bytes": (Column("Written", True), _size),
    "activation_bytes": (Column("Activations", True, "Buffers it makes that somebody reads"), _size),
    "intensity": (Column("MAC/byte", True, "Arithmetic intensity: low means that memory sets the time"), _plain),
    "receptive": (Column("Receptive field", True, "In input pixels"), _plain),
    "receptive_field": (Column("Receptive field", True, "In input pixels"), _plain),
    "jump": (Column("Jump", True, "Input pixels between neighbours of its output"), _plain),
}


def timing(row: dict[str, Any]) -> dict[str, float | None]:
    """median, p10 and p90 in milliseconds, from `median_ms` or from `time: {median_ms}`."""
    found = row.get("time")
    inner = found if isinstance(found, dict) else {}
    return {key: row.get(key) if row.get(key) is not None else inner.get(key) for key in ("median_ms", "p10_ms", "p90_ms")}


def _time(value: dict[str, float | None], whole: float | None) -> Cell:
    return number(value["median_ms"], numbers.ms, whole, spread(value["p10_ms"], value["p90_ms"]))


def layers(profile: dict[str, Any] | None, id: str, title: str) -> Layers | None:
    """The table of one profile; None without rows."""
    rows = [_named(row) for row in (profile or {}).get("rows") or [] if isinstance(row, dict)]
    if profile is None or not rows:
        return None
    timed = [timing(row) for row in rows]
    keys = columns(rows, any(t["median_ms"] is not None for t in timed))
    largest = {
        "macs": max(float(row.get("macs") or 0) for row in rows),
        "params": max(float(row.get("params") or 0) for row in rows),
        "time": max(t["median_ms"] or 0.0 for t in timed),
    }
    whole = sum(t["median_ms"] or 0.0 for t in timed)
    lines = []
    for row, time in zip(rows, timed, strict=True):
        made = []
        for key in keys:
            value = time if key == "time" else row.get(key)
            made.append(KNOWN[key][1](value, largest.get(key)) if key in KNOWN else _any(value))
        lines.append(Line(made))
    heads = [KNOWN[key][0] if key in KNOWN else Column(key.replace("_", " ").capitalize(), _numeric(rows, key)) for key in keys]
    return Layers(
        title, _facts(profile, len(rows), whole), Table(id, f"Layers of {title}", heads, lines, search=True), _notes(profile)
    )


def _named(row: dict[str, Any]) -> dict[str, Any]:
    """Say which call it is of a layer that runs more than once, and what a container computes by itself."""
    name, kind = str(row.get("name") or ""), str(row.get("kind") or "")
    if row.get("call"):
        name = f"{name} (call {row['call'] + 1})"
    operators = [str(operator) for operator in row.get("operators") or []]
    telling = not row.get("kernel") and not row.get("params") and not any(operator in kind.lower() for operator in operators)
    if operators and telling:
        kind = f"{kind}: {', '.join(operators)}" if kind else ", ".join(operators)
    return {**row, "name": name, "kind": kind}


def columns(rows: Sequence[dict[str, Any]], timed: bool) -> list[str]:
    """Known columns in their order, then the others as they come; those that say nothing are left out."""
    present = dict.fromkeys(key for row in rows for key, value in row.items() if value is not None and value != [])
    keys = [key for key in KNOWN if key in present and key != "time"]
    if timed:
        keys.insert(keys.index("kind") + 1 if "kind" in keys else len(keys), "time")
    return keys + [key for key in present if key not in KNOWN and key not in HIDDEN]


def _numeric(rows: Sequence[dict[str, Any]], key: str) -> bool:
    values = [row[key] for row in rows if row.get(key) is not None]
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _facts(profile: dict[str, Any], count: int, time: float) -> list[tuple[str, str]]:
    shown = [("Rows", f"{count:,}")]
    for key, label, format in (
        ("params", "Parameters", numbers.count),
        ("macs", "MACs", numbers.count),
        ("param_bytes", "Weights in memory", numbers.size),
        ("peak_activation_bytes", "Peak activation memory", numbers.size),
        ("time_ms", "Whole network", numbers.ms),
    ):
        if isinstance(profile.get(key), int | float):
            shown.append((label, format(profile[key])))
    if time:
        shown.append(("Sum of the layers' times", numbers.ms(time)))
    return shown


def _notes(profile: dict[str, Any]) -> list[str]:
    notes = [str(note) for note in profile.get("notes") or []]
    missing = profile.get("uncounted") or profile.get("unsupported") or []
    for item in missing:
        if isinstance(item, dict):
            calls = f", {item['calls']}×" if item.get("calls") else ""
            notes.append(f"Not counted: {item.get('what', '')} {item.get('name', '')}{calls}".strip())
        else:
            notes.append(f"Not counted: {item}")
    return notes
