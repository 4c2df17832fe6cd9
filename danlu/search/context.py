"""What every stage of a search reads: the data, the budget, the run, the clock, the state."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ..codec import load_saved
from ..data import Source
from ..data.spec import Input
from ..deploy import predict
from ..runs import Run
from .budget import Budget, Limits
from .candidate import Candidate
from .clock import Clock
from .measure import Cost
from .state import State

LATENCY_MARGIN = 0.95


@dataclass
class Search:
    """The context of one search."""

    source: Source
    budget: Budget
    run: Run
    clock: Clock
    state: State
    seed: int
    device: str
    threads: int
    log: Callable[[str], None]
    stop: Callable[[], bool] | None
    trust: bool = False
    format: str = "onnx"
    edits: str | None = None

    @property
    def danlu(self) -> bool:
        """Whether the file that ships, and whose size counts, is a .danlu file."""
        return self.format == "danlu"

    @property
    def chained(self) -> bool:
        """Whether a finalist goes through a chain of edits."""
        return self.danlu or bool(self.edits)

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.run.path

    def save(self) -> None:
        """Store the state with the time used so far."""
        self.state.elapsed = self.clock.elapsed
        self.state.stages = list(self.clock.stages)
        self.state.save()

    def beat(self, row: dict[str, Any]) -> None:
        """Called at every validation of a training: an interruption then costs no more than the time since."""
        self.save()

    # The baseline, as stored by its stage.

    @property
    def baseline_home(self) -> Path:
        """The folder of the baseline inside the run."""
        return self.folder / "baseline"

    @property
    def baseline_file(self) -> Path:
        """The baseline's exported file."""
        return self.folder / "baseline.onnx"

    def baseline_model(self) -> tuple[nn.Module, Input]:
        """The trained baseline and its input."""
        saved = load_saved(self.baseline_home, trust=True)
        return saved.model, saved.input

    @property
    def baseline_cost(self) -> Cost:
        """The cost of the baseline's fp32 file."""
        return Cost(**self.state.baseline["cost"])

    @property
    def limits(self) -> Limits:
        """The budget in absolute numbers, with a margin on latency, so that noise does not decide in the last measurement."""
        cost = self.baseline_cost
        limits = self.budget.limits(cost.size_bytes, cost.latency_ms, cost.macs)
        return replace(limits, latency_ms=None if limits.latency_ms is None else LATENCY_MARGIN * limits.latency_ms)

    def accuracy(self, file: Path, split: str, source: Source) -> tuple[float, np.ndarray]:
        """Accuracy of an exported file in onnxruntime, and its logits [N, K]."""
        part = getattr(source, split)
        logits = predict(file, part)
        return float((logits.argmax(1) == part.labels).mean()), logits

    def feasible(self) -> list[Candidate]:
        """The candidates that meet every limit on cost in at least one precision."""
        return [c for c in self.state.candidates if c.within(self.limits)]
