"""Timing: whose time is whose, by layers that sleep; spreads; and models left as they were."""

import time

import pytest
import torch
from torch import Tensor, nn

from danlu.cost import profile
from danlu.cost.time import Spread, measure
from danlu.errors import UsageError


class Sleep(nn.Module):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(self.seconds)
        return x + 1


class Parent(nn.Module):
    """Sleeps between its children."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Sleep(0.004), Sleep(0.004)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        time.sleep(0.012)
        return self.second(x * 2) * 3


def test_a_child_is_timed_for_itself_and_a_parent_without_its_children() -> None:
    result = profile(Parent(), (2,), time=True, repeats=3)
    first, between, second, last = result.rows
    assert [row.name for row in result.rows] == ["first", "", "second", ""]
    # A sleep lasts at least as long as asked; a sleep booked on the wrong row would leave these below it.
    assert first.median_ms >= 4
    assert second.median_ms >= 4
    assert between.median_ms >= 12
    assert result.time_ms >= 20
    assert result.hooked_ms >= sum(row.p10_ms for row in result.rows) * 0.99
    assert last.median_ms < result.time_ms
    assert all(row.p10_ms <= row.median_ms <= row.p90_ms for row in result.rows)
    assert result.time_p10_ms <= result.time_ms <= result.time_p90_ms
    assert (result.repeats, result.threads) == (3, torch.get_num_threads())


def test_calls_of_a_shared_module_are_timed_apart() -> None:
    shared = nn.ReLU()
    result = profile(nn.Sequential(shared, nn.Linear(8, 8), shared), (8,), time=True, repeats=2)
    assert [row.median_ms > 0 for row in result.rows] == [True, True, True]


def test_without_time_nothing_is_measured() -> None:
    result = profile(nn.Linear(4, 4), (4,))
    assert (result.time_ms, result.hooked_ms, result.repeats, result.rows[0].median_ms) == (None, None, 0, None)


def test_spread_is_the_quantiles_in_milliseconds() -> None:
    spread = Spread.of([i / 1000 for i in range(1, 12)])
    assert (spread.median_ms, spread.p10_ms, spread.p90_ms) == pytest.approx((6.0, 2.0, 10.0))


def test_timing_runs_in_eval_mode_and_restores_training() -> None:
    seen = []

    class Watch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append((self.training, torch.is_inference_mode_enabled()))
            return x

    model = nn.Sequential(Watch(), nn.Dropout()).train()
    measure(model, (1, 4), repeats=2, warmup=1)
    assert set(seen) == {(False, True)}
    assert len(seen) == 5  # one to warm up, two plain, two with hooks
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_failing_forward_leaves_no_hooks_and_names_the_shape() -> None:
    model = nn.Sequential(nn.Linear(4, 2), nn.Linear(3, 2)).train()
    with pytest.raises(UsageError, match=r"shape \[1, 4\]"):
        measure(model, (1, 4))
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_time_needs_real_weights() -> None:
    with pytest.raises(UsageError, match="real weights"):
        profile(nn.Linear(4, 4, device="meta"), (4,), time=True)
