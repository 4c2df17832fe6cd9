"""Cyclical rates: up and down between two bounds, or down and at once up again, to leave saddles and sharp minima behind.

    x = |step / stepsize - 2 cycle + 1|,  cycle = floor(1 + step / (2 stepsize))          a cycle is 2 stepsize long
    triangular    low + (1 - low) max(0, 1 - x)
    triangular2   low + (1 - low) max(0, 1 - x) / 2 ^ (cycle - 1)
    exp_range     low + (1 - low) max(0, 1 - x) gamma ^ step
    sgdr          low + (1 - low) (1 + cos(pi t / T_i)) / 2,   T_i = t_0 t_mult ^ i, t steps after restart i

The learning rate of the training is the upper bound, `low` times it the lower one; `danlu lr-find` gives both.

Sources: Smith 2015, https://arxiv.org/abs/1506.01186; Loshchilov and Hutter 2016, https://arxiv.org/abs/1608.03983.
Differs: lengths may be shares of the training. The defaults fill it with whole cycles, so that it ends at a low rate: four
triangles, or three descents of 1/7, 2/7 and 4/7.
"""

import math

from ...errors import UsageError
from ._registry import length, schedules, within

CLR, SGDR = "arxiv:1506.01186", "arxiv:1608.03983"
LOW, HALF_CYCLE = 1 / 3, 1 / 8


@schedules(warms_up=True, own=True, paper=CLR)
def triangular(step: int, total: int, *, low: float = LOW, stepsize: float = HALF_CYCLE) -> float:
    """From `low` up to 1 in `stepsize`, down again in as much, and so on."""
    height, _ = _triangle("triangular", step, total, low, stepsize)
    return low + (1 - low) * height


@schedules(warms_up=True, own=True, paper=CLR)
def triangular2(step: int, total: int, *, low: float = LOW, stepsize: float = HALF_CYCLE) -> float:
    """Triangles from `low`, each half as high as the one before it."""
    height, cycle = _triangle("triangular2", step, total, low, stepsize)
    return low + (1 - low) * height / 2 ** (cycle - 1)


@schedules(warms_up=True, own=True, paper=CLR)
def exp_range(
    step: int, total: int, *, low: float = LOW, stepsize: float = HALF_CYCLE, gamma: float | None = None
) -> float:  # fmt: skip
    """Triangles from `low` whose height falls by `gamma` in each step; without a gamma to a tenth over the training."""
    height, _ = _triangle("exp_range", step, total, low, stepsize)
    if gamma is None:
        return low + (1 - low) * height * 0.1 ** (step / total)
    within("exp_range", "gamma", gamma, 0, 1)
    return low + (1 - low) * height * gamma**step


@schedules(own=True, paper=SGDR)
def sgdr(step: int, total: int, *, t_0: float = 1 / 7, t_mult: float = 2.0, low: float = 0.0) -> float:
    """Half cosines from 1 to `low`, the first over `t_0`, each `t_mult` times as long as the one before it."""
    within("sgdr", "low", low, 0, 1)
    if not t_mult >= 1:
        raise UsageError(f"sgdr: t_mult must be 1 or more, got {t_mult}")
    # In lengths of the first descent; a restart must not come late by rounding.
    at = step / length("sgdr", "t_0", t_0, total) + 1e-9
    if t_mult == 1:
        share = at % 1
    else:
        restarts = math.floor(math.log(at * (t_mult - 1) + 1, t_mult))
        share = (at - (t_mult**restarts - 1) / (t_mult - 1)) / t_mult**restarts
    return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(max(share, 0.0), 1.0)))


def _triangle(name: str, step: int, total: int, low: float, stepsize: float) -> tuple[float, int]:
    """The height within a cycle, 0 to 1, and the number of the cycle from 1."""
    within(name, "low", low, 0, 1)
    at = step / length(name, "stepsize", stepsize, total)
    cycle = math.floor(1 + at / 2 + 1e-9)
    return max(0.0, 1 - abs(at - 2 * cycle + 1)), cycle
