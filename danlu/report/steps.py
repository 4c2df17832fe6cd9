"""What each step bought, and where the time went: bars drawn by the page itself, readable without a script."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import numbers

TINY = 0.1  # of the track: a shorter bar is enlarged


@dataclass(frozen=True)
class Bar:
    """One measure after a step: `now` and `was` in [0, 1] of the largest, `zoom` times enlarged; `total` since the first step."""

    label: str
    value: str
    change: str
    now: float
    was: float
    zoom: int = 1
    total: str = ""


@dataclass(frozen=True)
class Stop:
    """One step of the waterfall."""

    name: str
    recipe: str
    bars: list[Bar]
    accuracy: str
    accuracy_change: str
    note: str = ""


def waterfall(steps: list[dict[str, Any]] | None) -> list[Stop]:
    """What each step bought. Bars are linear in bytes and milliseconds: what is left of a bar is what is left of the cost.

    A step whose whole bar would be a few pixels is drawn 10, 100, ... times larger, and says so.
    """
    stops: list[Stop] = []
    measures: tuple[tuple[str, str, Callable[[float | None], str], str, str], ...] = (
        ("size_bytes", "Size", numbers.size, "smaller", "larger"),
        ("latency_ms", "Latency", numbers.ms, "faster", "slower"),
    )
    for i, step in enumerate(steps or []):
        last = steps[i - 1] if steps and i else {}
        bars = []
        for key, label, show, less, more in measures:
            whole = max((s.get(key) or 0.0 for s in steps or []), default=0.0)
            now, was = step.get(key), last.get(key)
            if now is None or not whole:
                continue
            words = ""
            if was is not None:
                sign = numbers.MINUS if now < was else "+"
                words = numbers.change(was, now, less, more)
                if words != "unchanged":
                    words = f"{sign}{show(abs(now - was))}, {words}"
            first = (steps or [{}])[0].get(key)
            total = f"{numbers.times(first / now)} in all" if key == "size_bytes" and i > 1 and first and first > now else ""
            larger = max(now, was if was is not None else now) / whole
            zoom = 10 ** math.floor(-math.log10(larger)) if 0 < larger < TINY else 1
            old = was if was is not None else now
            bars.append(Bar(label, show(now), words, zoom * now / whole, zoom * old / whole, zoom, total))
        now, was = step.get("accuracy"), last.get("accuracy")
        moved = numbers.points(now - was) if now is not None and was is not None else ""
        recipe = step.get("recipe") or ""
        recipe = "" if recipe == last.get("recipe") else recipe
        stops.append(Stop(step["name"], recipe, bars, numbers.percent(now), moved, step.get("note") or ""))
    return stops


@dataclass(frozen=True)
class Stage:
    """A stage of the run: `start` and `share` in per cent of the whole."""

    name: str
    text: str
    start: float
    share: float


def stages(result: dict[str, Any]) -> list[Stage]:
    """Where the time went, in order."""
    rows = [row for row in result.get("stages") or [] if row.get("seconds") is not None]
    whole = max(sum(row["seconds"] for row in rows), result.get("seconds") or 0.0)
    found, done = [], 0.0
    for row in rows:
        share = 100 * row["seconds"] / whole if whole else 0.0
        found.append(
            Stage(
                str(row.get("name", "")), f"{numbers.duration(row['seconds'])} ({share:.0f} %)", round(done, 2), round(share, 2)
            )
        )
        done += share
    return found
