"""Numbers as people read them: 123 KB, 0.41 ms, 80.1 %, -0.4 points, 5.3x. What was not measured is a dash.

1 KB = 1000 bytes. Three significant digits, never an exponent; a rounded value moves to the next unit (999,999 bytes are 1 MB).
"""

from collections.abc import Sequence

NONE = "–"
MINUS = "−"
SIZES = (("GB", 1e9), ("MB", 1e6), ("KB", 1e3))
COUNTS = (("G", 1e9), ("M", 1e6), ("k", 1e3))


def plain(value: float | None, digits: int = 3) -> str:
    """`digits` significant digits without an exponent: 0.4123 -> '0.412', 1234.5 -> '1,234'."""
    if value is None:
        return NONE
    if value == 0:
        return "0"
    if abs(value) >= 10**digits:
        text = f"{value:,.0f}"
    elif abs(value) < 1e-6:
        return "≈0"
    else:
        rounded = float(f"{value:.{digits}g}")
        text = f"{rounded:.12f}".rstrip("0").rstrip(".")
        if abs(rounded) >= 10**digits:
            text = f"{rounded:,.0f}"
    return text.replace("-", MINUS)


def _scaled(value: float, units: Sequence[tuple[str, float]]) -> tuple[str, str]:
    """The number and the largest unit in which it is at least 1 once rounded."""
    for unit, scale in units:
        if float(f"{abs(value):.3g}") >= scale:
            return plain(float(f"{value:.3g}") / scale), unit
    return plain(value), ""


def size(count: float | None) -> str:
    """1234567 -> '1.23 MB'."""
    if count is None:
        return NONE
    number, unit = _scaled(count, SIZES)
    return f"{number} {unit or 'B'}"


def count(value: float | None) -> str:
    """1234567 -> '1.23 M'."""
    if value is None:
        return NONE
    number, unit = _scaled(value, COUNTS)
    return f"{number} {unit}".strip()


def ms(value: float | None) -> str:
    """0.4123 -> '0.412 ms'."""
    return NONE if value is None else f"{plain(value)} ms"


def percent(share: float | None) -> str:
    """0.8012 -> '80.1 %'."""
    return NONE if share is None else _signed_zero(f"{100 * share:.1f}") + " %"


def points(difference: float | None, sign: bool = True, unit: bool = True) -> str:
    """-0.004 -> '-0.4 points' (with a true minus sign): a difference of two accuracies."""
    if difference is None:
        return NONE
    text = _signed_zero(f"{100 * difference:+.1f}" if sign else f"{100 * difference:.1f}")
    return f"{text} points" if unit else text


def interval(ends: Sequence[float | None] | None) -> str:
    """[-0.011, 0.003] -> '-1.1 to +0.3'."""
    if not ends or len(ends) != 2 or ends[0] is None or ends[1] is None:
        return ""
    return f"{points(ends[0], unit=False)} to {points(ends[1], unit=False)}"


def times(ratio: float | None) -> str:
    """5.312 -> '5.3×', 0.123 -> '0.12×', 41.7 -> '42×'."""
    if ratio is None:
        return NONE
    if ratio >= 10:
        return f"{ratio:,.0f}×"
    return f"{ratio:.1f}×" if ratio >= 1 else f"{plain(ratio, 2)}×"


def change(before: float | None, after: float | None, less: str, more: str) -> str:
    """How many times less or more: change(10, 2, 'smaller', 'larger') -> '5.0× smaller'; within half a per cent: unchanged."""
    if not before or not after:
        return NONE
    ratio = before / after
    if abs(ratio - 1) < 0.005:
        return "unchanged"
    if 0.95 < ratio < 1.05:
        return f"{abs(1 - after / before):.1%} ".replace("%", " %") + (less if ratio > 1 else more)
    return f"{times(ratio)} {less}" if ratio > 1 else f"{times(1 / ratio)} {more}"


def duration(seconds: float | None) -> str:
    """75.2 -> '1 min 15 s', 7260 -> '2 h 1 min'."""
    if seconds is None:
        return NONE
    if seconds < 59.5:
        return f"{plain(seconds)} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    minutes = round(seconds / 60)
    return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")


def shape(sides: Sequence[float] | None) -> str:
    """[32, 32] -> '32 × 32'."""
    return NONE if not sides else " × ".join(plain(side) for side in sides)


def _signed_zero(text: str) -> str:
    """A rounded zero has no sign."""
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", MINUS)
