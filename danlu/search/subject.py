"""What a chain of edits is applied to: the finalist, or the baseline, that is predicted to end as the best file."""

from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from ..data import Source
from .candidate import Candidate, overrun, relative
from .choose import Deployable, is_limited, winner
from .context import Search
from .ladder import predicted_bytes
from .measure import Cost, latencies
from .shipped import ship
from .space import Proposal
from .stages import data_at
from .trainer import Trainer


@dataclass
class Subject:
    """What is made smaller: a finalist, or the baseline (id 0), with its row of the waterfall."""

    id: int
    net: nn.Module
    source: Source
    proposal: Proposal
    rows: list[dict[str, Any]]
    rungs: list[dict[str, float]]


def the_subject(search: Search, trainer: Trainer) -> Subject:
    """The lightest of the finalists and the baseline, as they are predicted to be once compressed, that keeps the accuracy."""
    state, base = search.state, search.baseline_cost
    if "subject" not in state.plan:
        state.plan["subject"] = pick(search)
        search.save()
    number = int(state.plan["subject"])
    if number == 0:
        proposal = Proposal(state.baseline["recipe"], search.source.input.size, "baseline")
        return Subject(0, search.baseline_model()[0], search.source, proposal, [], [])
    candidate = state.by_id(number)
    source = data_at(search.source, candidate.proposal.size)
    net = trainer.saved(candidate)
    stem = trainer.home(candidate) / "fp32"
    done = ship(net, stem, source, candidate.proposal.recipe, danlu=False)
    _, _, _, ratio = latencies([search.baseline_file, done.onnx], search.threads, min(2.0, 0.01 * search.clock.total))[1]
    name = "channels pruned, fine-tuned" if candidate.proposal.pruned else "smaller network"
    name += " with distillation" if trainer.distils(done.macs) else ""
    row = {"name": name, "recipe": candidate.proposal.recipe, "accuracy": done.accuracy, "size_bytes": done.size_bytes,
           "latency_ms": ratio * base.latency_ms, "macs": done.macs, "params": done.params, "note": "ONNX file"}  # fmt: skip
    return Subject(number, net, source, candidate.proposal, [row], candidate.rungs)


def pick(search: Search) -> int:
    """The id of the subject."""
    state, limits, base = search.state, search.limits, search.baseline_cost

    def lightest(costs: list[Cost]) -> Cost:
        return min(costs, key=lambda cost: overrun(cost, limits) if is_limited(limits) else relative(cost, base))

    options = [Deployable(c, lightest(c.costs), c.rung_accuracy) for i in state.live if (c := state.by_id(i)).costs and c.rungs]
    if search.danlu or not options:
        itself = Candidate(0, Proposal(state.baseline["recipe"], search.source.input.size, "baseline"), [base], "baseline")
        size = predicted_bytes(search.baseline_model()[0]) if search.danlu else base.size_bytes
        options.append(Deployable(itself, replace(base, size_bytes=size), state.baseline["accuracy"]))
    return winner(options, state.baseline["accuracy"], limits, base).candidate.id
