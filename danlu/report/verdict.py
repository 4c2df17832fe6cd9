"""The answer first: was the budget kept, in one sentence, and the four figures that matter, before and after."""

from dataclasses import dataclass
from typing import Any

from . import numbers

LIMITS = (("size", "max_size_bytes"), ("latency", "max_latency_ms"), ("MACs", "max_macs"))


@dataclass(frozen=True)
class Part:
    """A piece of the sentence; `met` is None where no limit was set."""

    text: str
    met: bool | None = None


@dataclass(frozen=True)
class Verdict:
    """The sentence and, when the budget was not kept, what stands in the way."""

    met: bool
    parts: list[Part]
    in_the_way: str

    @property
    def word(self) -> str:
        """'Met' or 'Not met'."""
        return "Met" if self.met else "Not met"

    @property
    def sentence(self) -> str:
        """'Met: 123 KB of 500 KB, 0.41 ms of 3 ms, accuracy 80.1 % (...)'."""
        text = f"{self.word}: " + ", ".join(part.text for part in self.parts)
        return text if not self.in_the_way else f"{text}. In the way: {self.in_the_way}"


@dataclass(frozen=True)
class Meter:
    """How much of a limit is used: `share` of it (1 is all)."""

    share: float
    text: str
    met: bool


@dataclass(frozen=True)
class Strip:
    """A difference with its interval on a line, as percentages of the drawing's width; `floor` is the accepted drop."""

    low: float
    high: float
    at: float
    zero: float
    floor: float | None
    text: str


@dataclass(frozen=True)
class Tile:
    """One figure: what it is now, what it was, what that makes, and the limit."""

    label: str
    value: str
    before: str
    change: str
    note: str = ""
    meter: Meter | None = None
    strip: Strip | None = None


def limit_of(result: dict[str, Any], what: str) -> tuple[float | None, float | None, bool | None]:
    """(limit, got, met) for "size", "latency" or "MACs"; the check's own figures where there is one."""
    budget = result["budget"]
    for check in budget.get("checks") or []:
        if check["what"].lower() == what.lower():
            return check["limit"], check["got"], check["met"]
    limit = budget.get(dict(LIMITS)[what])
    got = result["best"].get({"size": "size_bytes", "latency": "latency_ms", "MACs": "macs"}[what])
    return limit, got, None if limit is None or got is None else got <= limit


def accuracy_words(result: dict[str, Any]) -> str:
    """'80.1 % (−0.4 points, 95 % interval −1.1 to +0.3)'; the brackets only where there was a test."""
    test = result.get("test") or {}
    text = numbers.percent(result["best"].get("accuracy"))
    if test.get("difference") is None:
        return text
    ends = numbers.interval(test.get("interval"))
    return f"{text} ({numbers.points(test['difference'])}" + (f", 95 % interval {ends})" if ends else ")")


def drop_met(result: dict[str, Any]) -> bool | None:
    """Whether the accuracy lost on test is within the accepted drop; None where either is unknown."""
    drop, difference = result["budget"].get("max_drop"), (result.get("test") or {}).get("difference")
    for check in result["budget"].get("checks") or []:
        if "accuracy" in check["what"].lower() or "drop" in check["what"].lower():
            return bool(check["met"])
    return None if drop is None or difference is None else -difference <= drop


def verdict(result: dict[str, Any]) -> Verdict:
    """The verdict of a result."""
    best = result["best"]
    show = {"size": numbers.size, "latency": numbers.ms, "MACs": numbers.count}
    now = {"size": best.get("size_bytes"), "latency": best.get("latency_ms")}
    parts = []
    for what, format in show.items():
        limit, got, met = limit_of(result, what)
        got = got if got is not None else now.get(what)
        if got is not None and (limit is not None or what in now):
            unit = " MACs" if what == "MACs" else ""
            parts.append(Part(format(got) + (f" of {format(limit)}" if limit is not None else "") + unit, met))
    if best.get("accuracy") is not None:
        parts.append(Part(f"accuracy {accuracy_words(result)}", drop_met(result)))
    return Verdict(result["budget"]["met"], parts, (result["budget"].get("in_the_way") or "").strip())


def gain(result: dict[str, Any], what: str, key: str) -> float | None:
    """Baseline over best: as measured side by side where the result has it, else the quotient of the two figures."""
    measured = (result.get("speedup") or {}).get(what)
    before, after = result["baseline"].get(key), result["best"].get(key)
    if measured is not None:
        return float(measured)
    return before / after if before and after else None


def tiles(result: dict[str, Any]) -> list[Tile]:
    """Size, latency, MACs and accuracy, before and after."""
    before, after = result["baseline"], result["best"]
    rows = [
        ("Size", "size", "size", "size_bytes", numbers.size, "smaller", "larger"),
        ("Latency", "latency", "latency", "latency_ms", numbers.ms, "faster", "slower"),
        ("MACs", "MACs", "macs", "macs", numbers.count, "fewer", "more"),
    ]
    found = []
    for label, what, part, key, format, less, more in rows:
        if after.get(key) is None:
            continue
        limit, got, met = limit_of(result, what)
        meter = None
        if limit and got is not None:
            # Latency is judged beside the baseline, then timed once more and longer: the two differ by the machine's mood.
            judged = f"; judged at {format(got)}" if format(got) != format(after[key]) else ""
            meter = Meter(got / limit, f"{numbers.percent(got / limit)} of the limit, {format(limit)}{judged}", bool(met))
        note = ""
        ends = (result.get("speedup") or {}).get("latency_interval")
        if what == "latency" and ends and all(end is not None for end in ends):
            note = f"{numbers.times(ends[0])} to {numbers.times(ends[1])} in 80 % of runs"
        ratio = gain(result, part, key)
        found.append(
            Tile(label, format(after[key]), format(before.get(key)), numbers.change(ratio, 1.0, less, more), note, meter)
        )
    if after.get("accuracy") is not None:
        found.append(_accuracy(result))
    return found


def _accuracy(result: dict[str, Any]) -> Tile:
    test = result.get("test") or {}
    drop, difference, ends = result["budget"].get("max_drop"), test.get("difference"), test.get("interval")
    note = f"on {test['n']:,} test images" if test.get("n") else ""
    change = numbers.points(difference)
    strip = None
    if difference is not None and numbers.interval(ends) and ends is not None:
        strip = interval_strip(difference, ends[0], ends[1], drop)
    value, before = numbers.percent(result["best"]["accuracy"]), numbers.percent(result["baseline"].get("accuracy"))
    return Tile("Accuracy", value, before, change, note, None, strip)


def interval_strip(difference: float, low: float, high: float, drop: float | None) -> Strip:
    """Place the difference, its interval, zero and the accepted drop on one line with a tenth of air on both sides."""
    marks = [difference, low, high, 0.0] + ([] if drop is None else [-drop])
    start, end = min(marks), max(marks)
    air = (end - start) / 10 or 0.001

    def place(value: float) -> float:
        return round(100 * (value - start + air) / (end - start + 2 * air), 2)

    text = f"95 % interval {numbers.interval([low, high])} points"
    if drop is not None:
        text += f"; accepted: a drop of {numbers.points(drop, sign=False)}"
    return Strip(place(low), place(high), place(difference), place(0.0), None if drop is None else place(-drop), text)


def doubt(result: dict[str, Any]) -> str:
    """A sentence for when the interval reaches beyond the accepted drop although the difference itself does not."""
    test = result.get("test") or {}
    ends, drop = test.get("interval"), result["budget"].get("max_drop")
    if not numbers.interval(ends) or ends is None or drop is None or not drop_met(result) or ends[0] >= -drop:
        return ""
    return (
        f"The difference on test is within the accepted drop of {numbers.points(drop, sign=False)}, but its 95 % interval "
        f"reaches down to {numbers.points(ends[0])}: {test.get('n', 0):,} images cannot rule out a larger loss."
    )
