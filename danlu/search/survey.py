"""The survey: candidates are exported untrained and measured, those first that are predicted to use the budget best.

Exporting costs seconds, so not everything is measured. One member of a family tells what the family costs on this machine; the
others are predicted from it (MACs with the square of the scale, parameters with the square of the width), and the largest that
is predicted to fit is measured next, family by family, until the stage's time is used.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from ..edits.recipe import parse
from ..errors import DanluError, UsageError
from ..units import show_bytes, show_count
from ..zoo import create
from .candidate import Candidate, overrun, relative
from .chain import Editor
from .choose import is_limited
from .context import Search
from .ladder import predicted_bytes
from .measure import Cost, count, measure
from .shipped import pack
from .space import Proposal, proposals
from .stages import data_at
from .trainer import Trainer

# The stage's share of the time; short searches need a larger one to measure anything.
SHARE, SHORT_SHARE, SHORT_SECONDS = 0.05, 0.18, 25.0
# Latency grows slower than MACs: every layer has a cost of its own.
LATENCY_POWER = 0.7
# Predictions that overrun a limit by more than this are not worth an export.
TOLERANCE = 1.15


@dataclass
class Family:
    """The unmeasured members of one architecture, large to small, and the measured ones."""

    name: str
    waiting: list[Proposal]
    measured: list[tuple[Proposal, Cost]] = field(default_factory=list)

    def predicted(self, proposal: Proposal) -> Cost:
        """The cost of a member from the nearest measured one."""
        known, cost = min(self.measured, key=lambda row: abs(row[0].scale - proposal.scale))
        macs = (proposal.scale / known.scale) ** 2
        params = (proposal.width / known.width) ** 2
        return replace(
            cost, size_bytes=round(cost.size_bytes * params), latency_ms=cost.latency_ms * macs**LATENCY_POWER,
            macs=round(cost.macs * macs), params=round(cost.params * params),
        )  # fmt: skip

    def next(self, weigh: Callable[[Cost], float], targets: tuple[float, ...]) -> Proposal | None:
        """The member to measure next: the middle one first, then the largest predicted at or under the next target weight.

        None when nothing else is predicted to fit.
        """
        if not self.waiting:
            return None
        if not self.measured:
            return self.waiting[len(self.waiting) // 2]
        target = targets[(len(self.measured) - 1) % len(targets)]
        fitting = [p for p in self.waiting if weigh(self.predicted(p)) <= TOLERANCE * target]
        if not fitting and all(weigh(cost) > 1 for _, cost in self.measured):
            smallest = self.waiting[-1]
            return smallest if smallest.scale < min(p.scale for p, _ in self.measured) else None
        return max(fitting, key=lambda p: p.scale, default=None)


def survey(search: Search, trainer: Trainer) -> None:
    """Measure candidates until the stage's time is used; mark those that overrun a limit as infeasible."""
    state, limits, base = search.state, search.limits, search.baseline_cost
    started = time.monotonic()
    total = search.clock.total
    until = started + max(SHARE * total, min(SHORT_SHARE * total, SHORT_SECONDS))
    limited = is_limited(limits)

    def weigh(cost: Cost) -> float:
        return overrun(cost, limits) if limited else relative(cost, base)

    families = group(proposals(search.source.input, state.baseline["recipe"]), state.candidates, weigh)
    targets = (1.0, 0.5) if limited else (0.25, 0.125, 0.5)
    while families and time.monotonic() < until:
        for family in list(families):
            proposal = family.next(weigh, targets)
            if proposal is None:
                families.remove(family)
                continue
            family.waiting.remove(proposal)
            if cheaper(search, proposal):
                candidate = measure_one(search, trainer, proposal, min(1.0, 0.006 * total))
                state.candidates.append(candidate)
                if candidate.costs:
                    family.measured.append((proposal, min(candidate.costs, key=weigh)))
                search.save()
            if time.monotonic() >= until:
                break
    feasible = search.feasible()
    for candidate in state.candidates:
        if candidate.costs and candidate not in feasible:
            closest = min(candidate.costs, key=lambda cost: overrun(cost, limits))
            misses = [str(c) for c in limits.checks(closest.size_bytes, closest.latency_ms, closest.macs) if not c.met]
            candidate.status, candidate.why = "infeasible", "over the limit: " + ", ".join(misses)
    search.log(
        f"measured {len(state.candidates)} untrained candidates against a baseline of {show_bytes(base.size_bytes)}, "
        f"{base.latency_ms:.3g} ms: {len(feasible)} fit the budget"
    )
    state.phase = "halve"
    search.clock.stage("measure candidates", time.monotonic() - started)
    search.save()


def group(found: list[Proposal], done: list[Candidate], weigh: Callable[[Cost], float]) -> list[Family]:
    """The proposals by family, in the order of `proposals`; what an interrupted search had measured is known already."""
    families: dict[str, Family] = {}
    before = {c.proposal.recipe: c for c in done}
    for proposal in found:
        family = families.setdefault(proposal.family, Family(proposal.family, []))
        candidate = before.get(proposal.recipe)
        if candidate is None:
            family.waiting.append(proposal)
        elif candidate.costs:
            family.measured.append((proposal, min(candidate.costs, key=weigh)))
    return list(families.values())


def cheaper(search: Search, proposal: Proposal) -> bool:
    """Whether a proposal has fewer MACs and parameters than the baseline."""
    base, source = search.baseline_cost, search.source
    if proposal.pruned:
        return True
    try:
        with torch.device("meta"):
            net = create(proposal.recipe, num_classes=len(source.classes), in_channels=source.input.channels)
    except UsageError as error:
        search.log(f"  {proposal.recipe} left out: {error}")
        return False
    macs, params = count(net, replace(source.input, size=proposal.size))
    return macs < 0.9 * base.macs and params < base.params


def measure_one(search: Search, trainer: Trainer, proposal: Proposal, seconds: float) -> Candidate:
    """Export and time one proposal; one that cannot be exported is kept with the reason and must not end the search."""
    number = max((c.id for c in search.state.candidates), default=0) + 1
    source, folder = search.source, search.folder / "candidates" / f"{number:03d}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        costs = measure(
            proposal, lambda: edited(search, trainer, proposal), replace(source.input, size=proposal.size), source.classes,
            (search.baseline_file, search.baseline_cost.latency_ms), folder, threads=search.threads, seconds=seconds,
            packed=packed_as(search, proposal, folder) if search.danlu else None,
        )  # fmt: skip
    except DanluError as error:
        search.log(f"  {proposal.recipe} left out: {error}")
        return Candidate(number, proposal, [], "failed", str(error))
    lightest = min(costs, key=lambda cost: cost.latency_ms)
    search.log(
        f"  {proposal.recipe}: {show_bytes(min(c.size_bytes for c in costs))}, {lightest.latency_ms:.3g} ms, "
        f"{show_count(lightest.macs)} MACs"
    )
    return Candidate(number, proposal, costs)


def edited(search: Search, trainer: Trainer, proposal: Proposal) -> nn.Module:
    """The untrained network of a proposal, with the user's chain applied: what it costs in the end."""
    net = trainer.build(proposal)
    if not search.edits:
        return net
    return Editor(data_at(search.source, proposal.size), search.seed).all_at_once(net, parse(search.edits))


def packed_as(search: Search, proposal: Proposal, folder: Path) -> Callable[[nn.Module], int]:
    """How the bytes of a proposal's .danlu file are predicted: after the user's chain by packing it, else by the usual rung."""
    if not search.edits:
        return predicted_bytes
    input = replace(search.source.input, size=proposal.size)
    return lambda net: pack(net, folder / "predicted.danlu", input, search.source.classes, proposal.recipe)
