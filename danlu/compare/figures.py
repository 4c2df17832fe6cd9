"""Figures of a comparison: curves with their band over the seeds, each seed's accuracy as a dot, and a map of two axes.

Plain dicts in plotly's format, as the report's figures are: colours are names of style variables.
"""

from collections.abc import Sequence
from html import escape as escaped
from typing import Any

import numpy as np

MEASURES = (
    ("val_accuracy", "Validation accuracy", 100.0), ("train_accuracy", "Training accuracy", 100.0),
    ("val_loss", "Validation loss", 1.0), ("train_loss", "Training loss", 1.0), ("lr", "Learning rate", 1.0),
)  # fmt: skip
CLOCKS = (("epoch", "Epoch"), ("seconds", "Seconds"))
COLOURS = 8
DASHES = ("solid", "dash", "dot", "dashdot")
SHOWN = 8  # curves that are drawn at first; the others wait in the legend
GRID = 80  # points at most on a curve whose seeds were looked at at different moments
LABEL = 24

Row = dict[str, Any]


def escape(text: str) -> str:
    """For plotly, which reads some HTML but knows no entity for quotes."""
    return escaped(text, quote=False)


def short(text: str, most: int = LABEL) -> str:
    """A label of at most `most` characters."""
    return escape(text if len(text) <= most else text[: most - 1].rstrip() + "…")


def curves(rows: Sequence[Row], found: Sequence[Row]) -> Row | None:
    """Mean and range over the seeds of every combination, best first; None where nothing was trained."""
    points = {id: [one["points"] for one in found if one["cell"] == id] for id in {one["cell"] for one in found}}
    views: Row = {}
    for measure, label, scale in MEASURES:
        for clock, title in CLOCKS:
            data = []
            for place, row in enumerate(rows):
                lines = [line for line in points.get(row["id"], []) if all(measure in point for point in line)]
                if lines:
                    data += traces(row["short"], place, *band(lines, clock, measure, scale), scale == 100)
            if data:
                y: Row = {"title": {"text": label}} | ({"ticksuffix": " %"} if scale == 100 else {})
                layout = {"xaxis": {"title": {"text": title}, "rangemode": "tozero"}, "yaxis": y, "hovermode": "closest"}
                views[f"{measure}/{clock}"] = {"data": data, "layout": layout}
    if not views:
        return None
    switches = [
        {"name": "Measure", "options": [(name, label) for name, label, _ in MEASURES if f"{name}/epoch" in views]},
        {"name": "Against", "options": list(CLOCKS)},
    ]
    entries = min(len(rows), 40)
    return {"switches": switches, "views": views, "height": 420 + 6 * entries, "phone": 380 + 20 * entries}


def band(lines: Sequence[Sequence[Row]], clock: str, measure: str, scale: float) -> tuple[list[float], np.ndarray]:
    """Places, and the value of each line there; a line that ended early stays at its last value. Shape: [P], [S, P]."""
    places = [np.array([point[clock] for point in line], np.float64) for line in lines]
    values = [scale * np.array([point[measure] for point in line], np.float64) for line in lines]
    longest = max(places, key=len)
    shared = all(np.array_equal(longest[: len(place)], place) for place in places)
    first, last = max(place[0] for place in places), max(place[-1] for place in places)
    at = longest if shared else np.linspace(first, last, min(GRID, len(longest)) if last > first else 1)
    table = np.stack([np.interp(at, place, value) for place, value in zip(places, values, strict=True)])
    return [round(float(x), 4) for x in at], table


def traces(name: str, place: int, x: list[float], table: np.ndarray, percent: bool) -> list[Row]:
    """The band and the mean of one combination, shown and hidden together."""
    colour, dash = f"--c{place % COLOURS}", DASHES[place // COLOURS % len(DASHES)]
    shared = {"x": x, "legendgroup": str(place), "visible": True if place < SHOWN else "legendonly"}
    low, high, mean = (
        [float(f"{v:.5g}") for v in part] for part in (table.min(0), table.max(0), table.mean(0))
    )  # fmt: skip
    unit = " %" if percent else ""
    hidden = {"type": "scatter", "mode": "lines", "line": {"width": 0}, "showlegend": False, "hoverinfo": "skip", **shared}
    line = {
        "type": "scatter", "mode": "lines" if len(x) > 1 else "markers", "name": short(name, LABEL + 8), "y": mean, **shared,
        "line": {"color": colour, "width": 2, "dash": dash}, "marker": {"color": colour, "size": 8},
        "customdata": [list(ends) for ends in zip(low, high, strict=True)],
        "hovertemplate": f"<b>{escape(name)}</b><br>%{{y:.4~g}}{unit}, %{{customdata[0]:.4~g}} to %{{customdata[1]:.4~g}}{unit}"
        "<extra></extra>",
    }  # fmt: skip
    if len(table) < 2 or len(x) < 2:
        return [line]
    return [hidden | {"y": low}, hidden | {"y": high, "fill": "tonexty", "fillcolor": f"{colour}-band"}, line]


def dots(rows: Sequence[Row]) -> Row | None:
    """A dot for each seed and a bar at the mean, the best on top."""
    known = [row for row in rows if row["accuracy"] is not None]
    if not known:
        return None
    labels = [f"{place + 1}. {short(row['short'], LABEL)}" for place, row in enumerate(known)]
    seeds = [
        (label, 100 * accuracy, row["short"])
        for label, row in zip(labels, known, strict=True)
        for accuracy in row["accuracies"]
        if accuracy is not None
    ]
    colours = {"best": "--accent", "level": "--accent-soft", "worse": "--baseline", "failed": "--bad"}
    data = [
        {
            "type": "scatter", "mode": "markers", "showlegend": False,
            "x": [x for _, x, _ in seeds], "y": [y for y, _, _ in seeds],
            "marker": {"symbol": "circle-open", "size": 9, "color": "--muted"}, "text": [escape(name) for _, _, name in seeds],
            "hovertemplate": "<b>%{text}</b><br>one seed: %{x:.2f} %<extra></extra>",
        },
        {
            "type": "scatter", "mode": "markers", "showlegend": False, "x": [100 * row["accuracy"] for row in known], "y": labels,
            "marker": {
                "symbol": "line-ns-open", "size": 16, "line": {"width": 3}, "color": [colours[row["state"]] for row in known],
            },
            "text": [escape(row["label"]) for row in known],
            "hovertemplate": "<b>%{text}</b><br>mean: %{x:.2f} %<extra></extra>",
        },
    ]  # fmt: skip
    x = {"title": {"text": "Accuracy on validation"}, "ticksuffix": " %"}
    y = {"categoryorder": "array", "categoryarray": labels[::-1], "range": [-0.7, len(labels) - 0.3]}
    height = 110 + 26 * len(known)
    layout = {"xaxis": x, "yaxis": y, "hovermode": "closest"}
    return {"switches": [], "views": {"": {"data": data, "layout": layout}}, "height": height, "phone": height}


def heat(rows: Sequence[Row], axes: dict[str, list[str]]) -> Row | None:
    """Mean accuracy over two axes; None for another number of axes that have several values."""
    wide = [name for name, values in axes.items() if len(values) > 1]
    if len(wide) != 2:
        return None
    down, across = sorted(wide, key=lambda name: len(axes[name]))[::-1]
    by_values = {(row["values"][down], row["values"][across]): row for row in rows}
    table = [
        [None if row["state"] == "failed" else round(100 * row["accuracy"], 2) for row in line]
        for line in ([by_values[one, other] for other in axes[across]] for one in axes[down])
    ]
    if all(value is None for line in table for value in line):
        return None
    texts = [["failed" if value is None else f"{value:.1f}" for value in line] for line in table]
    data = [
        {
            "type": "heatmap", "x": [short(v, LABEL) for v in axes[across]], "y": [short(v, LABEL) for v in axes[down]],
            "z": table, "text": texts, "texttemplate": "%{text}", "showscale": False, "xgap": 2, "ygap": 2, "hoverongaps": False,
            "colorscale": [[0, "--map-0"], [1, "--map-1"]], "textfont": {"color": "--ink"},
            "hovertemplate": f"{escape(down)}=%{{y}}, {escape(across)}=%{{x}}: %{{z}} %<extra></extra>",
        }
    ]  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": escape(across)}, "type": "category"},
        "yaxis": {"title": {"text": escape(down)}, "type": "category", "autorange": "reversed"},
    }
    height = 110 + 44 * len(axes[down])
    return {"switches": [], "views": {"": {"data": data, "layout": layout}}, "height": height, "phone": height}
