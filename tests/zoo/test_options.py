"""Option values against annotations."""

from collections.abc import Collection
from typing import Any, Literal

import pytest

from danlu.errors import UsageError
from danlu.literals import fits, spell
from danlu.registry import Registry
from danlu.zoo._options import check_options


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (int, [0, -3], [1.0, True, "1", None]),
        (float, [0, 1.5, -2], [True, "1.5", None]),
        (bool, [True, False], [0, 1, "True"]),
        (str, ["", "a"], [1, None]),
        (int | None, [3, None], ["3", 1.5, False]),
        (Literal["a", 1], ["a", 1], ["b", True, 1.0]),
        (tuple[int, ...], [(), (1, 2)], [[1], 1]),
        (Collection[str], [(), ["a"], {"a"}], [1, None]),
        (Any, [1, "a", None], []),
    ],
)
def test_a_value_is_of_the_annotated_type_or_not(hint, good, bad):
    assert [fits(value, hint) for value in good] == [True] * len(good)
    assert [fits(value, hint) for value in bad] == [False] * len(bad)


@pytest.mark.parametrize(
    ("hint", "text"),
    [(int, "int"), (int | None, "int | None"), (Literal["a", "b"], "'a' | 'b'"), (Collection[str], "Collection[str]")],
)
def test_annotations_are_spelled_for_people(hint, text):
    assert spell(hint) == text


def test_names_types_and_counts_are_checked():
    nets: Registry = Registry("net")

    @nets()
    def net(*, num_classes: int = 10, kind: Literal["a", "b"] = "a") -> None:
        """A net."""

    check_options(nets["net"], {"num_classes": 1, "kind": "b"})
    for options, says in [
        ({"kinds": "a"}, "did you mean kind"),
        ({"kind": "c"}, "kind must be 'a' | 'b', such as kind='a'; got 'c'"),
        ({"num_classes": 0}, "at least 1"),
        ({"num_classes": 2.0}, "must be int"),
    ]:
        with pytest.raises(UsageError, match=says.replace("|", r"\|")):
            check_options(nets["net"], options)
