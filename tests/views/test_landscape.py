"""Sharpness and slices of the loss, against quadratics whose highest value in a box and along a line are known."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.errors import DanluError
from danlu.views import Subject
from danlu.views._landscape import HIGHEST, mean_loss, movable, weights
from danlu.views.loss_slice import along, filter_normalised, loss_slice
from danlu.views.sharpness import highest_in_box, sharpness


def quadratic(moved: list[Tensor], curvature: list[Tensor]) -> Callable[[bool], float]:
    """f(w) = 1/2 sum a (w - 1)^2."""

    def loss(gradient: bool) -> float:
        value = sum((a * (w - 1) ** 2).sum() for w, a in zip(moved, curvature, strict=True)) / 2
        if gradient:
            for w in moved:
                w.grad = None
            value.backward()
        return float(value.detach())

    return loss


@pytest.mark.parametrize("epsilon", [1e-3, 0.1, 1.0])
def test_the_highest_of_a_quadratic_is_in_a_corner_of_the_box(epsilon: float) -> None:
    """At its minimum w = 1 every half width is 2 e: the highest is 1/2 sum a (2 e)^2, although the gradient vanishes there."""
    random = torch.Generator().manual_seed(0)
    moved = [torch.ones(4, 3, dtype=torch.float64), torch.ones(5, dtype=torch.float64)]
    curvature = [torch.rand(w.shape, generator=random, dtype=torch.float64) + 0.1 for w in moved]
    wanted = sum(float(a.sum()) for a in curvature) / 2 * (2 * epsilon) ** 2
    for steps in (1, 8):
        found = highest_in_box(quadratic(moved, curvature), moved, epsilon, steps, 2, random)
        assert found == pytest.approx(wanted, rel=1e-9)
    assert all(torch.equal(w, torch.ones_like(w)) for w in moved)
    assert not any(w.requires_grad for w in moved)


def test_away_from_a_minimum_the_box_is_as_wide_as_the_weights() -> None:
    moved = [torch.tensor([3.0, -1.0], dtype=torch.float64)]
    curvature = [torch.tensor([2.0, 1.0], dtype=torch.float64)]
    found = highest_in_box(quadratic(moved, curvature), moved, 0.1, 5, 1, torch.Generator().manual_seed(0))
    assert found == pytest.approx((2 * (3.4 - 1) ** 2 + (-1.2 - 1) ** 2) / 2)  # half widths 0.1 (3 + 1) and 0.1 (1 + 1)


def test_sharpness_grows_with_the_box_and_is_in_per_cent(net: Callable[..., nn.Module], subject: Callable[..., Subject]) -> None:
    looked = subject(net())
    values = sharpness(looked, epsilons=(1e-2, 1e-3), steps=4, starts=1).values
    loss = float(F.cross_entropy(looked.logits(looked.x).double(), looked.labels))
    assert values["loss"] == pytest.approx(loss, rel=1e-6)
    small, large = values["boxes"]
    assert (small["epsilon"], large["epsilon"]) == (1e-3, 1e-2)
    assert 0 < small["sharpness"] < large["sharpness"]
    for row in values["boxes"]:
        assert row["sharpness"] == pytest.approx(100 * (row["highest"] - loss) / (1 + loss), rel=1e-4)
    assert values["parameters"] == sum(parameter.numel() for parameter in looked.model.parameters())


def test_a_slice_of_a_quadratic_is_a_parabola() -> None:
    random = torch.Generator().manual_seed(0)
    moved = [torch.randn(3, 2, generator=random, dtype=torch.float64)]
    curvature = [torch.rand(3, 2, generator=random, dtype=torch.float64)]
    directions = [[torch.randn(3, 2, generator=random, dtype=torch.float64)] for _ in range(2)]
    places, before = [-1.0, 0.0, 0.5], moved[0].clone()
    loss = quadratic(moved, curvature)

    def at(a: float, b: float) -> float:
        w = before + a * directions[0][0] + b * directions[1][0]
        return float((curvature[0] * (w - 1) ** 2).sum() / 2)

    assert along(loss, moved, directions[:1], places) == pytest.approx([at(a, 0.0) for a in places])
    found = along(loss, moved, directions, places)
    assert np.allclose(found, [[at(a, b) for b in places] for a in places])
    assert torch.equal(moved[0], before)


def test_directions_have_the_norms_of_the_filters() -> None:
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(5, 4))
    with torch.no_grad():
        net[0].weight[2] = 0.0  # a dead filter stays dead
    moved = weights(net)
    direction = filter_normalised(moved, torch.Generator().manual_seed(1))
    for weight, drawn in zip(moved, direction, strict=True):
        if weight.dim() < 2:
            assert not drawn.any()
        else:
            assert torch.allclose(drawn.flatten(1).norm(dim=1), weight.flatten(1).norm(dim=1), atol=1e-6)
    other = filter_normalised(moved, torch.Generator().manual_seed(2))
    assert not torch.equal(direction[0], other[0])


def test_scaled_filters_have_the_same_slice(subject: Callable[..., Subject]) -> None:
    """ReLU(c x) / c = ReLU(x): what filter normalisation is for."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 12, bias=False), nn.ReLU(), nn.Linear(12, 10, bias=False))
    scaled = nn.Sequential(nn.Flatten(), nn.Linear(64, 12, bias=False), nn.ReLU(), nn.Linear(12, 10, bias=False))
    with torch.no_grad():
        scaled[1].weight.copy_(8 * plain[1].weight)
        scaled[3].weight.copy_(plain[3].weight / 8)
    found = [loss_slice(subject(model), points=5, span=0.5).values["losses"] for model in (plain, scaled)]
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    assert found[0][2] == pytest.approx(loss_slice(subject(plain), points=5, dimensions=2).values["losses"][2][2])


def test_a_loss_beyond_all_numbers_counts_as_the_highest(subject: Callable[..., Subject]) -> None:
    torch.manual_seed(0)
    steep = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
    with torch.no_grad():
        steep[1].weight.mul_(1e14)
        steep[3].weight.mul_(1e14)
    values = loss_slice(subject(steep), points=3, span=100.0).values
    assert max(values["losses"]) == HIGHEST
    with torch.no_grad():
        steep[3].weight[0, 0] = torch.nan
    with pytest.raises(DanluError, match="have diverged"):
        loss_slice(subject(steep))


def test_the_loss_is_that_of_all_images_and_its_gradient_too(
    net: Callable[..., nn.Module], subject: Callable[..., Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = subject(net(), images=25)
    monkeypatch.setattr("danlu.views._landscape.BATCH", 10)  # the last part is smaller
    whole = F.cross_entropy(looked.model(looked.x), looked.labels)
    wanted = torch.autograd.grad(whole, list(looked.model.parameters()))
    moved = weights(looked.model)
    with movable(moved):
        for _ in range(2):  # gradients do not pile up
            assert mean_loss(looked)(True) == pytest.approx(float(whole.detach()), rel=1e-5)
        for one, gradient in zip(moved, wanted, strict=True):
            assert torch.allclose(one.grad, gradient, atol=1e-6)
