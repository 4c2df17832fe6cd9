"""Lines, bars and maps of the views: plain dicts in plotly's format; colours are names of style variables, as in danlu/report."""

from collections.abc import Mapping, Sequence
from html import escape as escaped
from typing import Any

COLOURS = ("--accent", "--int8", "--good", "--bad", "--fp32", "--baseline", "--limit", "--accent-soft")
Figure = dict[str, Any]


def escape(text: str) -> str:
    """For plotly, which reads some HTML but knows no entity for quotes."""
    return escaped(text, quote=False)


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with its title."""
    return {"title": {"text": escape(title)}, **more}


def plot(data: Sequence[Figure], x: dict[str, Any], y: dict[str, Any], height: int = 400, **layout: Any) -> Figure:
    """A figure of one view."""
    view = {"data": list(data), "layout": {"xaxis": x, "yaxis": y, **layout}}
    return {"switches": [], "views": {"": view}, "height": height, "phone": min(height, 380)}


def line(x: Sequence[float | str], y: Sequence[float], name: str, colour: int = 0, **more: Any) -> Figure:
    """A line with its points."""
    drawn = {
        "type": "scatter",
        "mode": "lines+markers" if len(x) <= 60 else "lines",
        "name": escape(name),
        "x": list(x),
        "y": list(y),
    }
    return {**drawn, "line": {"color": COLOURS[colour % len(COLOURS)], "width": 2}, **more}


def maps(
    values: Mapping[str, Sequence[Sequence[float]]], x: Sequence[float], y: Sequence[float], across: str, down: str
) -> Figure:
    """Heat maps over the same two axes, one of which is shown at a time; square cells."""
    shown = {}
    for name, table in values.items():
        hover = f"{across} %{{x:.3~g}}, {down} %{{y:.3~g}}: %{{z:.4~g}}<extra></extra>"
        data = {
            "type": "heatmap", "x": list(x), "y": list(y), "z": [list(row) for row in table], "hovertemplate": hover,
            "colorscale": [[0, "--heat-0"], [1, "--right-1"]], "colorbar": {"tickfont": {"color": "--muted"}, "outlinewidth": 0},
        }  # fmt: skip
        layout = {
            "xaxis": axis(across, constrain="domain", showgrid=False),
            "yaxis": axis(down, autorange="reversed", showgrid=False),
        }
        shown[name] = {"data": [data], "layout": layout}
    return {"switches": [{"name": "Show", "options": [(name, name) for name in values]}], "views": shown, "square": 620}
