"""The Wilson interval: published limits, and the equation it solves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.errors import UsageError
from danlu.metrics import wilson
from danlu.metrics.wilson import quantile


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_published_limits(k: int, n: int, low: float, high: float) -> None:
    """Newcombe 1998, Stat. Med. 17:857, table I, method 3."""
    assert wilson(k, n) == pytest.approx((low, high), abs=5e-5)


@given(n=st.integers(1, 10_000), share=st.floats(0, 1), level=st.floats(0.5, 0.999))
def test_ends_solve_the_score_equation(n: int, share: float, level: float) -> None:
    k = round(share * n)
    z, p = quantile(level), k / n
    low, high = wilson(k, n, level)
    assert 0 <= low <= p <= high <= 1
    for end in (low, high):
        assert (p - end) ** 2 == pytest.approx(z * z * end * (1 - end) / n, abs=1e-9)


def test_quantile_and_refusals() -> None:
    assert quantile(0.95) == pytest.approx(1.959964, abs=1e-6)
    for bad in ((3, 2), (-1, 2), (0, 0)):
        with pytest.raises(UsageError):
            wilson(*bad)
    with pytest.raises(UsageError, match="between 0 and 1"):
        wilson(1, 2, 95)
