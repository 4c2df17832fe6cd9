"""Numbers for people: units, signs and digits, against values worked out by hand and properties."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.report import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 KB"),
        (123_400, "123 KB"),
        (391_224, "391 KB"),
        (1_098_112, "1.1 MB"),
        (999_499, "999 KB"),
        (999_999, "1 MB"),
        (1_234_567, "1.23 MB"),
        (2_500_000_000, "2.5 GB"),
        (None, "–"),
    ],
)
def test_sizes_use_units_of_1000(value: float | None, text: str) -> None:
    assert numbers.size(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (17, "17"), (272_474, "272 k"), (40_813_184, "40.8 M"), (4_089_184_256, "4.09 G"), (999_999, "1 M"), (None, "–")],
)
def test_counts(value: float | None, text: str) -> None:
    assert numbers.count(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0004123, "0.000412 ms"),
        (0.412, "0.412 ms"),
        (2.184, "2.18 ms"),
        (12.34, "12.3 ms"),
        (999.9, "1,000 ms"),
        (1234.5, "1,234 ms"),
        (None, "–"),
    ],
)
def test_milliseconds(value: float | None, text: str) -> None:
    assert numbers.ms(value) == text


def test_accuracy_is_in_per_cent_and_its_differences_in_points() -> None:
    assert numbers.percent(0.80149) == "80.1 %"
    assert numbers.percent(1.0) == "100.0 %"
    assert numbers.points(-0.004) == "−0.4 points"
    assert numbers.points(0.003) == "+0.3 points"
    assert numbers.points(-0.0004) == "0.0 points"  # a rounded zero has no sign
    assert numbers.points(0.01, sign=False) == "1.0 points"
    assert numbers.interval([-0.011, 0.003]) == "−1.1 to +0.3"
    assert numbers.interval(None) == numbers.interval([None, 0.1]) == ""


def test_ratios_say_which_way_they_go() -> None:
    assert numbers.change(10, 2, "smaller", "larger") == "5.0× smaller"
    assert numbers.change(2, 10, "smaller", "larger") == "5.0× larger"
    assert numbers.change(1000, 24, "smaller", "larger") == "42× smaller"
    assert numbers.change(100, 100.2, "smaller", "larger") == "unchanged"
    assert numbers.change(100, 98, "smaller", "larger") == "2.0 % smaller"
    assert numbers.change(100, 102, "smaller", "larger") == "2.0 % larger"
    assert numbers.change(None, 2, "smaller", "larger") == numbers.change(2, 0, "smaller", "larger") == "–"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "0.25 s"),
        (59.4, "59.4 s"),
        (59.7, "1 min"),
        (75.2, "1 min 15 s"),
        (1180.2, "19 min 40 s"),
        (3599.8, "1 h"),
        (7260, "2 h 1 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert numbers.duration(seconds) == text


@given(st.just(0.0) | st.floats(min_value=1e-6, max_value=1e15))
def test_no_number_is_shown_with_an_exponent_and_three_digits_are_right(value: float) -> None:
    for show, units in (
        (numbers.size, {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9}),
        (numbers.count, {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}),
    ):
        text = show(value)
        number, _, unit = text.partition(" ")
        assert re.fullmatch(r"[0-9,]+(\.[0-9]+)?", number), text
        back = float(number.replace(",", "")) * units[unit]
        assert back == pytest.approx(value, rel=0.006, abs=1e-9)
        assert float(number.replace(",", "")) < 1000 or unit in ("GB", "G")
