"""The first sentence: it states the budget, what was reached, and how sure that is."""

from collections.abc import Callable
from typing import Any

import pytest

from danlu.report.verdict import doubt, interval_strip, tiles, verdict


@pytest.fixture
def small() -> dict[str, Any]:
    """The least a verdict needs, with the figures of the documentation."""
    return {
        "budget": {"met": True, "max_size_bytes": 500_000, "max_latency_ms": 3.0, "max_macs": None, "max_drop": 0.01},
        "baseline": {"recipe": "big", "accuracy": 0.805, "size_bytes": 1_000_000, "latency_ms": 2.05},
        "best": {"recipe": "small", "accuracy": 0.801, "size_bytes": 123_000, "latency_ms": 0.41},
        "test": {"n": 10_000, "difference": -0.004, "interval": [-0.011, 0.003]},
    }


def test_the_sentence_when_the_budget_is_met(small: dict[str, Any]) -> None:
    want = "Met: 123 KB of 500 KB, 0.41 ms of 3 ms, accuracy 80.1 % (−0.4 points, 95 % interval −1.1 to +0.3)"
    assert verdict(small).sentence == want


def test_the_sentence_when_it_is_not(small: dict[str, Any]) -> None:
    small["budget"] |= {"met": False, "max_latency_ms": 0.2, "in_the_way": "latency 0.41 ms of 0.2 ms"}
    found = verdict(small)
    assert found.sentence.startswith("Not met: 123 KB of 500 KB, 0.41 ms of 0.2 ms, accuracy 80.1 %")
    assert found.sentence.endswith("In the way: latency 0.41 ms of 0.2 ms")
    assert [part.met for part in found.parts] == [True, False, True]


def test_without_limits_the_figures_stand_alone(small: dict[str, Any]) -> None:
    small["budget"] = {"met": True}
    small["test"] = None
    assert verdict(small).sentence == "Met: 123 KB, 0.41 ms, accuracy 80.1 %"


def test_the_checks_decide_over_the_figures(small: dict[str, Any]) -> None:
    # Latency is judged interleaved with the baseline; the later, longer measurement may differ a little.
    small["budget"]["checks"] = [
        {"what": "latency", "limit": 3.0, "got": 3.02, "unit": "ms", "met": False},
        {"what": "MACs", "limit": 4e6, "got": 1e6, "unit": "MAC", "met": True},
    ]
    found = verdict(small)
    assert [(part.text, part.met) for part in found.parts[1:3]] == [("3.02 ms of 3 ms", False), ("1 M of 4 M MACs", True)]


def test_doubt_is_named_only_where_the_interval_reaches_beyond_the_accepted_drop(small: dict[str, Any]) -> None:
    assert "−1.1 points" in doubt(small)
    small["test"]["interval"] = [-0.009, 0.003]
    assert doubt(small) == ""
    small["test"] |= {"difference": -0.03, "interval": [-0.04, -0.02]}
    assert doubt(small) == ""  # then it is not in doubt, it is not met


def test_tiles_compare_before_and_after(example: Callable[..., dict[str, Any]]) -> None:
    found = {tile.label: tile for tile in tiles(example())}
    assert (found["Size"].value, found["Size"].before, found["Size"].change) == ("123 KB", "1.1 MB", "8.9× smaller")
    assert found["Latency"].change == "5.3× faster"
    assert found["Size"].meter is not None
    assert found["Size"].meter.share == pytest.approx(0.2468)
    assert found["MACs"].meter is None
    assert found["Accuracy"].strip is not None


def test_a_slower_result_is_called_slower(small: dict[str, Any]) -> None:
    small["best"]["latency_ms"] = 4.1
    assert next(tile for tile in tiles(small) if tile.label == "Latency").change == "2.0× slower"


def test_a_judged_latency_that_is_not_the_shown_one_is_named(small: dict[str, Any]) -> None:
    small["budget"]["checks"] = [{"what": "latency", "limit": 3.0, "got": 0.45, "unit": "ms", "met": True}]
    meters = {tile.label: tile.meter.text for tile in tiles(small) if tile.meter is not None}
    assert meters == {"Size": "24.6 % of the limit, 500 KB", "Latency": "15.0 % of the limit, 3 ms; judged at 0.45 ms"}


def test_the_interval_is_drawn_to_scale() -> None:
    strip = interval_strip(-0.004, -0.011, 0.003, 0.01)
    assert strip.floor is not None
    scale = (strip.zero - strip.floor) / 0.01  # percentages of the width for one unit of accuracy
    assert strip.high - strip.low == pytest.approx(0.014 * scale, abs=0.05)
    assert strip.zero - strip.at == pytest.approx(0.004 * scale, abs=0.05)
    assert all(0 <= at <= 100 for at in (strip.low, strip.high, strip.at, strip.zero, strip.floor))
    flat = interval_strip(0.0, 0.0, 0.0, None)
    assert flat.zero == flat.at == 50.0
