"""Names with options, as settings write them: read like recipes, held against the signature, wrong ones told with the nearest."""

from typing import Literal

import pytest

from danlu.errors import UsageError
from danlu.registry import Registry
from danlu.spec import read, reads

things: Registry = Registry("thing")


@things(paper="none")
def scale(value: float, *, by: float, kind: Literal["linear", "square"] = "linear", seed: int = 0) -> float:
    """Multiply."""
    return value * by if kind == "linear" else value * by * by


@things(paper="none")
def plain(value: float) -> float:
    """Leave it."""
    return value


def test_options_that_are_written_win_over_those_of_the_program() -> None:
    assert read(things, "scale(by=3)")(2.0) == 6
    assert read(things, "scale(by=3, kind='square')")(2.0, by=100, unknown=1) == 18
    assert read(things, "scale", context=("by",))(2.0, by=5) == 10
    assert read(things, "plain")(2.0, by=5) == 2


def test_a_chain_is_read_in_order_and_may_be_empty() -> None:
    assert [spec.entry.name for spec in reads(things, "plain | scale(by=1) | plain")] == ["plain", "scale", "plain"]
    assert reads(things, "") == reads(things, "  ") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("scal(by=1)", "scale"), ("scale(bye=1)", "by"), ("scale", "needs by"), ("scale(by='x')", "by takes a number, got 'x'"),
        ("scale(by=1, kind='cube')", "'linear' or 'square'"), ("scale(1)", "written by name"), ("scale(", "not of the form"),
        (None, "written as text"), ("scale(by=print)", "not a literal"),
    ],
)  # fmt: skip
def test_wrong_text_is_told(text, said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        read(things, text)


def test_a_chain_that_is_no_text_is_refused() -> None:
    with pytest.raises(UsageError, match="written as text"):
        reads(things, 3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="plain"):
        reads(things, "plain | plane")
