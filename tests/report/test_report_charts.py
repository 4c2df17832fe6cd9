"""Every figure is one that plotly accepts, and says what the result says."""

import copy
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from danlu.report import charts, classes, pareto


def with_colours(value: Any) -> Any:
    """The page's colour names as some colour, which plotly can check."""
    if isinstance(value, str):
        return "#123456" if re.fullmatch(r"--[a-z0-9-]+", value) else value
    if isinstance(value, list):
        return [with_colours(item) for item in value]
    return {key: with_colours(item) for key, item in value.items()} if isinstance(value, dict) else value


def figures(result: dict[str, Any]) -> dict[str, dict[str, Any] | None]:
    """All figures of a result."""
    return {
        "pareto": pareto.figure(result),
        "curves": charts.curves(result["curves"], result["best"]["recipe"]),
        "halving": charts.halving(result["candidates"], result["best"]["recipe"]),
        "confusion": charts.confusion(result["test"]["confusion"], result["data"]["classes"]),
    }


def test_plotly_accepts_every_view(example: Callable[..., dict[str, Any]]) -> None:
    for name, figure in figures(example()).items():
        assert figure is not None, name
        assert figure["views"]
        for view in figure["views"].values():
            made = go.Figure(with_colours(copy.deepcopy(view)))  # raises on any property that plotly does not know
            assert len(made.data) == len(view["data"])


def test_the_switches_reach_every_view_and_only_those(example: Callable[..., dict[str, Any]]) -> None:
    for figure in figures(example()).values():
        assert figure is not None
        keys = [""]
        for i, switch in enumerate(s for s in figure["switches"] if len(s["options"]) > 1):
            keys = [f"{key}/{value}" if i else value for key in keys for value, _ in switch["options"]]
        assert set(keys) == set(figure["views"])


def test_curves_keep_the_points_and_leave_out_what_was_not_recorded() -> None:
    rows = [
        {
            "name": "a",
            "points": [{"epoch": 1, "val_accuracy": 0.5}, {"epoch": 2, "val_accuracy": None}, {"epoch": 3, "val_accuracy": 0.75}],
        }
    ]
    figure = charts.curves(rows)
    assert figure is not None
    assert list(figure["views"]) == ["accuracy/epoch"]
    (trace,) = figure["views"]["accuracy/epoch"]["data"]
    assert (trace["x"], trace["y"]) == ([1, 3], [50.0, 75.0])
    assert charts.curves([]) is charts.curves(None) is charts.curves([{"name": "a", "points": []}]) is None


def test_halving_draws_each_network_once(example: Callable[..., dict[str, Any]]) -> None:
    result = example()
    figure = charts.halving(result["candidates"], result["best"]["recipe"])
    assert figure is not None
    trained = {row["id"] for row in result["candidates"] if row["rungs"]}
    assert len(figure["views"][""]["data"]) == len(trained)
    assert charts.halving([], "x") is charts.halving([{"recipe": "x", "rungs": []}], "x") is None


@pytest.mark.parametrize("n", [2, 10, 25, 200])
def test_the_confusion_matrix_holds_every_count_once(n: int) -> None:
    rng = np.random.default_rng(n)
    table = rng.integers(0, 4, (n, n))
    table[1] = 0  # a class without test images
    figure = charts.confusion(table.tolist(), [f"class {i}" for i in range(n)])
    assert figure is not None
    right, wrong = (np.array(trace["z"], dtype=float) for trace in figure["views"][""]["data"][:2])
    total = table.sum(1, keepdims=True)
    shown = np.nan_to_num(right) + np.nan_to_num(wrong)
    assert np.allclose(shown, 100 * table / np.maximum(total, 1), atol=1e-3)
    assert np.isnan(right[~np.eye(n, dtype=bool)]).all()
    assert np.isnan(wrong[np.eye(n, dtype=bool)]).all()
    axis = figure["views"][""]["layout"]["xaxis"]
    assert len(axis["tickvals"]) == len(axis["ticktext"]) <= charts.LABELS


def test_class_scores_follow_their_definitions() -> None:
    table = np.array([[8, 2, 0], [1, 0, 4], [0, 0, 0]])
    got = classes.scores(table.tolist(), ["a", "b", "c"])
    assert [s.images for s in got] == [10, 5, 0]
    assert [s.recall for s in got] == [0.8, 0.0, None]
    assert [s.precision for s in got] == [pytest.approx(8 / 9), 0.0, 0.0]
    assert [(s.taken_for, s.taken) for s in got] == [("b", 2), ("c", 4), ("", 0)]
    assert classes.pairs(table.tolist(), ["a", "b", "c"]) == [("b", "c", 4, 0.8), ("a", "b", 2, 0.2), ("b", "a", 1, 0.2)]
