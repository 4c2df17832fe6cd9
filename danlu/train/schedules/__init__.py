"""Learning-rate schedules: plain functions (step, total) -> factor of the base rate, at 1 when they begin, or at their highest.

Lengths are shares of the whole training up to 1 and steps above. Instead of the rate falling by a factor, the batch may grow by
it: `growing`.
"""

from collections.abc import Callable
from functools import lru_cache

from ...spec import Spec, read
from . import caffe, cyclical, smooth  # noqa: F401  (each registers itself)
from ._registry import CONTEXT, schedules

__all__ = ["CONTEXT", "check", "factor", "growing", "never_falls", "schedules", "warms_up", "warmup_steps"]

HIGH_END = 0.5  # of the highest rate: a training that ends above it has not settled
LONG_ENOUGH = 10  # steps: below it an end says nothing
LOOKS = 500


def warmup_steps(warmup: float, total: int) -> int:
    """Steps of warm-up: a number below 1 is a share of the whole, from 1 a number of steps; never more than half."""
    return min(round(warmup * total) if warmup < 1 else int(warmup), total // 2)


def factor(name: str, step: int, total: int, *, warmup: float = 0.0, **options: object) -> float:
    """The factor at `step` of `total`: a straight line up to 1 over the warm-up, then the schedule over the steps left.

    `options` are those of the schedule; others are left out, so that a whole configuration may be passed. `name` may have
    options of its own, which win: "step(period=0.3)".
    """
    warm, spec = _warm(name, warmup, total), _spec(name)
    if step < warm:
        return (step + 1) / warm
    known = {} if spec.entry.facts.get("own") else {option: options[option] for option in CONTEXT if option in options}
    return float(spec(step - warm, total - warm, **known))


def growing(name: str, step: int, total: int, most: int, *, warmup: float = 0.0, **options: object) -> tuple[float, int]:
    """The factor of the rate and the batches that make one update, where the batch grows instead of the rate falling.

        k = min(round(1 / factor), most),   rate: 1 while k = round(1 / factor), then most * factor

    The noise of an update goes with rate / batch, so that both ways do about the same (Smith et al. 2017,
    https://arxiv.org/abs/1711.00489, who stop at a tenth of the images). The warm-up stays one of the rate.
    """
    found = factor(name, step, total, warmup=warmup, **options)
    if step < _warm(name, warmup, total):
        return found, 1
    if found * most < 1:
        return found * most, most
    return 1.0, min(round(1 / found), most)


def check(name: str, **options: object) -> None:
    """Raise UsageError where the text names no schedule, or one with options that cannot be."""
    for step in (0, 999):
        factor(name, step, 1000, **options)  # type: ignore[arg-type]


def warms_up(name: str) -> bool:
    """Whether a schedule begins low by itself."""
    return bool(_spec(name).entry.facts.get("warms_up"))


def never_falls(name: str, total: int, **options: object) -> str | None:
    """What to say of a schedule that ends near its highest rate, and what to do; None for one that falls."""
    if total < LONG_ENOUGH:
        return None
    places = sorted({round(i * (total - 1) / (LOOKS - 1)) for i in range(LOOKS)})
    rates = [factor(name, step, total, **options) for step in places]  # type: ignore[arg-type]
    share = rates[-1] / max(rates)
    if share <= HIGH_END:
        return None
    return (
        f"the schedule {name} ends at {100 * share:.0f} % of its highest rate: the weights will go on jumping around a minimum; "
        "a rate that falls, such as schedule='cosine' or 'step', ends lower"
    )


def _warm(name: str, warmup: float, total: int) -> int:
    return 0 if warms_up(name) else warmup_steps(warmup, total)


@lru_cache
def _spec(text: str) -> Spec[Callable[..., float]]:
    return read(schedules, text, CONTEXT)
