"""Branches dropped at random: how often, how much, and what remains at inference."""

import pytest
import torch

from danlu.errors import UsageError
from danlu.nn import StochasticDepth


def test_images_are_dropped_one_by_one_and_the_mean_stays():
    torch.manual_seed(0)
    x = torch.rand(4000, 2, 3, 3) + 0.5
    y = StochasticDepth(0.7).train()(x)
    ratio = (y / x).flatten(1)
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))  # an image stays or goes as a whole
    there = ratio[:, 0] > 0
    torch.testing.assert_close(ratio[there, 0], torch.full((int(there.sum()),), 1 / 0.7))
    assert there.double().mean() == pytest.approx(0.7, abs=4 * (0.7 * 0.3 / 4000) ** 0.5)


def test_a_batch_is_dropped_at_once():
    torch.manual_seed(0)
    layer = StochasticDepth(0.5, per="batch").train()
    x = torch.ones(3, 2, 2)
    sums = [layer(x).sum().item() for _ in range(400)]
    assert set(sums) == {0.0, 24.0}
    assert sum(sums) / 24 / 400 == pytest.approx(0.5, abs=0.1)


def test_nothing_happens_at_inference_or_with_a_survival_of_one():
    x = torch.randn(3, 4)
    assert StochasticDepth(0.3).eval()(x) is x
    assert StochasticDepth(1.0).train()(x) is x


def test_dropped_branches_send_no_gradient():
    torch.manual_seed(0)
    x = torch.ones(64, 3, requires_grad=True)
    y = StochasticDepth(0.5).train()(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
    assert set(x.grad.unique().tolist()) == {0.0, 2.0}


def test_traces_in_both_modes():
    x = torch.randn(2, 3, 4, 4)
    layer = StochasticDepth(0.5).train()
    traced = torch.fx.symbolic_trace(layer)
    torch.manual_seed(1)
    expected = layer(x)
    torch.manual_seed(1)
    assert torch.equal(traced(x), expected)
    program = torch.export.export(layer.eval(), (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    assert torch.equal(program.module()(x), x)


@pytest.mark.parametrize("survival", [0, -0.1, 1.1, float("nan")])
def test_a_bad_survival_is_refused(survival):
    with pytest.raises(UsageError, match="above 0 and at most 1"):
        StochasticDepth(survival)


def test_another_unit_of_dropping_is_refused():
    with pytest.raises(UsageError, match="'image' or per 'batch'"):
        StochasticDepth(0.5, per="channel")
