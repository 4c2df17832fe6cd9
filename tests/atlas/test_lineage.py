"""The history is whole: every family of the zoo has its row, parents exist and are not younger, nothing grew from itself."""

import graphlib

import pytest

from danlu.atlas.lineage import GROUPS, LINEAGE, idea_of, led_to
from danlu.errors import UsageError
from danlu.zoo import models

FAMILIES = {entry.build.__module__.rpartition(".")[2] for entry in models}


def test_every_family_has_a_row_and_every_row_a_family() -> None:
    assert set(LINEAGE) == FAMILIES


@pytest.mark.parametrize("idea", LINEAGE.values(), ids=lambda idea: idea.family)
def test_a_row_is_sound(idea) -> None:
    assert idea.group in GROUPS
    years = [entry.facts["year"] for entry in models if entry.build.__module__.endswith(f".{idea.family}")]
    assert idea.year == min(years)
    for parent, new in idea.grew:
        assert LINEAGE[parent].year <= idea.year
        assert new
        assert not new.endswith(".")


def test_nothing_grew_from_itself() -> None:
    order = graphlib.TopologicalSorter({idea.family: [parent for parent, _ in idea.grew] for idea in LINEAGE.values()})
    assert len(list(order.static_order())) == len(LINEAGE)


def test_what_an_idea_led_to_is_the_other_side_of_what_it_grew_from() -> None:
    for idea in LINEAGE.values():
        for parent, new in idea.grew:
            assert (idea.family, new) in led_to(parent)
    assert sum(len(led_to(family)) for family in LINEAGE) == sum(len(idea.grew) for idea in LINEAGE.values())


def test_an_unknown_family_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="resnext"):
        idea_of("resnxt")
