"""The Wilson score interval of a proportion.

    (p + z^2 / 2n  +-  z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

Source: Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953.
"""

from math import sqrt
from statistics import NormalDist

from ..errors import UsageError


def quantile(level: float) -> float:
    """z of a two-sided interval: 1.96 for 0.95. Raises UsageError outside (0, 1)."""
    if not 0 < level < 1:
        raise UsageError(f"a confidence level must lie between 0 and 1, got {level}")
    return NormalDist().inv_cdf(0.5 + level / 2)


def wilson(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The interval (low, high) for a proportion of which `k` of `n` were seen. Raises UsageError unless 0 <= k <= n, n > 0."""
    if not 0 <= k <= n or n == 0:
        raise UsageError(f"a proportion needs 0 <= k <= n and n > 0, got k={k}, n={n}")
    z = quantile(level)
    p = k / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # The ends are exact where nothing, or everything, was seen; rounding must not take them past 0 and 1.
    return (0.0 if k == 0 else centre - half), (1.0 if k == n else centre + half)
