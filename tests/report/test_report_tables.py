"""Tables: what is read, what is sorted by, and rows with columns nobody foresaw."""

from collections.abc import Callable
from typing import Any

import pytest

from danlu.report import facts, tables
from danlu.report.layers import layers
from danlu.report.steps import stages, waterfall


def test_the_candidates_table_has_every_row_and_sorts_by_value(example: Callable[..., dict[str, Any]]) -> None:
    result = example()
    table = tables.candidates(result)
    assert table is not None
    assert len(table.lines) == len(result["candidates"]) + 1
    assert [line.mark for line in table.lines[:2]] == ["chosen", "baseline"]
    sizes = [column.label for column in table.columns].index("Size")
    assert {line.cells[sizes].sort for line in table.lines} >= {
        row["size_bytes"] for row in result["candidates"] if row["id"] != 20
    }
    accuracy = [line.cells[2].sort for line in table.lines[2:]]
    known = [value for value in accuracy if value is not None]
    assert known == sorted(known, reverse=True)
    assert accuracy[len(known) :] == [None] * (len(accuracy) - len(known))
    assert tables.candidates(result | {"candidates": []}) is None


def test_before_and_after_leaves_out_what_nobody_measured(example: Callable[..., dict[str, Any]]) -> None:
    result = example()
    rows = {line.cells[0].text: [cell.text for cell in line.cells[1:]] for line in tables.before_after(result).lines}
    assert rows["File size"] == ["1.1 MB", "123 KB", "8.9× smaller"]
    assert rows["Accuracy, test"][2] == "−0.4 points (95 % interval −1.1 to +0.3)"
    for model in (result["baseline"], result["best"]):
        model |= {"macs": None, "latency_ms": None, "latency_p10_ms": None}
    result["speedup"] = None
    assert {line.cells[0].text for line in tables.before_after(result).lines} == {
        "File size",
        "Parameters",
        "Accuracy, validation",
        "Accuracy, test",
    }


def test_layers_show_known_columns_first_and_unknown_ones_too() -> None:
    rows = [
        {
            "zebra": 3,
            "macs": 10,
            "name": "a",
            "time": {"median_ms": 0.5, "p10_ms": 0.4, "p90_ms": 0.6},
            "kind": "Conv2d",
            "fused": True,
            "shape": [1, 2],
        },
        {"zebra": None, "macs": 30, "name": "", "kind": "Linear", "note": {"a": 1}},
    ]
    found = layers(
        {"rows": rows, "macs": 40, "uncounted": [{"what": "operator", "name": "aten.x", "calls": 2}, "other"], "notes": ["n"]},
        "id",
        "net",
    )
    assert found is not None
    assert [c.label for c in found.table.columns] == ["Layer", "Kind", "Time", "MACs", "Zebra", "Fused", "Shape", "Note"]
    first, second = ([cell.text for cell in line.cells] for line in found.table.lines)
    assert first == ["a", "Conv2d", "0.5 ms", "10", "3", "yes", "1 × 2", ""]
    assert second == ["(the network itself)", "Linear", "–", "30", "", "", "", "a 1"]
    assert [line.cells[3].share for line in found.table.lines] == [pytest.approx(1 / 3), 1.0]
    assert found.notes == ["n", "Not counted: operator aten.x, 2×", "Not counted: other"]
    assert layers(None, "id", "net") is layers({"rows": []}, "id", "net") is None


def test_a_real_profile_fits_the_table() -> None:
    from torch import nn

    from danlu.cost import profile

    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    found = layers(profile(net, (3, 8, 8)).to_json(), "id", "net")
    assert found is not None
    assert [line.cells[1].text for line in found.table.lines][:3] == ["Conv2d", "ReLU", "AdaptiveAvgPool2d: mean"]
    labels = [column.label for column in found.table.columns]
    conv = dict(zip(labels, (cell.text for cell in found.table.lines[0].cells), strict=True))
    assert conv["Kernel"] == "3 × 3"
    assert conv["Input"] == "3 × 8 × 8"
    assert conv["MACs"] == "3.89 k"  # 3 * 4 * 9 * 36 = 3888
    assert ("Parameters", "122") in found.facts


def test_the_waterfall_adds_up(example: Callable[..., dict[str, Any]]) -> None:
    steps = example()["steps"]
    stops = waterfall(steps)
    for measure in (0, 1):
        bars = [stop.bars[measure] for stop in stops]
        assert bars[0].now == bars[0].was == 1.0
        assert [bar.was for bar in bars[1:]] == [bar.now for bar in bars[:-1]]
    assert stops[1].bars[0].change == "−707 KB, 2.8× smaller"  # 1,098,112 - 391,224 = 706,888
    assert stops[2].accuracy_change == "−0.2 points"
    assert (stops[1].recipe, stops[2].recipe) == (steps[1]["recipe"], "")  # said once
    assert waterfall(None) == []
    assert [bar.total for stop in stops for bar in stop.bars] == ["", "", "", "", "8.9× in all", ""]  # 1,098,112 / 123,400
    grown = waterfall([{"name": "a", "size_bytes": 10}, {"name": "b", "size_bytes": 20}])
    assert grown[1].bars[0].change == "+10 B, 2.0× larger"
    assert [bar.label for bar in grown[0].bars] == ["Size"]


def test_a_bar_too_short_to_see_is_enlarged_and_says_so() -> None:
    sizes = {"baseline": 300_000, "sparsity": 9_000, "sharing": 7_500, "coding": 200}
    rows = [{"name": name, "size_bytes": size, "note": f"note of {name}"} for name, size in sizes.items()]
    stops = waterfall([*rows, rows[-1] | {"name": "again"}])
    bars = [stop.bars[0] for stop in stops]
    # 9 KB is 3 % of 300 KB, but beside what it was it is seen; 7.5 KB beside 9 KB is not: ten times larger it is 0.25 of 0.3.
    assert [bar.zoom for bar in bars] == [1, 1, 10, 10, 1000]
    assert (bars[2].now, bars[2].was) == (pytest.approx(0.25), pytest.approx(0.3))
    assert all(0 < bar.now <= bar.was <= 1 for bar in bars)
    assert bars[3].total == "1,500× in all"
    assert stops[1].note == "note of sparsity"
    still = [{"name": n, "size_bytes": 10, "latency_ms": ms} for n, ms in (("a", 1.0), ("b", 1.001))]
    assert waterfall(still)[1].bars[1].change == "unchanged"


def test_stages_share_the_whole_run() -> None:
    rows = stages({"seconds": 100.0, "stages": [{"name": "a", "seconds": 25.0}, {"name": "b", "seconds": 50.0}]})
    assert [(row.start, row.share) for row in rows] == [(0.0, 25.0), (25.0, 50.0)]
    assert stages({}) == []


def test_predicted_savings_are_read_by_their_kind() -> None:
    got = facts.saving(
        {
            "macs": 0.418,
            "time": -0.03,
            "peak_activation_bytes": 0.5,
            "params": 12_300,
            "size_bytes": 4_000,
            "latency_ms": 0.11,
            "x": None,
        }
    )
    assert got == [
        ("MACs", "−41.8 %"),
        ("time", "+3.0 %"),
        ("peak activation", "−50.0 %"),
        ("parameters", "12.3 k"),
        ("size", "4 KB"),
        ("latency", "0.11 ms"),
    ]
    assert facts.saving(None) == []


def test_a_real_health_report_is_shown_whole() -> None:
    report = {
        "images": 5,
        "classes": ["a"],
        "counts": {"train": {"a": 5}},
        "sizes": {"min": [8.0, 8.0], "max": [640.0, 480.0]},
        "modes": {"L": 5},
        "unreadable": [{"name": "a/1.jpg", "reason": "truncated"}],
        "ignored": 0,
        "duplicates": [{"names": ["x", "y"], "splits": ["train", "test"]}],
        "missing": {"val": ["a"]},
        "warnings": ["w"],
        "errors": ["e"],
        "brand new": {"k": [1, 2, 3]},
    }
    found = facts.health({"health": report})
    assert found.warnings == ["e", "w"]
    assert dict(found.facts) == {
        "Sizes": "min: 8 × 8, max: 640 × 480",
        "Modes": "L: 5",
        "Missing": "val: a",
        "Brand new": "k: 1, 2, 3",
    }
    assert found.lists == [("Unreadable", ["a/1.jpg: truncated"], 1), ("Duplicates", ["x = y (train, test)"], 1)]
    table = tables.class_counts(report["counts"], ["a", "b"])
    assert table is not None
    assert [[cell.text for cell in line.cells] for line in table.lines] == [["a", "5"], ["b", "0"]]
    assert tables.class_counts({"train": 5}, []) is tables.class_counts(None, []) is None
