"""The state of a search on disk, so that it survives being killed: what was measured and trained, the seconds spent."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files import write_json
from .candidate import Candidate


@dataclass
class State:
    """Written after every step that would be costly to repeat; `phase` names the next thing to do."""

    path: Path
    phase: str = "baseline"
    elapsed: float = 0.0
    stages: list[dict[str, Any]] = field(default_factory=list)
    baseline: dict[str, Any] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)
    live: list[int] = field(default_factory=list)
    rung: int = 0
    plan: dict[str, float] = field(default_factory=dict)
    attempts: list[int] = field(default_factory=list)
    done: bool = False

    def save(self) -> None:
        """Write atomically."""
        write_json(
            self.path,
            {
                "phase": self.phase, "elapsed": self.elapsed, "stages": self.stages, "baseline": self.baseline,
                "candidates": [c.to_json() for c in self.candidates], "live": self.live, "rung": self.rung, "plan": self.plan,
                "attempts": self.attempts, "done": self.done,
            },
        )  # fmt: skip

    @classmethod
    def open(cls, path: Path) -> "State":
        """The stored state, or a new one where there is none yet."""
        if not path.exists():
            return cls(path)
        try:
            data = json.loads(path.read_text())
            candidates = [Candidate.from_json(row) for row in data.pop("candidates")]
            return cls(path, candidates=candidates, **data)
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path} cannot be read, so this run cannot be resumed: {error}") from error

    def by_id(self, number: int) -> Candidate:
        """The candidate with this id."""
        return next(c for c in self.candidates if c.id == number)
