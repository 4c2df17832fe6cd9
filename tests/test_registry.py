"""The one registry: names, facts, duplicates, misses."""

import pytest

from danlu.errors import UsageError
from danlu.registry import Registry


def make() -> Registry:
    things: Registry = Registry("thing")

    @things(paper="a", params=3)
    def squeeze(*, width: float = 1.0) -> float:
        """Squeezes."""
        return width

    return things


def test_entry_carries_name_facts_and_summary() -> None:
    entry = make()["squeeze"]
    assert (entry.name, entry.facts["params"], entry.summary) == ("squeeze", 3, "Squeezes.")
    assert list(entry.options()) == ["width"]


def test_a_miss_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown thing 'squeze'; did you mean squeeze\?"):
        make()["squeze"]


def test_a_far_miss_lists_what_exists() -> None:
    with pytest.raises(UsageError, match="known: squeeze"):
        make()["zzzzzz"]


def test_duplicates_raise() -> None:
    things = make()

    def squeeze() -> None:
        """Another."""

    with pytest.raises(UsageError, match="registered twice"):
        things()(squeeze)


def test_unknown_option_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean width"):
        make()["squeeze"].check({"widht": 2})


def test_names_take_a_pattern() -> None:
    assert make().names("sq*") == ["squeeze"]
    assert make().names("x*") == []
