"""The container of early exits: the entropy against scipy-like closed forms, the answer against a loop over images."""

import copy
import math

import pytest
import torch
from torch import nn

from danlu.edits import edit
from danlu.errors import UsageError
from danlu.nn import EarlyExit, ExitHead, ExitPoint, exit_entropy
from danlu.nn.early_exit import GridPool


def net() -> EarlyExit:
    torch.manual_seed(0)
    base = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(inplace=True), nn.Conv2d(6, 8, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8 * 64, 5)
    )
    return edit(base, "add_exits(at=['0', '3'], grid=2)").model  # type: ignore[return-value]


def test_entropy_at_its_ends_and_in_between() -> None:
    logits = torch.log(torch.tensor([[1e-30, 1.0, 1e-30], [1.0, 1.0, 1.0], [0.5, 0.25, 0.25]]))
    half = -(0.5 * math.log(0.5) + 0.5 * math.log(0.25)) / math.log(3)
    torch.testing.assert_close(exit_entropy(logits), torch.tensor([0.0, 1.0, half]), atol=1e-6, rtol=0)
    assert exit_entropy(torch.tensor([[1e4, -1e4, 0.0]])).isfinite().all()


@pytest.mark.parametrize("size", [(8, 8), (9, 11), (7, 4), (4, 4)])
def test_every_pixel_is_in_a_cell_of_the_grid(size: tuple[int, int]) -> None:
    for row in range(size[0]):
        for column in range(size[1]):
            x = torch.zeros(1, 1, *size)
            x[0, 0, row, column] = 1
            y = GridPool(4)(x)
            assert y.shape == (1, 1, 4, 4)
            assert y.max() == 1


def test_grid_pool_is_max_pooling_where_the_grid_divides_the_map() -> None:
    x = torch.randn(2, 3, 12, 8)
    assert torch.equal(GridPool(4)(x), nn.AdaptiveMaxPool2d(4)(x))


def test_a_map_smaller_than_the_grid_is_refused_with_both_sizes() -> None:
    with pytest.raises(UsageError, match=r"grid of 4x4 cells needs a map as large, got 3x5.*grid=3"):
        GridPool(4)(torch.randn(1, 2, 3, 5))


def test_head_has_the_parameters_of_its_formula() -> None:
    head = ExitHead(6, 10, channels=[16, 8], kernel=5, stride=2, grid=3)
    assert sum(p.numel() for p in head.parameters()) == 16 * 6 * 25 + 16 + 8 * 16 * 9 + 8 + 8 * 9 * 10 + 10
    assert ExitHead(6, 10, grid=3)(torch.randn(2, 6, 7, 9)).shape == (2, 10)


def test_a_batch_gets_what_its_images_get_one_by_one_when_the_net_stops_for_each() -> None:
    model = net().eval()
    x = 2 * torch.randn(64, 1, 12, 12)
    seen = set()
    with torch.no_grad():
        entropy = torch.stack([exit_entropy(z) for z in model.exits(x)[:-1]], 1)
        model.thresholds.copy_(entropy.quantile(0.4, dim=0))
        answers = model(x)
        for image, answer in zip(x, answers, strict=True):
            exits = model.exits(image[None])
            at = next((i for i, z in enumerate(exits[:-1]) if exit_entropy(z) < model.thresholds[i]), 2)
            torch.testing.assert_close(exits[at][0], answer, rtol=1e-5, atol=1e-5)
            seen.add(at)
    assert seen == {0, 1, 2}, "the images must not be all alike, or this shows nothing"


def test_thresholds_at_the_ends() -> None:
    model, x = net().eval(), torch.randn(8, 1, 12, 12)
    with torch.no_grad():
        exits = model.exits(x)
        model.thresholds.copy_(torch.tensor([2.0, 0.0]))
        assert torch.equal(model(x), exits[0])
        model.thresholds.zero_()
        assert torch.equal(model(x), exits[-1])


def test_training_gives_every_exit_and_a_gradient_to_every_weight() -> None:
    model = net().train()
    y = model(torch.randn(4, 1, 12, 12))
    assert y.shape == (4, 3, 5)
    y.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_without_its_exits_it_is_the_net_it_was() -> None:
    base = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 3)), nn.Flatten(), nn.Linear(256, 5)).eval()
    model = edit(base, "add_exits(at=['1', 'input', '1.0'])").model
    plain, x = model.plain(), torch.randn(2, 1, 12, 12)
    assert torch.equal(plain(x), base(x))
    assert not any(isinstance(module, ExitPoint) for module in plain.modules())
    assert torch.equal(model.exits(x)[-1], base(x))
    assert len(model.exits(x)) == 4


def test_nothing_of_a_forward_stays_behind() -> None:
    model = net().train()
    model(torch.randn(2, 1, 12, 12))
    assert all(module.logits is None for module in model.modules() if isinstance(module, ExitPoint))
    copy.deepcopy(model)


def test_an_exit_that_the_forward_passes_by_is_said() -> None:
    model = net()
    model.net[0] = nn.Conv2d(1, 6, 3)
    model.net.aside = ExitPoint(nn.Identity(), nn.Identity())
    model.places = ("aside",)
    model.net.forward = lambda x: x  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="passed an exit by"):
        model(torch.randn(1, 1, 12, 12))
