"""The curves behind a number: ROC and precision-recall of scores, and the confusion matrix of classes, as one HTML file each.

Curves of many scores are thinned to a few hundred points, evenly spaced along the curve.

Source: Fawcett 2006, An introduction to ROC analysis, https://doi.org/10.1016/j.patrec.2005.10.010.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ..plot_file import check_plot, write_figure
from .curves import pr_curve, roc_curve
from .precision_recall import confusion_matrix

POINTS = 1000
WRITTEN = 30  # classes up to which each cell has its number
BLUE, GREY = "#1f5fa8", "#b8c4d0"


def write_curves(scores: Any, targets: Any, path: Path, title: str) -> None:
    """Draw the ROC and the precision-recall curve into one HTML file that needs no network.

    Shape: scores [N], targets bool or 0/1 [N]
    Raises: UsageError for another suffix, and unless there are both true and false targets.
    """
    check_plot(path)
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    roc, pr = roc_curve(scores, targets), pr_curve(scores, targets)
    share = float(pr.precision[-1])  # all accepted: the share of the true ones
    figure = make_subplots(cols=2, subplot_titles=["ROC", "precision and recall"])
    for column, (x, y, at, chance) in enumerate(
        [(roc.fpr, roc.tpr, roc.thresholds, [0, 1]), (pr.recall, pr.precision, pr.thresholds, [share, share])], 1
    ):
        few = thinned(x, y)
        figure.add_trace(go.Scatter(x=[0, 1], y=chance, mode="lines", line={"color": GREY, "dash": "dash"}, hoverinfo="skip"),
                         row=1, col=column)  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=x[few].tolist(), y=y[few].tolist(), mode="lines", line={"color": BLUE, "width": 2},
                text=[f"threshold {value:.4g}" for value in at[few]],
                hovertemplate="%{x:.4f}, %{y:.4f}<br>%{text}<extra></extra>",
            ),
            row=1, col=column,
        )  # fmt: skip
    figure.update_xaxes(title="false positive rate", range=[0, 1], row=1, col=1)
    figure.update_yaxes(title="true positive rate", range=[0, 1.01], row=1, col=1)
    figure.update_xaxes(title="recall", range=[0, 1], row=1, col=2)
    figure.update_yaxes(title="precision", range=[0, 1.01], row=1, col=2)
    written(figure, path, title)


def write_confusion(outputs: Any, targets: Any, path: Path, title: str) -> None:
    """Draw the confusion matrix into one HTML file that needs no network: the colour is the share of the true class.

    Shape: outputs [N, K] or int [N], targets int [N]
    Raises: UsageError for another suffix, and for shapes or classes that do not fit.
    """
    check_plot(path)
    import plotly.graph_objects as go

    table = confusion_matrix(outputs, targets)
    share = table / np.maximum(table.sum(1, keepdims=True), 1)
    cells: dict[str, Any] = {"text": table.tolist(), "texttemplate": "%{text}"} if len(table) <= WRITTEN else {}
    figure = go.Figure(
        go.Heatmap(
            z=share.tolist(), customdata=table.tolist(), zmin=0, zmax=1, colorscale="Blues", colorbar={"title": "share of class"},
            hovertemplate="class %{y} answered as %{x}: %{customdata} (%{z:.1%})<extra></extra>", **cells,
        )
    )  # fmt: skip
    figure.update_xaxes(title="answered", constrain="domain")
    figure.update_yaxes(title="true", autorange="reversed", scaleanchor="x", constrain="domain")
    written(figure, path, title)


def thinned(x: np.ndarray, y: np.ndarray, points: int = POINTS) -> np.ndarray:
    """Which points of a curve to draw: one for each equal part of its way, the ends among them. Shape: [T] -> [<= points + 1]."""
    way = np.concatenate(([0.0], (np.abs(np.diff(x)) + np.abs(np.diff(y))).cumsum()))
    places = np.searchsorted(way, np.linspace(0, way[-1], points))
    return np.unique(np.append(places, len(x) - 1))


def written(figure: Any, path: Path, title: str) -> None:
    """Write the figure with all it needs."""
    figure.update_layout(title=title, template="plotly_white", showlegend=False)
    write_figure(figure, path)
