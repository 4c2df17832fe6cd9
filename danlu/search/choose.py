"""Decisions of the search, as pure functions of measurements: who enters, who is promoted, who wins."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .budget import Limits
from .candidate import Candidate, overrun, relative
from .measure import PREDICTED, Cost

# Shares of the limit (or, without limits, of the baseline's cost) that entrants are drawn at, in turn.
TARGETS_LIMITED = (1.0, 1.0, 0.5)
TARGETS_OPEN = (0.25, 0.125, 0.5)


@dataclass(frozen=True)
class Deployable:
    """A trained candidate in one precision, with the validation accuracy of its exported file."""

    candidate: Candidate
    cost: Cost
    accuracy: float


def is_limited(limits: Limits) -> bool:
    """True when any limit on cost is set."""
    return limits.size_bytes is not None or limits.latency_ms is not None or limits.macs is not None


def weight(candidate: Candidate, limits: Limits, baseline: Cost) -> float:
    """How heavy a candidate is, in its lightest precision: against the limits where there are any, else against the baseline."""
    if is_limited(limits):
        return min(overrun(cost, limits) for cost in candidate.costs)
    return min(relative(cost, baseline) for cost in candidate.costs)


def entrants(feasible: Sequence[Candidate], limits: Limits, baseline: Cost, count: int) -> list[Candidate]:
    """Draw `count` candidates for training: in turn the largest network at each target weight, from the family used least.

    Within a family more multiply-accumulates at the same weight have been the better network; between families no such
    order is known, so each gets its turn. Both kinds take part, pruned baselines and small nets, where both fit.
    """
    targets = TARGETS_LIMITED if is_limited(limits) else TARGETS_OPEN
    chosen: list[Candidate] = []
    used: Counter[str] = Counter()
    pool = list(feasible)
    for turn in range(count):
        if not pool:
            break
        kinds = {c.proposal.pruned for c in chosen}
        if turn == 1 and len({c.proposal.pruned for c in feasible} - kinds) == 1:
            pool_now = [c for c in pool if c.proposal.pruned not in kinds]
        else:
            pool_now = pool
        target = targets[turn % len(targets)]
        light = [c for c in pool_now if weight(c, limits, baseline) <= target] or pool_now
        fewest = min(used[c.proposal.family] for c in light)
        best = max((c for c in light if used[c.proposal.family] == fewest), key=lambda c: c.costs[0].macs)
        chosen.append(best)
        used[best.proposal.family] += 1
        pool.remove(best)
    return chosen


def promoted(live: Sequence[Candidate], keep: int) -> list[Candidate]:
    """The `keep` most accurate of a rung; of two places or more, one goes to the best of the other kind.

    A pruned baseline starts from trained weights and a small net from nothing: early accuracies favour the first, so that
    between the kinds a short rung does not decide.
    """
    ranked = sorted(live, key=lambda c: -c.rung_accuracy)
    kept = ranked[:keep]
    others = [c for c in ranked[keep:] if c.proposal.pruned != kept[0].proposal.pruned]
    if keep >= 2 and others and all(c.proposal.pruned == kept[0].proposal.pruned for c in kept):
        kept[-1] = others[0]
    return kept


def finalists(live: Sequence[Candidate], limits: Limits, baseline: Cost) -> list[Candidate]:
    """The most accurate. Without limits on cost also the lightest within the accepted drop of it, if a quarter lighter.

    A limit says how light is light enough; without one, how much lighter a network can be is the question.
    """
    ranked = sorted(live, key=lambda c: -c.rung_accuracy)
    chosen = ranked[:1]
    if chosen and not is_limited(limits):
        best = chosen[0]
        near = [c for c in ranked[1:] if c.rung_accuracy >= best.rung_accuracy - limits.drop]
        light = min(near, key=lambda c: weight(c, limits, baseline), default=None)
        if light is not None and weight(light, limits, baseline) <= 0.75 * weight(best, limits, baseline):
            chosen.append(light)
    return chosen


def winner(options: Sequence[Deployable], reference: float, limits: Limits, baseline: Cost) -> Deployable:
    """The lightest file that meets every limit and loses at most the accepted drop on validation.

    When none does: the most accurate among those that meet the limits; when no file meets them, the one that overruns
    least. `reference` is the baseline's validation accuracy. `options` is never empty: the baseline itself is one.
    """
    fitting = [o for o in options if overrun(o.cost, limits) <= 1]
    keeping = [o for o in fitting if reference - o.accuracy <= limits.drop + 1e-9]
    if keeping:
        return min(keeping, key=lambda o: relative(o.cost, baseline))
    if fitting:
        return max(fitting, key=lambda o: o.accuracy)
    closest = min(overrun(o.cost, limits) for o in options)
    near = [o for o in options if overrun(o.cost, limits) <= closest * 1.05]
    return max(near, key=lambda o: o.accuracy)


def in_the_way(limits: Limits, cost: Cost, drop: float, lightest: Cost) -> str:
    """Why the budget is not met, in one or two sentences; empty when it is. `lightest` is the closest file of any candidate."""
    parts = []
    for check, floor in zip(
        limits.checks(cost.size_bytes, cost.latency_ms, cost.macs),
        limits.checks(lightest.size_bytes, lightest.latency_ms, lightest.macs),
        strict=True,
    ):
        if not check.met:
            known = "is predicted to have" if lightest.precision == PREDICTED else "measured has"
            better = (
                f" (the lightest candidate {known} {floor})"
                if floor.got < check.got
                else ", and no candidate measured is lighter"
            )
            parts.append(f"{check}{better}")
    if drop > limits.drop:
        parts.append(
            f"the accuracy drop on test is {100 * drop:.1f} points of {100 * limits.drop:.1f} accepted; "
            "more --time, more images, or a looser limit on size or latency would help"
        )
    return "; ".join(parts)
