"""Learning-rate schedules: plain functions (step, total) -> factor of the base rate, at 1 when they begin.

Lengths are shares of the whole training, so that a schedule keeps its shape when the number of steps changes. In Caffe's terms,
with iter = step and max_iter = total: `stepsize = period * max_iter`, `stepvalue = milestone * max_iter`, and `exp` has the gamma
gamma ** (1 / (period * max_iter)) per iteration.

Sources: the policies of Caffe's solver (fixed, step, exp, inv, multistep, poly); Loshchilov and Hutter 2016 for the cosine,
https://arxiv.org/abs/1608.03983; Smith 2018 for one cycle, https://arxiv.org/abs/1803.09820.
"""

import math
from collections.abc import Callable
from functools import lru_cache

from ..registry import Registry
from ..spec import Spec, read

schedules: Registry[Callable[..., float]] = Registry("schedule")

CONTEXT = ("period", "gamma", "milestones", "power")  # settings of their own

# Of the rates at both ends of one cycle to the highest one; those of torch.optim.lr_scheduler.OneCycleLR.
ONE_CYCLE_RISE, ONE_CYCLE_START, ONE_CYCLE_END = 0.3, 1 / 25, 1 / 25e4


@schedules()
def constant(step: int, total: int) -> float:
    """1 throughout (Caffe: fixed)."""
    return 1.0


@schedules()
def cosine(step: int, total: int) -> float:
    """(1 + cos(pi step / total)) / 2: slow, fast, slow, down to 0."""
    return 0.5 * (1 + math.cos(math.pi * step / total))


@schedules()
def step(step: int, total: int, *, period: float, gamma: float) -> float:
    """gamma ** floor(step / (period total)): down by `gamma` at equal distances."""
    # A step that lies on an edge must not fall short of it by rounding: 0.1 * 3 is above 0.3.
    return gamma ** math.floor(step / (period * total) + 1e-9)


@schedules()
def multistep(step: int, total: int, *, milestones: tuple[float, ...], gamma: float) -> float:
    """gamma ** (number of milestones passed): down by `gamma` at each of the given shares."""
    return gamma ** sum(step >= max(1, round(milestone * total)) for milestone in milestones)


@schedules()
def exponential(step: int, total: int, *, period: float, gamma: float) -> float:
    """gamma ** (step / (period total)): `step` without its stairs (Caffe: exp)."""
    return gamma ** (step / (period * total))


@schedules()
def poly(step: int, total: int, *, power: float) -> float:
    """(1 - step / total) ** power: a line at power 1, above it when the power is smaller."""
    return (1 - step / total) ** power


@schedules()
def inverse(step: int, total: int, *, power: float) -> float:
    """(1 + 100 step / total) ** -power (Caffe: inv, with gamma = 100 / max_iter)."""
    return (1 + 100 * step / total) ** -power


@schedules(warms_up=True)
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


def warmup_steps(warmup: float, total: int) -> int:
    """Steps of warm-up: a number below 1 is a share of the whole, from 1 a number of steps; never more than half."""
    return min(round(warmup * total) if warmup < 1 else int(warmup), total // 2)


def factor(name: str, step: int, total: int, *, warmup: float = 0.0, **options: object) -> float:
    """The factor at `step` of `total`: a straight line up to 1 over the warm-up, then the schedule over the steps left.

    `options` are those of the schedule; others are left out, so that a whole configuration may be passed. `name` may have
    options of its own, which win: "step(period=0.3)".
    """
    spec = _spec(name)
    warm = 0 if spec.entry.facts.get("warms_up") else warmup_steps(warmup, total)
    if step < warm:
        return (step + 1) / warm
    return float(spec(step - warm, total - warm, **options))


@lru_cache
def _spec(text: str) -> Spec[Callable[..., float]]:
    return read(schedules, text, CONTEXT)
