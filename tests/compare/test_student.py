"""The t distribution against its closed forms and published quantiles."""

from math import atan, pi, sqrt
from statistics import NormalDist

import pytest

from danlu.compare.student import quantile, two_sided


@pytest.mark.parametrize("t", [1e-9, 0.1, 1.0, 3.3, 12.7, 1e4])
def test_closed_forms_of_one_two_and_four_degrees_of_freedom(t: float) -> None:
    assert two_sided(t, 1) == pytest.approx(1 - 2 / pi * atan(t), rel=1e-9, abs=1e-12)
    assert two_sided(t, 2) == pytest.approx(1 - t / sqrt(2 + t * t), rel=1e-6, abs=1e-14)
    x = t / sqrt(4 + t * t)
    assert two_sided(t, 4) == pytest.approx(1 - 1.5 * x + 0.5 * x**3, rel=1e-6, abs=1e-14)


def test_the_area_under_the_density() -> None:
    """By the trapezoid rule, for degrees of freedom that are not whole."""
    from math import exp, lgamma, log

    df, t, steps = 3.7, 1.9, 20_000
    front = exp(lgamma((df + 1) / 2) - lgamma(df / 2) - 0.5 * log(df * pi))
    heights = [front * (1 + (t * i / steps) ** 2 / df) ** (-(df + 1) / 2) for i in range(steps + 1)]
    area = t / steps * (sum(heights) - 0.5 * (heights[0] + heights[-1]))
    assert two_sided(t, df) == pytest.approx(1 - 2 * area, abs=1e-8)


def test_many_degrees_of_freedom_are_normal() -> None:
    assert two_sided(1.3, 1e8) == pytest.approx(2 * (1 - NormalDist().cdf(1.3)), rel=1e-6)
    assert two_sided(-1.3, 1e8) == two_sided(1.3, 1e8)
    assert two_sided(0, 5) == 1


@pytest.mark.parametrize(
    ("level", "df", "table"), [(0.95, 1, 12.706), (0.95, 2, 4.303), (0.95, 10, 2.228), (0.99, 30, 2.750), (0.999, 5, 6.869)]
)
def test_quantiles_are_those_of_the_printed_tables(level: float, df: float, table: float) -> None:
    assert quantile(level, df) == pytest.approx(table, abs=5e-4)
    assert two_sided(quantile(level, df), df) == pytest.approx(1 - level, rel=1e-9)
