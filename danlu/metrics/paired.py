"""The difference of two accuracies on the same images, with its interval.

Two models judged on the same images err on the same hard ones, so the difference of their accuracies is better known than each
of them. With the counts of a = both right, b = only A, c = only B, d = neither, n = a + b + c + d,

    p_A = (a + b) / n,  p_B = (a + c) / n,  difference = p_A - p_B
    low  = difference - sqrt(x^2 - 2 phi x y + y^2),  x = p_A - low_A,   y = high_B - p_B
    high = difference + sqrt(u^2 - 2 phi u v + v^2),  u = high_A - p_A,  v = p_B - low_B

with the Wilson limits of each accuracy and phi, the correlation of the 2x2 table, its numerator ad - bc drawn towards 0 by n / 2
when positive. It keeps its level for small samples and rare errors, where the usual normal interval does not.

Source: Newcombe 1998, method 10, https://doi.org/10.1002/(SICI)1097-0258(19981130)17:22<2635::AID-SIM954>3.0.CO;2-C.
"""

from math import sqrt

import numpy as np
from numpy.typing import ArrayLike

from ..errors import UsageError
from .wilson import wilson


def paired_difference(correct_a: ArrayLike, correct_b: ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """(difference, low, high) of accuracy A minus accuracy B. Shape: both bool [N], one entry per image, in the same order.

    Raises UsageError when they are not of one length, or empty.
    """
    a_right, b_right = np.asarray(correct_a, bool), np.asarray(correct_b, bool)
    if a_right.ndim != 1 or a_right.shape != b_right.shape or not len(a_right):
        raise UsageError(
            f"two models are compared on the same images, one entry each; got shapes {a_right.shape} and {b_right.shape}"
        )
    both, neither = int((a_right & b_right).sum()), int((~a_right & ~b_right).sum())
    only_a, only_b = int((a_right & ~b_right).sum()), int((~a_right & b_right).sum())
    return newcombe(both, only_a, only_b, neither, level)


def newcombe(both: int, only_a: int, only_b: int, neither: int, level: float = 0.95) -> tuple[float, float, float]:
    """(difference, low, high) from the counts of the 2x2 table."""
    n = both + only_a + only_b + neither
    right_a, right_b = both + only_a, both + only_b
    p_a, p_b = right_a / n, right_b / n
    low_a, high_a = wilson(right_a, n, level)
    low_b, high_b = wilson(right_b, n, level)
    phi = correlation(both, only_a, only_b, neither)
    x, y = p_a - low_a, high_b - p_b
    u, v = high_a - p_a, p_b - low_b
    low = p_a - p_b - sqrt(max(x * x - 2 * phi * x * y + y * y, 0.0))
    high = p_a - p_b + sqrt(max(u * u - 2 * phi * u * v + v * v, 0.0))
    return p_a - p_b, low, high


def correlation(both: int, only_a: int, only_b: int, neither: int) -> float:
    """phi of a 2x2 table, continuity-corrected when positive; 0 where a margin is empty."""
    n = both + only_a + only_b + neither
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    if margins == 0:
        return 0.0
    numerator = float(both * neither - only_a * only_b)
    if numerator > 0:
        numerator = max(numerator - n / 2, 0.0)
    return numerator / sqrt(margins)
