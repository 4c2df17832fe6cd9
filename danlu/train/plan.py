"""How many steps, and when to look: the plan of a training, made from its budget and, for a time budget, from measured speed.

A schedule that follows the clock cannot be repeated. So a time budget is turned into a number of steps, the learning rate is a
function of step / total, and the plan is stored with every checkpoint. While training runs the plan is compared with the clock:
it shrinks when the projected end is late, and may grow during its first 30 %.
"""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from typing import Any

from .config import TrainConfig

VALIDATION_SHARE = 0.1  # of the time, at most
DEAR = 1.5  # times that share: validate less often
FORWARD_SHARE = 1 / 3  # of a training step: the backward pass costs about twice the forward one
MOST_VALIDATIONS = 100  # of a plan in steps or seconds
LOOKS = 10  # validations of a plan that is shorter than that many epochs
SAVE_SECONDS = (1.0, 20.0)  # between checkpoints
SAVE_SHARE = 0.02  # of the time, at most: the state of a large net is gigabytes, and takes seconds to write
LATE, EARLY, GROWTH = 1.01, 0.97, 0.3
ESTIMATE_SHARE = 0.025  # of the time: what the first estimate of a step counts for
LOOK_SHARE = 0.01  # of the time, between two comparisons of plan and clock
RESERVE = 0.005  # of the time, for what comes after the last validation


@dataclass(frozen=True)
class Plan:
    """Lengths in steps. `changes` lists [step, new total] of every time the plan was changed."""

    total: int
    per_epoch: int
    every: int  # between validations
    save: int  # between checkpoints
    budget: dict[str, float]
    grow_until: float = 0.0  # seconds; only a time budget grows
    changes: tuple[tuple[int, int], ...] = ()

    def validations(self, step: int) -> int:
        """How many are still to come after `step`; the last one is at the end."""
        if step >= self.total:
            return 0
        return self.total // self.every - step // self.every + (self.total % self.every > 0)

    def resized(self, total: int, step: int) -> "Plan":
        """With another total, decided at `step`."""
        return replace(self, total=total, changes=(*self.changes, (step, total)))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Plan":
        """The reverse of `to_json`."""
        return cls(**{**data, "changes": tuple((int(step), int(total)) for step, total in data["changes"])})


class Clock:
    """Seconds over all sessions of a training, and what a step, a validation and a checkpoint take.

    The seconds of a step are the mean of all that were made, after an estimate that counts for a fortieth of the budget: a
    burst of work elsewhere on the machine must not make the plan jump.
    """

    def __init__(self) -> None:
        self._start = perf_counter()
        self.validation_seconds = self.save_seconds = 0.0
        self._steps, self._seconds = 0.0, 0.0  # of training; the estimate included
        self._lap_at = self._look_at = 0.0
        self._images, self._images_at = 0, 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the first session began, without the pauses between sessions."""
        return perf_counter() - self._start

    @property
    def step_seconds(self) -> float:
        """Seconds of a training step, its data included."""
        return self._seconds / self._steps if self._steps else 0.0

    def expect(self, step_seconds: float, budget: float | None) -> None:
        """Start from an estimate."""
        self._steps = max(1.0, ESTIMATE_SHARE * (budget or 0.0) / max(step_seconds, 1e-9))
        self._seconds = self._steps * step_seconds

    def resume(self, elapsed: float) -> None:
        """Count on from an earlier session."""
        self._start -= elapsed

    def begin(self) -> None:
        """The first step of this session is about to be made."""
        self._lap_at = self._look_at = self._images_at = self.elapsed
        self._images = 0

    def count(self, images: int) -> None:
        """A step was made."""
        now = self.elapsed
        self._seconds += now - self._lap_at
        self._lap_at = now
        self._steps += 1
        self._images += images

    def due(self, seconds: float) -> bool:
        """Whether it is time to compare the plan with the clock again."""
        if self._lap_at - self._look_at < LOOK_SHARE * seconds:
            return False
        self._look_at = self._lap_at
        return True

    @contextlib.contextmanager
    def validating(self) -> Iterator[None]:
        """A validation: measured, and taken out of the time of the steps."""
        start = self.elapsed
        yield
        taken = self.elapsed - start
        self.validation_seconds += 0.5 * (taken - self.validation_seconds)
        self._lap_at += taken
        self._images_at += taken

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """A checkpoint: measured, and left in the time of the steps, which it delays."""
        start = self.elapsed
        yield
        self.save_seconds = self.elapsed - start

    def speed(self) -> float:
        """Images a second in training since the last call."""
        taken = self.elapsed - self._images_at
        speed = self._images / taken if taken > 0 else 0.0
        self._images, self._images_at = 0, self.elapsed
        return speed


def make_plan(
    config: TrainConfig, clock: Clock, *, images: int, batch: int, val_images: int, step: int = 0,
    changes: tuple[tuple[int, int], ...] = (),
) -> Plan:  # fmt: skip
    """The plan of a training that is at `step`; 0 for a new one. Uses the clock's seconds of a step."""
    per_epoch = max(1, images // batch)
    if not clock.validation_seconds:
        clock.validation_seconds = val_images / batch * clock.step_seconds * FORWARD_SHARE
    if config.epochs is not None:
        total = config.epochs * per_epoch
    elif config.steps is not None:
        total = config.steps
    else:
        rough = (1 - VALIDATION_SHARE) * ((config.seconds or 0) - clock.elapsed)
        total = step + max(1, int(rough / max(clock.step_seconds, 1e-9)))
    every = validation_interval(total, per_epoch, batch, val_images, by_epoch=config.epochs is not None)
    save = save_interval(every, clock)
    plan = Plan(max(total, step), per_epoch, every, save, config.budget, changes=changes)
    if config.seconds is not None:
        total = max(affordable(plan, clock, step, config.seconds), step if step else 1)
        plan = replace(plan, total=total, grow_until=clock.elapsed + GROWTH * (config.seconds - clock.elapsed))
    return plan


def affordable(plan: Plan, clock: Clock, step: int, seconds: float) -> int:
    """The number of steps in all that end in time, validations included."""
    left = (1 - RESERVE) * seconds - clock.elapsed - clock.validation_seconds
    cost = clock.step_seconds + clock.validation_seconds / plan.every
    return step + max(0, math.floor(left / max(cost, 1e-9)))


def replan(plan: Plan, clock: Clock, step: int, seconds: float) -> Plan:
    """The plan that fits the clock: smaller when it would end late, larger while it is young and would end early.

    Validations that turn out dearer than their share become half as frequent.
    """
    if clock.validation_seconds > DEAR * VALIDATION_SHARE * plan.every * clock.step_seconds:
        plan = replace(plan, every=2 * plan.every)
    end = clock.elapsed + (plan.total - step) * clock.step_seconds + plan.validations(step) * clock.validation_seconds
    late = end > LATE * seconds
    early = end < EARLY * seconds and clock.elapsed < plan.grow_until
    if not late and not early:
        return plan
    total = affordable(plan, clock, step, seconds)
    plan = plan.resized(min(total, plan.total) if late else max(total, plan.total), step)
    # A plan that was made for a much faster machine would look, and save, too seldom.
    cheap = clock.validation_seconds / max(VALIDATION_SHARE * clock.step_seconds, 1e-9)
    every = min(plan.every, max(math.ceil(cheap), math.ceil(plan.total / LOOKS)))
    return replace(plan, every=every, save=save_interval(every, clock))


def validation_interval(total: int, per_epoch: int, batch: int, val_images: int, *, by_epoch: bool) -> int:
    """Steps between validations, such that they take at most a tenth of the time.

    A plan in epochs validates after each; one in seconds or steps after each of its epochs, at most 100 times, or ten times
    in all when it has fewer than ten epochs.
    """
    cheap = math.ceil(val_images / batch * FORWARD_SHARE / VALIDATION_SHARE)
    if by_epoch or total >= LOOKS * per_epoch:
        epochs = max(1, math.ceil(cheap / per_epoch))
        if not by_epoch:
            epochs = max(epochs, math.ceil(total / per_epoch / MOST_VALIDATIONS))
        return epochs * per_epoch
    return max(cheap, math.ceil(total / LOOKS))


def save_interval(every: int, clock: Clock) -> int:
    """Steps between checkpoints: those of a validation, unless these are under 1 s or over 20 s apart.

    As many more as it takes for checkpoints to be a fiftieth of the time, once one has been measured.
    """
    shortest = max(SAVE_SECONDS[0], clock.save_seconds / SAVE_SHARE)
    longest = max(SAVE_SECONDS[1], shortest)
    taken = every * clock.step_seconds
    if taken > longest:
        return max(1, int(longest / clock.step_seconds))
    if 0 < taken < shortest:
        return every * math.ceil(shortest / taken)
    return every
