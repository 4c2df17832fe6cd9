"""Budgets: text to limits, limits to checks."""

import pytest

from danlu.errors import UsageError
from danlu.search import Budget


def test_absolute_and_relative_limits() -> None:
    limits = Budget(max_size="500KB", max_latency="1/5", max_macs=4e6).limits(size_bytes=8e6, latency_ms=2.0, macs=1e8)
    assert (limits.size_bytes, limits.latency_ms, limits.macs) == (500_000, pytest.approx(0.4), 4e6)
    checks = limits.checks(size_bytes=400_000, latency_ms=0.5, macs=4e6)
    assert [(c.what, c.met) for c in checks] == [("size", True), ("latency", False), ("MACs", True)]
    assert limits.excess(400_000, 0.5, 4e6) == pytest.approx(1.25)


def test_no_limit_is_always_met() -> None:
    limits = Budget().limits(1e6, 1.0, 1e6)
    assert limits.checks(1e9, 1e9, 1e9) == []
    assert limits.excess(1e9, 1e9, 1e9) == 0


def test_every_wrong_field_is_reported_at_once() -> None:
    with pytest.raises(UsageError) as error:
        Budget(max_size="5 parsecs", max_latency="soon", max_drop=1.5)
    for part in ("5 parsecs", "soon", "max_drop"):
        assert part in str(error.value)
