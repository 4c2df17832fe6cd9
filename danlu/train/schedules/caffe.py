"""The policies of Caffe's solver: constant, down in steps, along an exponential, a power or a logistic curve.

    fixed      1
    step       gamma ^ floor(iter / stepsize)
    multistep  gamma ^ (number of stepvalues passed)
    exp        gamma ^ iter
    inv        (1 + gamma iter) ^ -power
    poly       (1 - iter / max_iter) ^ power
    sigmoid    1 / (1 + exp(-gamma (iter - stepsize)))

Here iter = step and max_iter = total, both behind the warm-up. `period` is the stepsize of step, `milestones` are the stepvalues
of multistep. constant, exponential and inverse are fixed, exp and inv in terms of the length of the training.

Source: Jia et al. 2014, Caffe, https://arxiv.org/abs/1408.5093; the solver's `lr_policy`.
Differs: without a gamma, exp, inv and sigmoid take one that fits the length; a sigmoid may fall, with a gamma below 0.
"""

import math

from ...errors import UsageError
from ._registry import length, schedules, within

CAFFE = "arxiv:1408.5093"


@schedules(paper=CAFFE)
def fixed(step: int, total: int) -> float:
    """1 throughout."""
    return 1.0


@schedules(paper=CAFFE)
def constant(step: int, total: int) -> float:
    """1 throughout (Caffe: fixed)."""
    return 1.0


@schedules(paper=CAFFE)
def step(step: int, total: int, *, period: float, gamma: float) -> float:
    """gamma ** floor(step / period): down by `gamma` at equal distances, a share of the training or steps."""
    within("step", "gamma", gamma, 0, 1)
    # A step that lies on an edge must not fall short of it by rounding: 0.1 * 3 is above 0.3.
    return gamma ** math.floor(step / length("step", "period", period, total) + 1e-9)


@schedules(paper=CAFFE)
def multistep(step: int, total: int, *, milestones: tuple[float, ...], gamma: float) -> float:
    """gamma ** (number of milestones passed): down by `gamma` at each of the given shares, or steps."""
    within("multistep", "gamma", gamma, 0, 1)
    passed = (step >= max(1, round(length("multistep", "milestones", milestone, total))) for milestone in milestones)
    return gamma ** sum(passed)


@schedules(own=True, paper=CAFFE)
def exp(step: int, total: int, *, gamma: float | None = None) -> float:
    """gamma ** step; without a gamma exp(-10 step / total), which is 0.9999 a step over 100,000 steps."""
    if gamma is None:
        return math.exp(-10 * step / total)
    within("exp", "gamma", gamma, 0, 1)
    return gamma**step


@schedules(paper=CAFFE)
def exponential(step: int, total: int, *, period: float, gamma: float) -> float:
    """gamma ** (step / period): `step` without its stairs (Caffe: exp, with the gamma gamma ** (1 / period))."""
    within("exponential", "gamma", gamma, 0, 1)
    return gamma ** (step / length("exponential", "period", period, total))


@schedules(own=True, paper=CAFFE)
def inv(step: int, total: int, *, gamma: float | None = None, power: float = 0.75) -> float:
    """(1 + gamma step) ** -power; without a gamma 100 / total, which is 0.001 over 100,000 steps."""
    if gamma is not None and gamma < 0:
        raise UsageError(f"inv: gamma must be from 0, got {gamma}")
    if not power > 0:
        raise UsageError(f"inv: power must be above 0, got {power}")
    return float((1 + (100 / total if gamma is None else gamma) * step) ** -power)


@schedules(paper=CAFFE)
def inverse(step: int, total: int, *, power: float) -> float:
    """(1 + 100 step / total) ** -power (Caffe: inv, with gamma = 100 / max_iter)."""
    return inv(step, total, power=power)


@schedules(paper=CAFFE)
def poly(step: int, total: int, *, power: float) -> float:
    """(1 - step / total) ** power: a line at power 1, above it when the power is smaller."""
    if not power > 0:
        raise UsageError(f"poly: power must be above 0, got {power}")
    return (1 - step / total) ** power


@schedules(own=True, paper=CAFFE)
def sigmoid(step: int, total: int, *, gamma: float | None = None, stepsize: float = 0.5) -> float:
    """1 / (1 + exp(-gamma (step - stepsize))): falls with a gamma below 0; without one it is -12 / total."""
    slope = -12 / total if gamma is None else gamma
    return 0.5 * (1 + math.tanh(0.5 * slope * (step - length("sigmoid", "stepsize", stepsize, total))))
