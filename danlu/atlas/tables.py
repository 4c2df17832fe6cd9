"""The tables of the atlas: what is read in a cell and what it is sorted by."""

import inspect
from collections.abc import Sequence
from typing import Any

from ..cost import Profile
from ..edits._registry import CONTEXT
from ..literals import spell
from ..report import numbers
from ..report.table import Cell, Column, Line, Table, build, number, text
from .entries import Page
from .lineage import GROUPS

Rows = dict[str, dict[str, Any]]
BASE = "resnet20"


def _named(page: Page) -> Cell:
    return Cell(page.name, page.name, None, "name", "", page.href)


def _rate(value: float | None) -> str:
    return numbers.NONE if value is None else f"{value:,.0f}"


def nets(pages: Sequence[Page], rows: Rows) -> Table:
    """All networks with their published cost, and what was measured of each at 32x32."""
    columns = [
        Column("network"), Column("family"), Column("year", numeric=True),
        Column("parameters", numeric=True, title="of the published net"),
        Column("MACs", numeric=True, title="of the published net"),
        Column("accuracy", numeric=True, title="on CIFAR-10, by the protocol below"),
        Column("MACs at 32", numeric=True, title="fitted to 32x32 and 10 classes"),
        Column("latency", numeric=True, title="onnxruntime, batch 1, one thread, fitted to 32x32"),
        Column("images/s", numeric=True, title="training steps in batches of 32, one thread"), Column("the idea"),
    ]  # fmt: skip
    lines = []
    for page in pages:
        facts, row = page.entry.facts, rows.get(page.name, {})
        cells = [
            _named(page), text(page.family), number(facts["year"], str), number(facts["params"], numbers.count),
            number(facts["macs"], numbers.count), number(row.get("accuracy"), numbers.percent, 1.0),
            number(row.get("macs"), numbers.count), number(row.get("latency_ms"), numbers.ms),
            number(row.get("train_images_per_second"), _rate), text(page.entry.summary, "why"),
        ]  # fmt: skip
        lines.append(Line(cells, {"group": GROUPS[page.group], "family": page.family}))
    filters = {"group": list(GROUPS.values()), "family": sorted({page.family for page in pages})}
    return Table("nets", "All networks", columns, lines, filters, search=True)


def edits(pages: Sequence[Page], rows: Rows) -> Table:
    """All edits; for structure edits what ResNet-20 becomes by each, trained by the protocol."""
    base = rows.get(BASE, {})
    columns = [
        Column("edit"), Column("kind"), Column("parameters", numeric=True, title=f"of {BASE}, times what it had"),
        Column("MACs", numeric=True, title=f"of {BASE} at 32x32, times what it had"),
        Column("latency", numeric=True, title=f"of {BASE} in onnxruntime, times what it was"),
        Column("accuracy", numeric=True, title=f"of {BASE} on CIFAR-10, difference in points"),
        Column("on ResNet-20 as"), Column("what it does"),
    ]  # fmt: skip
    lines = []
    for page in pages:
        row = rows.get(f"{BASE} | {page.name}", {})
        ratios = [row[key] / base[key] if row.get(key) and base.get(key) else None for key in ("params", "macs")]
        gain = row["accuracy"] - base["accuracy"] if "accuracy" in row and "accuracy" in base else None
        cells = [
            _named(page), text(page.group), *(number(ratio, numbers.times) for ratio in ratios),
            number(row.get("times_resnet20"), numbers.times), number(gain, lambda value: numbers.points(value, unit=False)),
            text(row.get("recipe", "").partition(" | ")[2], "code"), text(page.entry.summary, "why"),
        ]  # fmt: skip
        lines.append(Line(cells, {"kind": page.group}))
    return Table("edits", "All edits", columns, lines, {"kind": ["structure", "compression"]}, search=True)


def layers(pages: Sequence[Page]) -> Table:
    """The layers of danlu's own."""
    columns = [
        (Column("layer"), _named), (Column("what it is"), lambda page: text(page.idea, "why")),
        (Column("source"), lambda page: Cell(page.paper[0], page.paper[0], None, "", "", page.paper[1])),
    ]  # fmt: skip
    return build("layers", "All layers", pages, columns, search=True)


def options(page: Page) -> Table | None:
    """What may be set, of which type, and the default."""
    found = inspect.signature(page.entry.build).parameters if page.kind == "layer" else page.entry.options()
    shown = {name: option for name, option in found.items() if name not in CONTEXT}
    if not shown:
        return None
    lines = []
    for name, option in shown.items():
        required = option.default is inspect.Parameter.empty
        default = text("required") if required else text(repr(option.default), "code")
        lines.append(Line([text(name, "code"), text(spell(option.annotation)), default]))
    return Table("options", "Options", [Column("option"), Column("takes"), Column("default")], lines, sortable=False)


def facts(page: Page) -> list[tuple[str, str]]:
    """The published facts of a net."""
    known = page.entry.facts
    found = [
        ("Input", numbers.shape(known["input"])), ("Parameters", f"{known['params']:,}"), ("MACs", f"{known['macs']:,}"),
        ("Year", str(known["year"])), ("Smallest input", numbers.shape(known["smallest"])), ("Family", page.family),
    ]  # fmt: skip
    return [*found, ("Not exported to ONNX", known["onnx"])] if "onnx" in known else found


def measured(row: dict[str, Any]) -> list[tuple[str, str]]:
    """What was measured of a net, fitted to 32x32; empty where nothing was."""
    shown = (
        ("Accuracy on CIFAR-10", numbers.percent, "accuracy"), ("Parameters", numbers.count, "params"),
        ("MACs", numbers.count, "macs"), ("Latency", numbers.ms, "latency_ms"),
        ("Latency, ResNet-20 = 1", numbers.times, "times_resnet20"), ("ONNX file", numbers.size, "onnx_bytes"),
        ("Training, images/s", _rate, "train_images_per_second"),
    )  # fmt: skip
    found = [(label, show(row[key])) for label, show, key in shown if key in row]
    told = [("Not trained", row["failed"])] if "failed" in row else []
    return [("Recipe", row["recipe"]), *found, *told] if ("recipe" in row and "accuracy" in row) or told else []


def rows(counted: Profile) -> Table:
    """The layers of a net at its published input."""
    columns = [
        (Column("layer"), lambda row: text(row.name, "code")), (Column("kind"), lambda row: text(row.kind)),
        (Column("output", numeric=True), lambda row: text("x".join(map(str, (row.output or ())[1:])))),
        (Column("parameters", numeric=True), lambda row: number(row.params, numbers.count)),
        (Column("MACs", numeric=True), lambda row: number(row.macs, numbers.count, counted.macs or None)),
    ]  # fmt: skip
    return build("rows", "Layers", counted.rows, columns)
