"""Plans: lengths, how often to look, and a time budget kept on a simulated machine whose speed changes."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.train import TrainConfig
from danlu.train import plan as planning
from danlu.train.plan import Clock, Plan, make_plan, replan, save_interval, validation_interval


class Machine:
    """Time that passes only when something is done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(planning, "perf_counter", lambda: self.now)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def pace(step_seconds: float, save_seconds: float = 0.0) -> Clock:
    """A clock that has measured so much."""
    clock = Clock()
    clock.expect(step_seconds, None)
    clock.save_seconds = save_seconds
    return clock


def simulate(
    machine: Machine, budget: float, step_cost: Callable[[float], float], validation: float, *, estimate: float = 0.01
) -> tuple[Plan, float, int]:  # fmt: skip
    """The loop's use of plan and clock; `step_cost(share of the budget that has passed)` is in seconds."""
    config, clock = TrainConfig(seconds=budget), Clock()
    machine.now += 0.03 * budget  # autotune
    clock.expect(estimate, budget)
    plan = make_plan(config, clock, images=12_800, batch=128, val_images=1280)
    clock.begin()
    step = validations = 0
    while step < plan.total:
        machine.now += step_cost(clock.elapsed / budget)
        clock.count(128)
        step += 1
        if clock.due(budget):
            plan = replan(plan, clock, step, budget)
        if step >= plan.total or step % plan.every == 0:
            validations += 1
            with clock.validating():
                machine.now += validation
    return plan, clock.elapsed / budget, validations


COSTS: dict[str, Callable[[float], float]] = {
    "as estimated": lambda at: 0.01,
    "four times slower": lambda at: 0.04,
    "three times faster": lambda at: 0.0033,
    "slows down to half in the middle": lambda at: 0.01 if at < 0.5 else 0.02,
    "slows down to a third at the end": lambda at: 0.01 if at < 0.9 else 0.03,
    "speeds up in the middle": lambda at: 0.02 if at < 0.5 else 0.01,
    "a burst": lambda at: 0.01 if not 0.4 < at < 0.45 else 0.1,
}


@pytest.mark.parametrize("name", list(COSTS))
@pytest.mark.parametrize("budget", [5.0, 60.0, 1200.0])
def test_ends_in_time(machine: Machine, name: str, budget: float) -> None:
    plan, used, _ = simulate(machine, budget, COSTS[name], validation=0.03)
    assert used <= 1.03, (plan, used)
    if name not in ("speeds up in the middle", "a burst"):
        assert used >= 0.9, (plan, used)  # and does not waste it


def test_ends_in_time_when_steps_are_erratic(machine: Machine) -> None:
    draw = random.Random(0)
    plan, used, _ = simulate(machine, 30.0, lambda at: 0.01 * draw.choice([0.5, 1, 1, 1, 2, 8]), validation=0.05)
    assert 0.85 <= used <= 1.03, (plan, used)


def test_a_dear_validation_is_paid_for_out_of_the_budget(machine: Machine) -> None:
    plan, used, validations = simulate(machine, 30.0, lambda at: 0.01, validation=0.5)
    assert used <= 1.03, (plan, used)
    assert 1 <= validations * 0.5 / 30 / 0.1 <= 1.6  # near its tenth of the time


def test_steady_speed_leaves_the_plan_alone(machine: Machine) -> None:
    plan, _, _ = simulate(machine, 60.0, COSTS["as estimated"], validation=0.033)
    assert plan.changes == ()


def test_grows_only_while_young(machine: Machine) -> None:
    plan, _, _ = simulate(machine, 60.0, lambda at: 0.01 if at < 0.5 else 0.001, validation=0.01)
    assert all(total <= plan.total for _, total in plan.changes)
    assert plan.total < 1.2 * 60 / 0.01


def test_lengths() -> None:
    clock = Clock()
    made = make_plan(TrainConfig(epochs=3), clock, images=1000, batch=128, val_images=100)
    assert (made.total, made.per_epoch, made.every, made.budget) == (21, 7, 7, {"epochs": 3})
    made = make_plan(TrainConfig(steps=50), clock, images=1000, batch=128, val_images=100)
    assert (made.total, made.every) == (50, 5)
    assert Plan.from_json(made.to_json()) == made


def test_resumed_time_budget_counts_what_was_used(machine: Machine) -> None:
    clock = Clock()
    clock.resume(10.0)
    clock.expect(0.1, 20.0)
    made = make_plan(TrainConfig(seconds=20.0), clock, images=1280, batch=128, val_images=0, step=100)
    assert made.total == pytest.approx(100 + 9.9 / 0.1, abs=1)
    clock.resume(20.0)
    assert make_plan(TrainConfig(seconds=20.0), clock, images=1280, batch=128, val_images=0, step=100).total == 100


@settings(max_examples=200, deadline=None)
@given(
    total=st.integers(1, 100_000), per_epoch=st.integers(1, 2000), val=st.integers(0, 50_000), by_epoch=st.booleans(),
)  # fmt: skip
def test_validations_cost_at_most_a_tenth(total: int, per_epoch: int, val: int, by_epoch: bool) -> None:
    batch = 64
    every = validation_interval(total, per_epoch, batch, val, by_epoch=by_epoch)
    assert every >= 1
    forward_steps = val / batch / 3
    assert forward_steps <= 0.1 * every + 1e-9
    if by_epoch:
        assert every % per_epoch == 0
    elif forward_steps * 10 <= total:
        assert total / every <= 101


@given(every=st.integers(1, 10_000), step=st.floats(1e-5, 60))
def test_checkpoints_are_seconds_apart(every: int, step: float) -> None:
    save = save_interval(every, pace(step))
    assert save >= 1
    assert save * step <= max(20.0, step, 2 * every * step) or save % every == 0
    assert save * step >= 0.99 or save == every


@given(every=st.integers(1, 10_000), step=st.floats(1e-5, 60), taken=st.floats(0, 100))
def test_checkpoints_cost_at_most_a_fiftieth(every: int, step: float, taken: float) -> None:
    save = save_interval(every, pace(step, taken))
    assert taken <= 0.02 * (save + 1) * step + 1e-9
    assert save * step <= max(20.0, 50 * taken, step) + every * step


def test_a_checkpoint_is_timed_and_stays_in_the_time_of_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(planning, "perf_counter", lambda: now[0])
    clock = Clock()
    clock.begin()
    now[0] += 1
    clock.count(1)
    with clock.saving():
        now[0] += 3
    now[0] += 1
    clock.count(1)
    assert clock.save_seconds == 3
    assert clock.step_seconds == 2.5


def test_validations_to_come() -> None:
    plan = Plan(total=25, per_epoch=10, every=10, save=10, budget={"steps": 25})
    assert [plan.validations(step) for step in (0, 9, 10, 19, 20, 24, 25)] == [3, 3, 2, 2, 1, 1, 0]
    assert Plan(total=20, per_epoch=10, every=10, save=10, budget={}).validations(0) == 2
