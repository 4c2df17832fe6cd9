"""The points of the Pareto plot: each file once, and a frontier that agrees with its definition."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.report import pareto
from danlu.report.points import Point, frontier, hover, points


def point(cost: float | None, accuracy: float | None) -> Point:
    """A point with this cost and accuracy."""
    return Point("net", "fp32", "trained", "", accuracy, cost, cost, None, None, cost, cost)


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 12)), max_size=25))
def test_the_frontier_is_the_set_that_no_other_point_beats(pairs: list[tuple[int, int]]) -> None:
    kept = {(row.size_bytes, row.accuracy) for row in frontier([point(cost, acc / 12) for cost, acc in pairs], "size_bytes")}
    beaten = {(c, a) for c, a in pairs if any((c2 <= c and a2 >= a) and (c2 < c or a2 > a) for c2, a2 in pairs)}
    assert kept == {(c, a / 12) for c, a in set(pairs) - beaten}


def test_points_without_cost_or_accuracy_have_no_place_on_the_frontier() -> None:
    rows = [point(None, 0.9), point(3.0, None), point(0.0, 0.99), point(5.0, 0.5)]
    assert [row.size_bytes for row in frontier(rows, "size_bytes")] == [5.0]


def test_the_chosen_file_and_the_baseline_appear_once_each(example: Callable[..., dict[str, Any]]) -> None:
    result = example()
    rows = points(result)
    assert [row.status for row in rows].count("chosen") == 1
    assert [row.status for row in rows].count("baseline") == 1
    assert len(rows) == len(result["candidates"]) + 1  # the chosen row moves, the baseline is added
    chosen = next(row for row in rows if row.status == "chosen")
    assert (chosen.precision, chosen.size_bytes, chosen.accuracy) == ("int8", 123_400, 0.8062)
    assert chosen.input == (32, 32)
    other = next(row for row in rows if row.recipe == chosen.recipe and row.precision == "fp32")
    assert other.status == "trained"


def test_a_baseline_that_is_listed_or_chosen_itself_is_not_doubled(example: Callable[..., dict[str, Any]]) -> None:
    result = example()
    base = result["baseline"]
    result["candidates"] = [{**base, "id": 0, "status": "baseline", "accuracy": base["val_accuracy"]}]
    assert [row.status for row in points(result)] == ["baseline", "chosen"]
    small = {**base, "precision": "int8", "size_bytes": 300_000}
    result["best"] = small
    result["candidates"] = [{**row, "id": 0, "status": "chosen", "accuracy": 0.8} for row in (base, small)]
    assert [(row.status, row.precision) for row in points(result)] == [("baseline", "fp32"), ("chosen", "int8")]
    result["candidates"] = result["candidates"][:1]
    result["best"] = base
    result["candidates"][0]["status"] = "chosen"
    assert [row.status for row in points(result)] == ["chosen"]


def test_the_hover_text_holds_every_number_and_no_markup_of_the_user(example: Callable[..., dict[str, Any]]) -> None:
    row = points(example())[-1]
    text = hover(row)
    for number in ("80.6 %", "123 KB", "0.412 ms", "0.404 to 0.441", "4.16 M", "92.4 k", "int8", "32 × 32"):
        assert number in text
    assert "<i>" not in hover(point(1.0, 0.5).__class__(**{**vars(row), "recipe": "<i>x</i>", "why": "a<i>b"}))


@pytest.mark.parametrize(("low", "high"), [(1, 9), (12_000, 3_000_000), (0.04, 0.05), (1e-3, 1e9), (2, 2.5)])
def test_ticks_lie_inside_and_are_not_too_many(low: float, high: float) -> None:
    ticks = pareto.log_ticks(low, high)
    assert all(low <= tick <= high for tick in ticks)
    assert ticks == sorted(ticks)
    assert len(ticks) <= 7


def test_the_limit_and_the_untrained_are_in_the_plot(example: Callable[..., dict[str, Any]]) -> None:
    figure = pareto.figure(example())
    assert figure is not None
    traces = {trace["name"]: trace for trace in figure["views"]["size/all"]["data"]}
    assert traces["limit (500 KB)"]["x"] == [500_000, 500_000]
    floor = traces["accepted drop (−1.0 points)"]
    assert floor["y"] == pytest.approx([80.21, 80.21])
    waiting = [t for t in traces.values() if t.get("yaxis") == "y2"]
    idle = [row for row in example()["candidates"] if row["accuracy"] is None]
    assert sum(len(trace["x"]) for trace in waiting) == len(idle) > 0
    assert not any(name.startswith("limit") for name in (t["name"] for t in figure["views"]["macs/all"]["data"]))


def test_a_file_nobody_made_is_shown_and_beats_none(example: Callable[..., dict[str, Any]]) -> None:
    result = example()
    result["format"] = "danlu"
    result["best"] |= {"precision": "danlu", "size_bytes": 60_000}
    result["candidates"] = [row | {"precision": "danlu, predicted"} for row in result["candidates"] if row["precision"] == "fp32"]
    guess = next(row for row in result["candidates"] if row["status"] == "trained")
    guess |= {"size_bytes": 100, "accuracy": 0.999}
    rows = points(result)
    assert any(row.predicted and row.size_bytes == 100 for row in rows)
    assert not any(row.predicted for row in frontier(rows, "size_bytes"))
    figure = pareto.figure(result)
    assert figure is not None
    names = [trace["name"] for view in figure["views"].values() for trace in view["data"]]
    assert "danlu, predicted, trained" in names


def test_the_near_view_is_offered_only_where_it_shows_more(example: Callable[..., dict[str, Any]]) -> None:
    result = example()
    figure = pareto.figure(result)
    assert figure is not None
    whole, near = (figure["views"][f"latency/{name}"]["layout"]["yaxis"]["range"] for name in ("all", "near"))
    assert near[1] - near[0] < (whole[1] - whole[0]) / 2
    best = 100 * max(row.accuracy or 0 for row in points(result))
    assert near[0] < 80.21 < best < near[1]
    result["candidates"] = []
    figure = pareto.figure(result)
    assert figure is not None
    assert set(figure["views"]) == {"size", "latency", "macs"}
