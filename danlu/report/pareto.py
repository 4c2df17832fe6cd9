"""The Pareto plot: validation accuracy against size, latency and MACs, the frontier, the budget's limits.

Every function is pure and gives plain dicts in plotly's figure format. A colour is written as the name of a style variable
("--accent"), which the page resolves for light, dark and print.
"""

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from . import numbers
from .points import Point, frontier, hover, points

COSTS = (
    ("size", "File size", "size_bytes", "max_size_bytes", numbers.size),
    ("latency", "Latency", "latency_ms", "max_latency_ms", numbers.ms),
    ("macs", "MACs", "macs", "max_macs", numbers.count),
)


def figure(result: dict[str, Any]) -> dict[str, Any] | None:
    """The Pareto plot with one view a cost; None where no candidate has both a cost and an accuracy."""
    rows = points(result)
    views, options = {}, []
    near = near_best(result, rows)
    for name, label, key, limit, _ in COSTS:
        view = _view(result, rows, name, key, result["budget"].get(limit))
        if view is not None:
            options.append((name, label))
            views[f"{name}/all" if near else name] = view
            if near:
                layout = view["layout"]
                views[f"{name}/near"] = view | {"layout": layout | {"yaxis": layout["yaxis"] | {"range": near}}}
    if not views:
        return None
    switches = [{"name": "Cost", "options": options}]
    if near:
        switches.append({"name": "Show", "options": [("all", "All"), ("near", "Near the best")]})
    return {"switches": switches, "views": views, "height": 480, "phone": 460}


def near_best(result: dict[str, Any], rows: Sequence[Point]) -> list[float]:
    """A closer range of accuracies, in per cent; empty where all candidates lie about as close anyway.

    Candidates that were stopped early squeeze those that matter into the top of the plot. The closer range reaches down three
    times the accepted drop (at least three points) below the floor.
    """
    known = [100 * row.accuracy for row in rows if row.accuracy is not None]
    floor = _floor(result)
    if not known:
        return []
    drop = 100 * (result["budget"].get("max_drop") or 0.0)
    top = max(known)
    bottom = min(top if floor is None else floor, top) - max(3.0, 3 * drop)
    return [bottom, top + 0.15 * (top - bottom)] if top - min(known) > 2.5 * (top - bottom) else []


def _view(result: dict[str, Any], rows: list[Point], name: str, key: str, limit: float | None) -> dict[str, Any] | None:
    placed = [row for row in rows if row.accuracy is not None and row.cost(key) is not None]
    if not placed:
        return None
    idle = [row for row in rows if row.accuracy is None and row.cost(key) is not None]
    _, label, _, _, format = next(cost for cost in COSTS if cost[0] == name)
    floor = _floor(result)
    xs = [row.cost(key) or 0.0 for row in placed + idle] + ([limit] if limit else [])
    low, high = min(xs) / 1.35, max(xs) * 1.35
    ys = [100 * (row.accuracy or 0) for row in placed] + ([] if floor is None else [floor])
    air = max(0.08 * (max(ys) - min(ys)), 0.4)
    bottom, top = min(ys) - air, max(ys) + 1.4 * air
    data = [_line(frontier(rows, key), key)]
    if floor is not None:
        drop = numbers.points(-result["budget"]["max_drop"])
        data.append(_rule([low, high], [floor, floor], f"accepted drop ({drop})"))
    if limit:
        data.append(_rule([limit, limit], [0.0, 100.0], f"limit ({format(limit)})", "dot"))
    data += _clouds([row for row in placed if row.status not in ("chosen", "baseline")], key)
    data += [_mark(row, key) for row in placed if row.status in ("chosen", "baseline")]
    data += _strip(idle, key)
    ticks = log_ticks(low, high)
    layout: dict[str, Any] = {
        "xaxis": {
            "type": "log",
            "range": [math.log10(low), math.log10(high)],
            "title": {"text": f"{label} (log scale)"},
            "tickvals": ticks,
            "ticktext": [format(tick) for tick in ticks],
            "anchor": "y2" if idle else "y",
        },
        "yaxis": {
            "range": [bottom, top],
            "title": {"text": "Accuracy on validation"},
            "ticksuffix": " %",
            "domain": [0.17, 1] if idle else [0, 1],
        },
    }
    if idle:
        layout["yaxis2"] = {
            "domain": [0, 0.1],
            "range": [-0.7, 1.7],
            "tickvals": [0, 1],
            "ticktext": ["", ""],
            "ticks": "",
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
        }
    return {"data": data, "layout": layout}


def _floor(result: dict[str, Any]) -> float | None:
    """The validation accuracy, in per cent, below which more than the accepted drop is lost."""
    base, drop = result["baseline"].get("val_accuracy"), result["budget"].get("max_drop")
    return None if base is None or drop is None else 100 * (base - drop)


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 steps inside the range; only the decades, or every other one, where that would be more than seven."""
    if not 0 < low < high:
        return []
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for heads in ((1, 2, 5), (1, 3), (1,)):
        ticks = [head * 10.0**decade for decade in decades for head in heads]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= 7:
            return ticks
    return ticks[:: math.ceil(len(ticks) / 7)]


def _line(kept: list[Point], key: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "frontier",
        "x": [row.cost(key) for row in kept],
        "y": [100 * (row.accuracy or 0) for row in kept],
        "line": {"shape": "hv", "color": "--accent-soft", "width": 2},
        "hoverinfo": "skip",
    }


def _rule(xs: list[float], ys: list[float], text: str, dash: str = "dash") -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": text,
        "x": xs,
        "y": ys,
        "hoverinfo": "skip",
        "line": {"color": "--limit", "width": 1.5, "dash": dash},
    }


def _clouds(rows: list[Point], key: str) -> list[dict[str, Any]]:
    """Colour and shape say the precision, filling says whether it was trained to the end."""
    found = []
    for precision in sorted({row.precision for row in rows}):
        for full in (True, False):
            own = [row for row in rows if row.precision == precision and (row.status == "trained") is full]
            if own:
                shape = {"int8": "square", "danlu": "hexagon"}.get(precision, "circle")
                colour = {"int8": "--int8", "danlu": "--accent"}.get(precision, "--fp32")
                found.append(
                    {
                        "type": "scatter",
                        "mode": "markers",
                        "name": f"{escape(precision)}, {'trained' if full else 'stopped early'}",
                        "x": [row.cost(key) for row in own],
                        "y": [100 * (row.accuracy or 0) for row in own],
                        "text": [hover(row) for row in own],
                        "hovertemplate": "%{text}<extra></extra>",
                        "marker": {
                            "symbol": shape if full else f"{shape}-open",
                            "size": 10,
                            "color": colour,
                            "line": {"width": 1 if full else 2, "color": "--card" if full else colour},
                        },
                    }
                )
    return found


def _mark(row: Point, key: str) -> dict[str, Any]:
    chosen = row.status == "chosen"
    return {
        "type": "scatter",
        "mode": "markers+text",
        "name": row.status,
        "showlegend": False,
        "x": [row.cost(key)],
        "y": [100 * (row.accuracy or 0)],
        "text": [f"<b>{row.status}</b>"],
        "customdata": [hover(row)],
        "hovertemplate": "%{customdata}<extra></extra>",
        "textposition": "top center" if chosen else "bottom center",
        "textfont": {"color": "--accent" if chosen else "--baseline", "size": 13},
        "cliponaxis": False,
        "marker": {
            "symbol": "star" if chosen else "diamond",
            "size": 18 if chosen else 14,
            "color": "--accent" if chosen else "--baseline",
            "line": {"width": 1.5, "color": "--card"},
        },
    }


def _strip(rows: list[Point], key: str) -> list[dict[str, Any]]:
    """Candidates without an accuracy, under the plot: they have a cost and no height."""
    found = []
    for name, own, symbol, height in (
        ("not trained, within the budget", [row for row in rows if row.status != "infeasible"], "line-ns-open", 1),
        ("not trained, over the budget", [row for row in rows if row.status == "infeasible"], "x-thin-open", 0),
    ):
        if own:
            found.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    "x": [row.cost(key) for row in own],
                    "y": [height] * len(own),
                    "yaxis": "y2",
                    "text": [hover(row) for row in own],
                    "hovertemplate": "%{text}<extra></extra>",
                    "marker": {"symbol": symbol, "size": 9, "color": "--muted", "line": {"width": 1.5, "color": "--muted"}},
                }
            )
    return found
