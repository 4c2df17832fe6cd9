"""Sizes, times and counts as people write them."""

import pytest

from danlu.errors import UsageError
from danlu.units import parse_bytes, parse_count, parse_ms, parse_seconds, parse_share, show_bytes, show_count, show_seconds


@pytest.mark.parametrize(
    ("text", "value"),
    [("500KB", 500_000), ("64KiB", 65_536), ("1.5 MB", 1_500_000), ("300", 300), ("2gb", 2 * 10**9), ("1e3B", 1000)],
)
def test_bytes(text: str, value: int) -> None:
    assert parse_bytes(text) == value


@pytest.mark.parametrize(("text", "value"), [("20m", 1200), ("90s", 90), ("1.5h", 5400), ("45", 45), ("500ms", 0.5)])
def test_seconds(text: str, value: float) -> None:
    assert parse_seconds(text) == pytest.approx(value)


@pytest.mark.parametrize(("text", "value"), [("3ms", 3), ("250us", 0.25), ("1s", 1000), ("0.5", 0.5)])
def test_milliseconds(text: str, value: float) -> None:
    assert parse_ms(text) == pytest.approx(value)


def test_counts_and_shares() -> None:
    assert parse_count("40M") == 40_000_000
    assert parse_share("1/8") == 0.125
    assert parse_share("500KB") is None


@pytest.mark.parametrize("text", ["", "KB", "5 parsecs", "-3MB", "0KB", "1..2KB", "nan", "inf", "9" * 400 + "KB"])
def test_bad_sizes_name_the_way_out(text: str) -> None:
    with pytest.raises(UsageError, match="size"):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["1/0", "0/3"])
def test_a_share_of_nothing(text: str) -> None:
    with pytest.raises(UsageError, match="above zero"):
        parse_share(text)


def test_shown_numbers_read_back() -> None:
    assert parse_bytes(show_bytes(123_000)) == 123_000
    assert show_count(1_234_567) == "1.23 M"
    assert show_seconds(75.2) == "1 min 15 s"


@pytest.mark.parametrize(
    ("count", "text"), [(999_999, "1 MB"), (999_499, "999 KB"), (999, "999 B"), (1000, "1 KB"), (57_300, "57.3 KB"), (0, "0 B")]
)
def test_rounding_carries_into_the_next_unit(count: int, text: str) -> None:
    assert show_bytes(count) == text
