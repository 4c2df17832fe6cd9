"""The decisions of the search, on made-up measurements."""

import itertools

from danlu.search.budget import Budget, Limits
from danlu.search.candidate import Candidate
from danlu.search.choose import Deployable, entrants, finalists, in_the_way, promoted, winner
from danlu.search.measure import Cost
from danlu.search.space import Proposal

IDS = itertools.count(1)


def cost(size: float, latency: float, macs: float = 1e6, precision: str = "fp32") -> Cost:
    return Cost(precision, "f.onnx", round(size), latency, latency, latency, latency, round(macs), 1)


BASE = cost(8e6, 8.0, 1e8)


def candidate(
    size: float, latency: float, *, family: str = "f", macs: float = 1e6, accuracy: float | None = None, pruned: bool = False
) -> Candidate:
    made = Candidate(next(IDS), Proposal(f"n{size}-{latency}", (8, 8), family, pruned), [cost(size, latency, macs)])
    if accuracy is not None:
        made.rungs.append({"seconds": 1.0, "accuracy": accuracy})
    return made


def limits(**kw: object) -> Limits:
    return Budget(**kw).limits(BASE.size_bytes, BASE.latency_ms, BASE.macs)  # type: ignore[arg-type]


def test_entrants_take_turns_between_families_largest_first() -> None:
    pool = [candidate(1e6, 1, family=f, macs=m) for f in "ab" for m in (1e6, 2e6, 3e6)]
    chosen = entrants(pool, limits(max_size="2MB"), BASE, 3)
    assert [(c.proposal.family, c.costs[0].macs) for c in chosen] == [("a", 3e6), ("b", 3e6), ("a", 2e6)]


def test_entrants_never_exceed_the_pool() -> None:
    pool = [candidate(1e6, 1)]
    assert entrants(pool, limits(), BASE, 5) == pool


def test_promotion_keeps_the_best_and_one_of_the_other_kind() -> None:
    a, b, c = (candidate(4e6, 1, accuracy=acc, pruned=True) for acc in (0.90, 0.89, 0.88))
    d, e = (candidate(4e6, 1, accuracy=acc) for acc in (0.5, 0.4))
    assert promoted([e, d, c, b, a], 1) == [a]
    assert promoted([e, d, c, b, a], 2) == [a, d]
    assert promoted([c, b, a], 2) == [a, b]
    assert promoted([a, d, e], 2) == [a, d]


def test_without_limits_a_clearly_lighter_net_is_a_second_finalist() -> None:
    best = candidate(4e6, 4, accuracy=0.9)
    hardly, clearly = candidate(3.9e6, 3.9, accuracy=0.895), candidate(1e6, 1, accuracy=0.895)
    assert finalists([best, hardly], limits(), BASE) == [best]
    assert finalists([best, hardly, clearly], limits(), BASE) == [best, clearly]
    assert finalists([best, hardly, clearly], limits(max_size="5MB"), BASE) == [best]


def option(size: float, latency: float, accuracy: float) -> Deployable:
    made = candidate(size, latency)
    return Deployable(made, made.costs[0], accuracy)


def test_the_winner_is_the_lightest_that_keeps_accuracy() -> None:
    accurate, light, lossy = option(2e6, 2, 0.90), option(1e6, 1, 0.895), option(1e5, 0.1, 0.80)
    assert winner([accurate, light, lossy], 0.90, limits(max_size="4MB"), BASE) is light


def test_when_every_fitting_file_loses_too_much_the_most_accurate_wins() -> None:
    big, better, worse = option(9e6, 9, 0.95), option(1e6, 1, 0.85), option(1e5, 0.1, 0.80)
    assert winner([big, better, worse], 0.95, limits(max_size="4MB"), BASE) is better


def test_when_nothing_fits_the_closest_wins() -> None:
    far, near = option(9e6, 9, 0.95), option(2e6, 1, 0.5)
    assert winner([far, near], 0.95, limits(max_size="1MB"), BASE) is near


def test_what_stands_in_the_way_is_said_with_the_floor() -> None:
    text = in_the_way(limits(max_size="1MB"), cost(2e6, 1), 0.03, cost(1.5e6, 1))
    assert "size 2 MB of 1 MB" in text
    assert "1.5 MB" in text
    assert "3.0 points of 1.0" in text
    assert in_the_way(limits(max_size="4MB"), cost(2e6, 1), 0.0, cost(1.5e6, 1)) == ""
