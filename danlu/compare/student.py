"""Student's t distribution with any number of degrees of freedom, which need not be whole: tail and quantile.

    P(|T| > t) = I_x(df / 2, 1 / 2),   x = df / (df + t^2)

with I the regularised incomplete beta function, from its continued fraction.

Source: Student 1908, https://doi.org/10.1093/biomet/6.1.1; the fraction: DLMF 8.17.22, https://dlmf.nist.gov/8.17.E22.
"""

from math import exp, lgamma, log, log1p

TINY, CLOSE, MOST_TERMS, HALVINGS = 1e-300, 1e-15, 10_000, 200


def two_sided(t: float, df: float) -> float:
    """The chance that |T| is larger than |t|."""
    if t == 0:
        return 1.0
    square = t * t
    return incomplete_beta(0.5 * df, 0.5, df / (df + square), square / (df + square))


def quantile(level: float, df: float) -> float:
    """The t that |T| stays below with chance `level`: 1.96 for 0.95 and many degrees of freedom."""
    high = 1.0
    while two_sided(high, df) > 1 - level:
        high *= 2
    low = 0.0
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        low, high = (middle, high) if two_sided(middle, df) > 1 - level else (low, middle)
    return high


def incomplete_beta(a: float, b: float, x: float, rest: float) -> float:
    """I_x(a, b), where rest = 1 - x is given as well: near 1 it says more than x does."""
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * _log(x, rest) + b * _log(rest, x))
    if x < (a + 1) / (a + b + 2):  # where the fraction converges quickly; beyond it, that of the other tail does
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, rest) / b


def _log(x: float, rest: float) -> float:
    return log1p(-rest) if rest < 0.5 else log(x)


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction by Lentz's method: the product of ratios of successive numerators and denominators."""
    numerator, denominator = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    value = denominator
    for m in range(1, MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            denominator = 1 / _away(1 + term * denominator)
            numerator = _away(1 + term / numerator)
            change = denominator * numerator
            value *= change
        if abs(change - 1) < CLOSE:
            break
    return value


def _away(value: float) -> float:
    """Not quite 0, since it is divided by."""
    return value if abs(value) > TINY else TINY
