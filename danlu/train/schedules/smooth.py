"""Smooth descents on half cosines: one from the start to the end, or one cycle up and down.

    cosine     (1 + cos(pi step / total)) / 2
    one_cycle  up from 1/25 to 1 over the first 30 %, then down to 1/250000, both on half cosines

Sources: Loshchilov and Hutter 2016, https://arxiv.org/abs/1608.03983; Smith 2018, https://arxiv.org/abs/1803.09820.
Differs: one cycle has the shape of torch.optim.lr_scheduler.OneCycleLR, with a single descent; the momentum does not cycle.
"""

import math

from ._registry import schedules

# Of the rates at both ends of one cycle to the highest one; those of torch.optim.lr_scheduler.OneCycleLR.
ONE_CYCLE_RISE, ONE_CYCLE_START, ONE_CYCLE_END = 0.3, 1 / 25, 1 / 25e4


@schedules(paper="arxiv:1608.03983")
def cosine(step: int, total: int) -> float:
    """(1 + cos(pi step / total)) / 2: slow, fast, slow, down to 0."""
    return 0.5 * (1 + math.cos(math.pi * step / total))


@schedules(warms_up=True, paper="arxiv:1803.09820")
def one_cycle(step: int, total: int) -> float:
    """Up on a half cosine from 1/25 over the first 30 %, then down on another to 1/250000. Has its own warm-up."""
    if total < 2:
        return 1.0
    top = max(ONE_CYCLE_RISE * total - 1, 0.0)
    if step <= top and top > 0:
        start, end, share = ONE_CYCLE_START, 1.0, step / top
    else:
        start, end, share = 1.0, ONE_CYCLE_END, (step - top) / (total - 1 - top)
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))
