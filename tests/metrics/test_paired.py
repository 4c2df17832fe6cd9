"""The interval for the difference of two accuracies on the same images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.errors import UsageError
from danlu.metrics import paired_difference, wilson
from danlu.metrics.paired import correlation, newcombe


def answers(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    a = [True] * (both + only_a) + [False] * (only_b + neither)
    b = [True] * both + [False] * only_a + [True] * only_b + [False] * neither
    return np.array(a), np.array(b)


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        ((14, 5, 0, 22), 0.011, 0.226),  # Altman et al. 2000, Statistics with Confidence, table 6.2
        ((1, 1, 7, 12), -0.507, -0.026),  # Fagerland, Lydersen and Laake 2014, data of Bentur et al. 2009
    ],
)
def test_published_intervals(table: tuple[int, int, int, int], low: float, high: float) -> None:
    difference, *interval = paired_difference(*answers(*table))
    assert interval == pytest.approx([low, high], abs=5e-4)
    assert difference == pytest.approx((table[1] - table[2]) / sum(table))


TABLES = st.tuples(*[st.integers(0, 300)] * 4).filter(lambda table: sum(table) > 0)


@given(TABLES)
def test_symmetry_order_and_range(table: tuple[int, int, int, int]) -> None:
    both, only_a, only_b, neither = table
    difference, low, high = newcombe(*table)
    assert -1 - 1e-9 <= low <= difference <= high <= 1 + 1e-9
    swapped = newcombe(both, only_b, only_a, neither)
    assert swapped == pytest.approx((-difference, -high, -low), abs=1e-12)


@given(TABLES)
def test_pairing_never_counts_for_more_than_it_is(table: tuple[int, int, int, int]) -> None:
    both, only_a, only_b, neither = table
    a, b = answers(*table)
    phi = correlation(*table)
    if a.std() and b.std():
        assert phi <= max(np.corrcoef(a, b)[0, 1], 0) + 1e-9
        if only_a * only_b > both * neither:
            assert phi == pytest.approx(np.corrcoef(a, b)[0, 1])
    else:
        assert phi == 0


def test_without_correlation_it_is_square_and_add_of_wilson_limits() -> None:
    """ad = bc: the interval for independent samples."""
    difference, low, high = newcombe(40, 10, 40, 10)
    low_a, high_a = wilson(50, 100)
    low_b, high_b = wilson(80, 100)
    assert low == pytest.approx(difference - ((0.5 - low_a) ** 2 + (high_b - 0.8) ** 2) ** 0.5)
    assert high == pytest.approx(difference + ((high_a - 0.5) ** 2 + (0.8 - low_b) ** 2) ** 0.5)


@pytest.mark.parametrize(
    "chances", [(0.90, 0.04, 0.03, 0.03), (0.95, 0.02, 0.02, 0.01), (0.6, 0.1, 0.2, 0.1), (0.98, 0.01, 0.005, 0.005)]
)
@pytest.mark.parametrize("n", [60, 269, 1000])
def test_coverage(chances: tuple[float, float, float, float], n: int) -> None:
    """In 3,000 repetitions the interval covers the truth about as often as it says."""
    rng = np.random.default_rng(0)
    truth = chances[1] - chances[2]
    tables, counts = np.unique(rng.multinomial(n, chances, size=3000), axis=0, return_counts=True)
    covered = sum(
        count
        for table, count in zip(tables, counts, strict=True)
        if newcombe(*table.tolist())[1] <= truth <= newcombe(*table.tolist())[2]
    )
    assert 0.94 <= covered / 3000 <= 1.0


def test_equal_models_and_perfect_ones() -> None:
    assert paired_difference([True, False, True], [True, False, True])[0] == 0
    difference, low, high = paired_difference([True] * 50, [True] * 50)
    assert difference == 0
    assert low < 0 < high  # fifty images do not prove that two models are equal


def test_more_confidence_is_wider() -> None:
    narrow, wide = newcombe(80, 8, 4, 8, 0.8), newcombe(80, 8, 4, 8, 0.99)
    assert wide[1] < narrow[1] < narrow[2] < wide[2]


@pytest.mark.parametrize(("a", "b"), [([True], [True, False]), ([], []), ([[True]], [[True]])])
def test_refusals(a: list, b: list) -> None:
    with pytest.raises(UsageError, match="the same images"):
        paired_difference(a, b)
