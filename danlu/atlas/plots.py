"""The Pareto plot of the atlas: accuracy of every measured net against what it costs, coloured by group."""

from collections.abc import Sequence
from html import escape
from typing import Any

from ..report import numbers
from ..report.pareto import log_ticks
from .entries import Page
from .lineage import GROUPS

COSTS = (
    ("macs", "MACs", numbers.count),
    ("params", "Parameters", numbers.count),
    ("latency_ms", "Latency", numbers.ms),
)


def pareto(pages: Sequence[Page], rows: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """The figure with a view for each cost; None where nothing has both a cost and an accuracy."""
    views, options = {}, []
    for key, label, show in COSTS:
        known = [(page, rows[page.name]) for page in pages if _has(rows.get(page.name), key)]
        if known:
            options.append((key, label))
            views[key] = _view(known, key, label, show)
    if not views:
        return None
    return {"switches": [{"name": "Cost", "options": options}], "views": views, "height": 560, "phone": 480}


def _has(row: dict[str, Any] | None, key: str) -> bool:
    return row is not None and row.get(key, 0) > 0 and "accuracy" in row


def _view(known: list[tuple[Page, dict[str, Any]]], key: str, label: str, show: Any) -> dict[str, Any]:
    best = _frontier(known, key)
    data: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "name": "frontier", "hoverinfo": "skip",
            "x": [row[key] for _, row in best], "y": [100 * row["accuracy"] for _, row in best],
            "line": {"shape": "hv", "color": "--accent-soft", "width": 2},
        }
    ]  # fmt: skip
    ahead = {page.name for page, _ in best}
    for group, title in GROUPS.items():
        own = [(page, row) for page, row in known if page.group == group]
        if own:
            data.append(
                {
                    "type": "scatter", "mode": "markers+text", "name": title,
                    "x": [row[key] for _, row in own], "y": [100 * row["accuracy"] for _, row in own],
                    "text": [escape(page.name) if page.name in ahead else "" for page, _ in own],
                    "textposition": "top left", "textfont": {"size": 11, "color": "--ink"}, "cliponaxis": False,
                    "hovertext": [hover(page, row) for page, row in own], "hoverinfo": "text",
                    "customdata": [page.href for page, _ in own],
                    "marker": {"color": f"--g-{group}", "size": 9, "line": {"color": "--card", "width": 1}},
                }
            )  # fmt: skip
    costs = [row[key] for _, row in known]
    ticks = log_ticks(min(costs) / 1.35, max(costs) * 1.35)
    layout = {
        "xaxis": {
            "type": "log",
            "title": {"text": f"{label} (log scale)"},
            "tickvals": ticks,
            "ticktext": [show(t) for t in ticks],
        },
        "yaxis": {"title": {"text": "Accuracy on CIFAR-10"}, "ticksuffix": " %"},
    }
    return {"data": data, "layout": layout}


def _frontier(known: list[tuple[Page, dict[str, Any]]], key: str) -> list[tuple[Page, dict[str, Any]]]:
    """The nets that no other beats in both cost and accuracy, by rising cost."""
    kept: list[tuple[Page, dict[str, Any]]] = []
    for page, row in sorted(known, key=lambda pair: (pair[1][key], -pair[1]["accuracy"])):
        if not kept or row["accuracy"] > kept[-1][1]["accuracy"]:
            kept.append((page, row))
    return kept


def hover(page: Page, row: dict[str, Any]) -> str:
    """What is told of a point."""
    told = [f"<b>{escape(page.name)}</b>", escape(GROUPS[page.group]), f"accuracy {numbers.percent(row['accuracy'])}"]
    told.append(f"{numbers.count(row.get('macs'))} MACs, {numbers.count(row.get('params'))} parameters")
    if "latency_ms" in row:
        told.append(f"latency {numbers.ms(row['latency_ms'])}")
    return "<br>".join(told)
