"""Schedules against torch's own, Caffe's formulas and the values they gave in published runs."""

import math

import pytest
import torch
from torch.optim import lr_scheduler

from danlu.errors import UsageError
from danlu.train import schedules
from danlu.train.schedules import factor, warmup_steps

TOTAL = 60


def torch_rates(scheduler: type, **options: object) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    steps = scheduler(optimizer, **options)
    rates = []
    for _ in range(TOTAL):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        steps.step()
    return rates


@pytest.mark.parametrize(
    ("name", "ours", "scheduler", "options"),
    [
        ("constant", {}, lr_scheduler.ConstantLR, {"factor": 1.0, "total_iters": TOTAL}),
        ("cosine", {}, lr_scheduler.CosineAnnealingLR, {"T_max": TOTAL}),
        ("step", {"period": 1 / 3, "gamma": 0.1}, lr_scheduler.StepLR, {"step_size": TOTAL // 3, "gamma": 0.1}),
        ("step", {"period": 0.1, "gamma": 0.5}, lr_scheduler.StepLR, {"step_size": TOTAL // 10, "gamma": 0.5}),
        (
            "multistep",
            {"milestones": (0.5, 0.75), "gamma": 0.2},
            lr_scheduler.MultiStepLR,
            {"milestones": [30, 45], "gamma": 0.2},
        ),
        ("poly", {"power": 0.9}, lr_scheduler.PolynomialLR, {"total_iters": TOTAL, "power": 0.9}),
        ("exponential", {"period": 0.5, "gamma": 0.1}, lr_scheduler.ExponentialLR, {"gamma": 0.1 ** (1 / 30)}),
    ],
)
def test_equals_torch(name: str, ours: dict, scheduler: type, options: dict) -> None:
    rates = [schedules[name].build(step, TOTAL, **ours) for step in range(TOTAL)]
    assert rates == pytest.approx(torch_rates(scheduler, **options), rel=1e-6)


def test_one_cycle_equals_torch() -> None:
    rates = [factor("one_cycle", step, TOTAL, warmup=0.2) for step in range(TOTAL)]
    expected = torch_rates(lr_scheduler.OneCycleLR, max_lr=1.0, total_steps=TOTAL, cycle_momentum=False)
    assert rates == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "at_10k", "at_50k", "at_100k"),
    [
        # Base rate 0.01 over 100,000 iterations: gamma 0.9999 per iteration; gamma 0.001 and power 0.75; power 2.
        ("exponential", {"gamma": 0.1, "period": math.log(0.1) / (1e5 * math.log(0.9999))}, 3.7e-3, 6.7e-5, 4.5e-7),
        ("inverse", {"power": 0.75}, 1.66e-3, 5.2e-4, 3.1e-4),
        ("poly", {"power": 2.0}, 8.1e-3, 2.5e-3, 0.0),
    ],
)
def test_rates_of_caffe_runs(name: str, options: dict, at_10k: float, at_50k: float, at_100k: float) -> None:
    rates = [0.01 * factor(name, step, 100_000, **options) for step in (10_000, 50_000, 100_000)]
    assert rates == pytest.approx([at_10k, at_50k, at_100k], rel=0.02)


def test_poly_bends_with_its_power() -> None:
    line = [factor("poly", step, TOTAL, power=1.0) for step in range(TOTAL)]
    above = [factor("poly", step, TOTAL, power=0.5) for step in range(TOTAL)]
    below = [factor("poly", step, TOTAL, power=2.0) for step in range(TOTAL)]
    assert line == pytest.approx([1 - step / TOTAL for step in range(TOTAL)])
    assert all(b < m < a for a, m, b in zip(above[1:], line[1:], below[1:], strict=True))


def test_warmup_is_a_line_and_the_schedule_follows_over_the_rest() -> None:
    rates = [factor("cosine", step, 100, warmup=0.2) for step in range(100)]
    assert rates[:20] == pytest.approx([(step + 1) / 20 for step in range(20)])
    assert rates[20:] == pytest.approx([0.5 * (1 + math.cos(math.pi * step / 80)) for step in range(80)])
    assert [factor("constant", step, 10, warmup=4) for step in range(6)] == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


def test_warmup_is_at_most_half() -> None:
    assert warmup_steps(1000, 10) == 5
    assert warmup_steps(0.05, 1) == 0


@pytest.mark.parametrize("name", schedules.names())
def test_every_schedule_stays_within_one(name: str) -> None:
    options = {"period": 0.3, "gamma": 0.1, "milestones": (0.5, 0.75), "power": 1.0}
    for total in (1, 2, 7, 100):
        rates = [factor(name, step, total, warmup=0.1, **options) for step in range(total)]
        assert all(0 <= rate <= 1 for rate in rates), (total, rates)
        assert max(rates) > 0.9 or name == "one_cycle"


def test_unknown_schedule_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean cosine"):
        factor("cosin", 0, 10)
