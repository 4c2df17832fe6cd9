"""The plan of successive halving fills its time and keeps rungs long enough; the study records what happened."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.search.candidate import Candidate
from danlu.search.halving import SHORTEST_RUNG_SECONDS, Study, cost_of_rung, plan, resource, survivors
from danlu.search.space import Proposal


@given(st.floats(1, 1e5), st.integers(1, 40))
def test_the_plan_costs_what_it_was_given(seconds: float, available: int) -> None:
    count, first, rungs = plan(seconds, available)
    assert 1 <= count <= available
    assert first * sum(cost_of_rung(count, rung) for rung in range(rungs)) == pytest.approx(seconds)
    assert count == 1 or first >= SHORTEST_RUNG_SECONDS


def test_rungs_triple_the_time_and_cut_to_a_third() -> None:
    assert [survivors(9, r) for r in range(3)] == [9, 3, 1]
    assert [resource(2.0, r) for r in range(3)] == [2.0, 6.0, 18.0]
    # 9 x 1, then 3 x (3 - 1), then 1 x (9 - 3)
    assert [cost_of_rung(9, r) for r in range(3)] == [9, 6, 6]


def test_more_time_means_more_entrants() -> None:
    counts = [plan(seconds, 20)[0] for seconds in (5, 30, 300)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_the_study_can_be_opened_again(tmp_path: Path) -> None:
    one, two = (Candidate(i, Proposal(f"net{i}", (8, 8), "f"), []) for i in (1, 2))
    study = Study(tmp_path / "study.log", "s", 0)
    for candidate, accuracy in ((one, 0.5), (two, 0.7)):
        candidate.rungs.append({"seconds": 1.0, "accuracy": accuracy})
        study.report(candidate, 0, accuracy)
    study.close(one, pruned=True)
    again = Study(tmp_path / "study.log", "s", 0)
    again.close(two, pruned=False)
    again.close(two, pruned=False)
    states = {t.user_attrs["recipe"]: t.state.name for t in again.study.get_trials()}
    assert states == {"net1": "PRUNED", "net2": "COMPLETE"}
    assert again.study.best_value == 0.7
