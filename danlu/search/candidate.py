"""One candidate of the search: what it is, what it costs, how accurate it became, and what was decided about it."""

from dataclasses import dataclass, field
from typing import Any

from .budget import Limits
from .measure import Cost
from .space import Proposal

# measured: feasible, not trained; stopped: dropped after an early rung; trained: to the end; infeasible: never trained.
STATUSES = ("measured", "infeasible", "failed", "stopped", "trained", "chosen", "baseline")


@dataclass
class Candidate:
    """A proposal with its measured costs (one a precision), the accuracies of its rungs and its status.

    One that came from another (`parent`; 0 is the baseline) by a `chain` of edits holds the `steps` of the way, as rows of the
    waterfall, and what the edits `kept` with the reason.
    """

    id: int
    proposal: Proposal
    costs: list[Cost]
    status: str = "measured"
    why: str = ""
    rungs: list[dict[str, float]] = field(default_factory=list)
    accuracy: dict[str, float] = field(default_factory=dict)
    parent: int | None = None
    chain: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list)
    kept: list[dict[str, str]] = field(default_factory=list)

    @property
    def rung_accuracy(self) -> float:
        """Validation accuracy at the last rung; -1 when never trained."""
        return self.rungs[-1]["accuracy"] if self.rungs else -1.0

    @property
    def seconds(self) -> float:
        """Training seconds so far."""
        return self.rungs[-1]["seconds"] if self.rungs else 0.0

    def within(self, limits: Limits) -> list[Cost]:
        """The precisions in which it meets every limit."""
        return [cost for cost in self.costs if overrun(cost, limits) <= 1]

    def to_json(self) -> dict[str, Any]:
        """Plain values, for the state of the search."""
        return {
            "id": self.id,
            "recipe": self.proposal.recipe,
            "size": list(self.proposal.size),
            "family": self.proposal.family,
            "pruned": self.proposal.pruned,
            "width": self.proposal.width,
            "costs": [cost.to_json() for cost in self.costs],
            "status": self.status,
            "why": self.why,
            "rungs": self.rungs,
            "accuracy": self.accuracy,
            "parent": self.parent,
            "chain": self.chain,
            "steps": self.steps,
            "kept": self.kept,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Candidate":
        """The reverse of `to_json`."""
        proposal = Proposal(data["recipe"], (data["size"][0], data["size"][1]), data["family"], data["pruned"], data["width"])
        costs = [Cost(**cost) for cost in data["costs"]]
        made = cls(data["id"], proposal, costs, data["status"], data["why"], data["rungs"], data["accuracy"])
        if "parent" in data:
            made.parent, made.chain, made.steps, made.kept = data["parent"], data["chain"], data["steps"], data["kept"]
        return made

    def rows(self) -> list[dict[str, Any]]:
        """One row a precision, as the report and `--json` show candidates."""
        return [
            {
                "id": self.id,
                "recipe": self.proposal.recipe,
                "size": list(self.proposal.size),
                "precision": cost.precision,
                "params": cost.params,
                "macs": cost.macs,
                "size_bytes": cost.size_bytes,
                "latency_ms": cost.latency_ms,
                "latency_p10_ms": cost.latency_p10_ms,
                "latency_p90_ms": cost.latency_p90_ms,
                "accuracy": self.accuracy.get(cost.precision, self.rung_accuracy if self.rungs else None),
                "status": self.status,
                "why": self.why,
                "rungs": self.rungs,
            }
            for cost in self.costs
        ]


def overrun(cost: Cost, limits: Limits) -> float:
    """The largest factor by which `cost` overruns a limit; at most 1 when it fits."""
    return limits.excess(cost.size_bytes, cost.latency_ms, cost.macs)


def relative(cost: Cost, baseline: Cost) -> float:
    """Cost against the baseline: the geometric mean of the ratios of bytes and of latency."""
    return float((cost.size_bytes / baseline.size_bytes * cost.latency_ms / baseline.latency_ms) ** 0.5)
