"""Figures over time and over classes: training curves, successive halving, the confusion matrix.

Plain dicts in plotly's figure format; colours are names of style variables, as in pareto.py.
"""

import math
from collections.abc import Sequence
from typing import Any

from . import numbers
from .recipes import short, wrapped

MEASURES = (
    ("accuracy", "Accuracy", (("val_accuracy", "validation", "solid"), ("train_accuracy", "training", "dot")), 100.0),
    ("loss", "Loss", (("val_loss", "validation", "solid"), ("train_loss", "training", "dot")), 1.0),
    ("lr", "Learning rate", (("lr", "", "solid"),), 1.0),
)
CLOCKS = (("epoch", "Epoch"), ("seconds", "Seconds"))
LABELS = 25  # more class names than this overlap on the axes of a phone
TEXT = 12  # with more classes than this a count does not fit its cell


def curves(rows: Sequence[dict[str, Any]] | None, chosen: str = "") -> dict[str, Any] | None:
    """Accuracy, loss and learning rate over epochs or seconds; the first curve is the baseline's.

    The curve that bears the recipe of the chosen network is called so.
    """
    rows = [row | {"name": "chosen"} if row.get("name") == chosen else row for row in rows or []]
    views: dict[str, Any] = {}
    measures, clocks = [], []
    for measure, label, lines, scale in MEASURES:
        for clock, title in CLOCKS:
            data = [
                trace
                for i, curve in enumerate(rows)
                for key, what, dash in lines
                if (trace := _curve(curve, i, clock, key, what, dash, scale)) is not None
            ]
            if data:
                views[f"{measure}/{clock}"] = {"data": data, "layout": _curve_layout(measure, label, title)}
                measures.append((measure, label))
                clocks.append((clock, title))
    if not views:
        return None
    switches = [{"name": "Measure", "options": _unique(measures)}, {"name": "Against", "options": _unique(clocks)}]
    return {"switches": switches, "views": views, "height": 400, "phone": 380}


def _unique(options: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return list(dict.fromkeys(options))


def _curve(curve: dict[str, Any], index: int, clock: str, key: str, what: str, dash: str, scale: float) -> dict[str, Any] | None:
    """One line; None where no point has both figures."""
    known = [p for p in curve.get("points") or [] if p.get(clock) is not None and p.get(key) is not None]
    if not known:
        return None
    name = short(str(curve.get("name", "")), 40) + (f", {what}" if what else "")
    unit = " %" if scale == 100 else ""
    return {
        "type": "scatter",
        "mode": "lines" if len(known) > 1 else "markers",
        "name": name,
        "x": [p[clock] for p in known],
        "y": [scale * p[key] for p in known],
        "line": {"color": ("--baseline", "--accent", "--int8", "--fp32")[index % 4], "dash": dash, "width": 2},
        "hovertemplate": f"{name}<br>{clock} %{{x:.4~g}}: %{{y:.4~g}}{unit}<extra></extra>",
    }


def _curve_layout(measure: str, label: str, clock: str) -> dict[str, Any]:
    y: dict[str, Any] = {"title": {"text": label}}
    if measure == "accuracy":
        y["ticksuffix"] = " %"
    else:
        y["rangemode"] = "tozero"
    return {"xaxis": {"title": {"text": clock}, "rangemode": "tozero"}, "yaxis": y, "hovermode": "closest"}


def halving(candidates: Sequence[dict[str, Any]] | None, chosen: str) -> dict[str, Any] | None:
    """Accuracy after each rung: how the field was narrowed. One line a candidate (both precisions share their training)."""
    seen: dict[Any, dict[str, Any]] = {}
    for row in candidates or []:
        if row.get("rungs"):
            seen.setdefault((row.get("id"), row["recipe"]), row)
    if not seen:
        return None
    data = []
    for row in sorted(seen.values(), key=lambda row: row["recipe"] == chosen):
        mine = row["recipe"] == chosen
        rungs = [r for r in row["rungs"] if r.get("seconds") is not None and r.get("accuracy") is not None]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": "chosen" if mine else "others",
                "showlegend": False,
                "x": [r["seconds"] for r in rungs],
                "y": [100 * r["accuracy"] for r in rungs],
                "line": {"color": "--accent" if mine else "--faint", "width": 3 if mine else 1.5},
                "marker": {"size": 8 if mine else 6, "color": "--accent" if mine else "--fp32"},
                "text": [wrapped(row["recipe"])] * len(rungs),
                "hovertemplate": "<b>%{text}</b><br>%{y:.1f} % after %{x:.3~g} s of training<extra></extra>",
            }
        )
    ticks = sorted({r["seconds"] for row in seen.values() for r in row["rungs"] if r.get("seconds")})
    x: dict[str, Any] = {"title": {"text": "Seconds of training (log scale)"}, "type": "log"}
    if 0 < len(ticks) <= 7:
        x |= {"tickvals": ticks, "ticktext": [numbers.plain(t) for t in ticks]}
    layout = {"xaxis": x, "yaxis": {"title": {"text": "Accuracy on validation"}, "ticksuffix": " %"}, "hovermode": "closest"}
    return {"switches": [], "views": {"": {"data": data, "layout": layout}}, "height": 340, "phone": 320}


class _Grid:
    """Shares in per cent and their hover texts; a cell without a value stays empty, which keeps 200 classes small."""

    def __init__(self, n: int) -> None:
        self.shares: list[list[float | None]] = [[None] * n for _ in range(n)]
        self.texts = [[""] * n for _ in range(n)]

    def put(self, i: int, j: int, share: float, text: str) -> None:
        """Fill one cell."""
        self.shares[i][j], self.texts[i][j] = round(share, 3), text


def confusion(table: Sequence[Sequence[int]] | None, classes: Sequence[str]) -> dict[str, Any] | None:
    """counts[truth][predicted] as two heat maps: right answers (blue) and mistakes (orange).

    On one scale the diagonal would drown the mistakes, which are what the matrix is read for. Both are shares of the row.
    """
    if not table:
        return None
    n = len(table)
    names = [classes[i] if i < len(classes) else str(i) for i in range(n)]
    right, wrong = _Grid(n), _Grid(n)
    for i, row in enumerate(table):
        total = sum(row)
        for j, cell in enumerate(row):
            if cell or (i == j and total):
                share = cell / total
                said = f"truth {wrapped(names[i], 40)}<br>predicted {wrapped(names[j], 40)}"
                (right if i == j else wrong).put(i, j, 100 * share, f"{said}<br>{cell:,} of {total:,} ({numbers.percent(share)})")
    worst = max((value for row in wrong.shares for value in row if value is not None), default=1.0)
    ticks = list(range(0, n, math.ceil(n / LABELS)))
    axis = {
        "tickvals": ticks,
        "ticktext": [short(names[i], 14) for i in ticks],
        "range": [-0.5, n - 0.5],
        "showgrid": False,
        "zeroline": False,
        "constrain": "domain",
    }
    gap = 2 if n <= 20 else 1 if n <= 60 else 0
    common = {
        "type": "heatmap",
        "hovertemplate": "%{text}<extra></extra>",
        "showscale": False,
        "zmin": 0.0,
        "xgap": gap,
        "ygap": gap,
    }
    data = [
        common | {"z": grid.shares, "text": grid.texts, "zmax": most, "colorscale": [[0, low], [1, high]]}
        for grid, most, low, high in ((right, 100.0, "--heat-0", "--right-1"), (wrong, worst, "--wrong-0", "--wrong-1"))
    ]
    flat = n <= 10 and max(map(len, names)) <= 6
    layout: dict[str, Any] = {
        "xaxis": axis | {"title": {"text": "Predicted"}, "side": "top", "tickangle": 0 if flat else -90},
        "yaxis": axis | {"title": {"text": "Truth"}, "range": [n - 0.5, -0.5]},
        "hovermode": "closest",
    }
    if n <= TEXT:
        cells = [(i, j) for i in range(n) for j in range(n) if table[i][j]]
        data.append(
            {
                "type": "scatter",
                "mode": "text",
                "x": [j for _, j in cells],
                "y": [i for i, _ in cells],
                "text": [str(table[i][j]) for i, j in cells],
                "hoverinfo": "skip",
                "showlegend": False,
                "textfont": {"size": 12, "color": "--ink"},
            }
        )
    return {"switches": [], "views": {"": {"data": data, "layout": layout}}, "square": min(680, 230 + 45 * n)}
