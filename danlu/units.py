"""Sizes, times and counts as people write them: 500KB, 64KiB, 3ms, 20m, 40M, and a share of the baseline: 1/8."""

import re
from fractions import Fraction

from .errors import UsageError

BYTES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
SECONDS = {"": 1.0, "MS": 1e-3, "S": 1.0, "M": 60.0, "MIN": 60.0, "H": 3600.0}
COUNTS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}
MILLISECONDS = {"": 1.0, "US": 1e-3, "MS": 1.0, "S": 1e3}


def _parse(text: str, units: dict[str, int] | dict[str, float], what: str, example: str) -> float:
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]*)\s*", str(text))
    if not match or match[2].upper() not in units:
        raise UsageError(f"{what} {text!r} not understood; write it like {example} (units: {', '.join(u for u in units if u)})")
    value = float(match[1]) * units[match[2].upper()]
    if not 0 < value < float("inf"):
        raise UsageError(f"{what} must be above zero, got {text!r}")
    return value


def parse_bytes(text: str) -> int:
    """'500KB' -> 500000, '64KiB' -> 65536. 1 KB = 1000 bytes, 1 KiB = 1024."""
    return round(_parse(text, BYTES, "size", "500KB"))


def parse_seconds(text: str) -> float:
    """'20m' -> 1200.0, '90s' -> 90.0, '1.5h' -> 5400.0; a bare number is seconds."""
    return _parse(text, SECONDS, "time", "20m")


def parse_ms(text: str) -> float:
    """'3ms' -> 3.0; a bare number is milliseconds."""
    return _parse(text, MILLISECONDS, "latency", "3ms")


def parse_count(text: str) -> int:
    """'40M' -> 40000000: multiply-accumulates or parameters."""
    return round(_parse(text, COUNTS, "count", "40M"))


def parse_share(text: str) -> float | None:
    """'1/8' -> 0.125: a limit relative to the baseline; None when the text is not a fraction."""
    match = re.fullmatch(r"\s*([0-9]+)\s*/\s*([0-9]+)\s*", str(text))
    if not match:
        return None
    if int(match[1]) == 0 or int(match[2]) == 0:
        raise UsageError(f"a share of the baseline must be above zero, got {text!r}")
    return float(Fraction(int(match[1]), int(match[2])))


def _scaled(count: float, units: tuple[tuple[str, float], ...]) -> str | None:
    """Three digits and the largest unit that leaves at least 1, after rounding: 999,999 is '1 M', not '1e+03 k'."""
    for unit, size in units:
        if float(f"{count / size:.3g}") >= 1:
            return f"{float(f'{count / size:.3g}'):g} {unit}"
    return None


def show_bytes(count: float) -> str:
    """1234567 -> '1.23 MB'."""
    return _scaled(count, (("GB", 1e9), ("MB", 1e6), ("KB", 1e3))) or f"{count:.0f} B"


def show_count(count: float) -> str:
    """1234567 -> '1.23 M'."""
    return _scaled(count, (("G", 1e9), ("M", 1e6), ("k", 1e3))) or f"{count:.0f}"


def show_seconds(seconds: float) -> str:
    """75.2 -> '1 min 15 s'."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60} s"
