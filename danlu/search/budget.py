"""The budget: limits on the exported file's bytes, its latency, its MACs, and the accuracy that may be lost.

A limit is absolute (500 KB, 3 ms, 40 M) or a share of the baseline ("1/8").
"""

from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from ..units import parse_bytes, parse_count, parse_ms, parse_share, show_bytes, show_count


@dataclass(frozen=True)
class Check:
    """One limit held against what was measured."""

    what: str
    limit: float
    got: float
    unit: str
    met: bool

    def __str__(self) -> str:
        return f"{self.what} {_show(self.what, self.got)} of {_show(self.what, self.limit)}"


@dataclass(frozen=True)
class Limits:
    """The budget in absolute numbers, once the baseline is known. None is no limit."""

    size_bytes: float | None
    latency_ms: float | None
    macs: float | None
    drop: float

    def checks(self, size_bytes: float, latency_ms: float, macs: float) -> list[Check]:
        """Every limit on cost that is set, held against a candidate."""
        rows = [
            ("size", self.size_bytes, size_bytes, "bytes"),
            ("latency", self.latency_ms, latency_ms, "ms"),
            ("MACs", self.macs, macs, "MAC"),
        ]
        return [Check(what, limit, got, unit, got <= limit) for what, limit, got, unit in rows if limit is not None]

    def excess(self, size_bytes: float, latency_ms: float, macs: float) -> float:
        """The largest factor by which a limit is overrun; at most 1 when every limit is met."""
        return max([check.got / check.limit for check in self.checks(size_bytes, latency_ms, macs)], default=0.0)


@dataclass(frozen=True)
class Budget:
    """What the user allows, as text or numbers: `Budget(max_size="500KB", max_latency="3ms", max_drop=0.01)`.

    A number means bytes, milliseconds, MACs; "1/8" means that share of the baseline's file, latency or MACs.
    `max_drop` is in [0, 1]: 0.01 accepts one point of accuracy.

    Raises: UsageError, for all wrong fields at once.
    """

    max_size: str | float | None = None
    max_latency: str | float | None = None
    max_macs: str | float | None = None
    max_drop: float = 0.01

    def __post_init__(self) -> None:
        problems = []
        for value, parse in ((self.max_size, parse_bytes), (self.max_latency, parse_ms), (self.max_macs, parse_count)):
            try:
                if value is not None and parse_share(str(value)) is None:
                    parse(str(value))
            except UsageError as error:
                problems.append(str(error))
        if not 0 <= self.max_drop < 1:
            problems.append(f"max_drop must lie in [0, 1), e.g. 0.01 for one point, got {self.max_drop}")
        if problems:
            raise UsageError("; ".join(problems))

    def limits(self, size_bytes: float, latency_ms: float, macs: float) -> Limits:
        """The limits in absolute numbers, for a baseline of this cost."""

        def resolve(value: str | float | None, parse: Any, base: float) -> float | None:
            if value is None:
                return None
            share = parse_share(str(value))
            return share * base if share is not None else float(parse(str(value)))

        return Limits(
            resolve(self.max_size, parse_bytes, size_bytes),
            resolve(self.max_latency, parse_ms, latency_ms),
            resolve(self.max_macs, parse_count, macs),
            self.max_drop,
        )

    def to_json(self) -> dict[str, Any]:
        """As the user wrote it."""
        return {"max_size": self.max_size, "max_latency": self.max_latency, "max_macs": self.max_macs, "max_drop": self.max_drop}


def _show(what: str, value: float) -> str:
    if what == "size":
        return show_bytes(value)
    if what == "latency":
        return f"{value:.3g} ms"
    return show_count(value)
