"""Schedules against torch's own, Caffe's formulas and the values they gave in published runs."""

import math
from collections.abc import Callable

import pytest
import torch
from torch.optim import lr_scheduler

from danlu.errors import UsageError
from danlu.train.schedules import factor, growing, never_falls, schedules, warmup_steps

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


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        # Caffe's own parameters, an iteration at a time, as its solver computes them.
        ("fixed", lambda i: 1.0),
        ("step(period=10000, gamma=0.1)", lambda i: 0.1 ** (i // 10000)),
        ("multistep(milestones=(10000, 30000, 60000), gamma=0.5)", lambda i: 0.5 ** ((i >= 10000) + (i >= 30000) + (i >= 60000))),
        ("exp(gamma=0.9999)", lambda i: 0.9999**i),
        ("inv(gamma=0.001, power=0.75)", lambda i: (1 + 0.001 * i) ** -0.75),
        ("poly(power=2)", lambda i: (1 - i / 100_000) ** 2),
        ("sigmoid(gamma=-0.0005, stepsize=50000)", lambda i: 1 / (1 + math.exp(0.0005 * (i - 50000)))),
    ],
)
def test_caffe(text: str, formula: Callable[[int], float]) -> None:
    for i in (0, 1, 9_999, 10_000, 29_999, 30_000, 45_000, 60_000, 99_999):
        assert factor(text, i, 100_000) == pytest.approx(formula(i), rel=1e-9), i


def test_policies_without_a_gamma_fit_the_length() -> None:
    for i in (0, 17, 500, 999):
        # As over 100,000 iterations with gamma 0.9999 and 0.001: a hundred of those are one here.
        assert factor("exp", i, 1000) == pytest.approx(factor("exp(gamma=0.9999)", 100 * i, 100_000), rel=1e-3)
        assert factor("inv", i, 1000) == pytest.approx(factor("inv(gamma=0.001)", 100 * i, 100_000))
        assert factor("inverse", i, 1000, power=0.75) == pytest.approx(factor("inv", i, 1000))
        assert factor("constant", i, 1000) == factor("fixed", i, 1000)


def test_a_sigmoid_of_caffe_rises_and_that_is_said() -> None:
    # Caffe's gamma is positive; only below 0 does the rate fall.
    said = never_falls("sigmoid(gamma=0.02, stepsize=500)", 1000)
    assert said is not None
    assert "ends at 100 %" in said
    assert "cosine" in said
    assert never_falls("sigmoid(gamma=-0.02, stepsize=500)", 1000) is None
    assert never_falls("exp(gamma=0.9999)", 1000) is not None  # gone a tenth of its way
    assert never_falls("constant", 9) is None  # too short to say anything


@pytest.mark.parametrize(
    ("text", "mode", "options"),
    [
        ("triangular(low=0.2, stepsize=6)", "triangular", {}),
        ("triangular2(low=0.2, stepsize=6)", "triangular2", {}),
        ("exp_range(low=0.2, stepsize=6, gamma=0.97)", "exp_range", {"gamma": 0.97}),
    ],
)
def test_cyclical_rates_equal_torch(text: str, mode: str, options: dict) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = lr_scheduler.CyclicLR(
        optimizer, base_lr=0.2, max_lr=1.0, step_size_up=6, mode=mode, cycle_momentum=False, **options
    )  # fmt: skip
    expected = []
    for _ in range(TOTAL):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    # A warm-up would be climbed twice: cyclical rates have their own.
    assert [factor(text, step, TOTAL, warmup=0.5) for step in range(TOTAL)] == pytest.approx(expected, rel=1e-6)


def test_four_triangles_end_where_they_began() -> None:
    rates = [factor("triangular(low=0.25)", step, 80) for step in range(80)]
    assert [i for i, rate in enumerate(rates) if rate == pytest.approx(1)] == [10, 30, 50, 70]
    assert [i for i, rate in enumerate(rates) if rate == pytest.approx(0.25)] == [0, 20, 40, 60]
    halves = [factor("triangular2(low=0.2)", step, 80) for step in (10, 30, 50, 70)]
    assert halves == pytest.approx([1.0, 0.6, 0.4, 0.3])
    assert factor("exp_range(low=0)", 70, 80) == pytest.approx(0.1 ** (70 / 80))


@pytest.mark.parametrize(("t_0", "t_mult"), [(7, 1), (4, 2), (2, 3), (1, 2)])
def test_sgdr_equals_torch(t_0: int, t_mult: int) -> None:
    expected = torch_rates(lr_scheduler.CosineAnnealingWarmRestarts, T_0=t_0, T_mult=t_mult, eta_min=0.1)
    # 1 is the whole training, as any length up to 1 is a share: one step is written as its share.
    first = t_0 if t_0 > 1 else 1 / TOTAL
    rates = [factor(f"sgdr(t_0={first}, t_mult={t_mult}, low=0.1)", step, TOTAL) for step in range(TOTAL)]
    assert rates == pytest.approx(expected, rel=1e-5)


def test_sgdr_fills_the_training_with_whole_descents() -> None:
    for total in (70, 100, 777):
        rates = [factor("sgdr", step, total) for step in range(total)]
        restarts = [i for i in range(1, total) if rates[i] > rates[i - 1]]
        assert [i / total for i in restarts] == pytest.approx([1 / 7, 3 / 7], abs=1.5 / total)
        assert rates[-1] < 0.01


@pytest.mark.parametrize("text", ["step(gamma=0.2)", "cosine", "multistep(gamma=0.25)", "exp"])
def test_a_growing_batch_has_the_noise_of_a_falling_rate(text: str) -> None:
    options = {"period": 0.25, "gamma": 0.1, "milestones": (0.3, 0.6), "power": 1.0, "warmup": 0.1}
    for step in range(500):
        falling = factor(text, step, 500, **options)
        rate, batches = growing(text, step, 500, 30, **options)
        if step < 50:
            assert (rate, batches) == (falling, 1)  # the warm-up is one of the rate
            continue
        assert batches == min(max(round(1 / falling), 1) if falling > 1e-9 else 30, 30)
        assert rate == pytest.approx(1.0 if falling >= 1 / 30 else 30 * falling)
        # Within what rounding to whole batches costs: 1 for 1.5, and 2 for 1.5.
        assert 0.66 <= (rate / batches) / falling <= 1.5 or falling < 1e-12


def test_unknown_schedule_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean cosine"):
        factor("cosin", 0, 10)
