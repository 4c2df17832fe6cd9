"""The general robust loss against its special cases, its formula in exact arithmetic of floats, and published constants."""

import math

import pytest
import torch
from torch import Tensor

from danlu.errors import UsageError
from danlu.losses import AdaptiveRobust, losses
from danlu.losses.robust import general, log_partition
from danlu.spec import read

X = torch.tensor([-50.0, -3, -0.5, 0, 1e-4, 0.2, 1, 4, 1e3], dtype=torch.float64)


def rho(x: Tensor, alpha: float, scale: float = 1.0) -> Tensor:
    return general(x, torch.tensor(alpha, dtype=torch.float64), torch.tensor(scale, dtype=torch.float64))


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_its_members_are_the_known_losses(scale: float) -> None:
    s = (X / scale).square()
    members = {2.0: s / 2, 1.0: (s + 1).sqrt() - 1, 0.0: torch.log1p(s / 2), -2.0: 2 * s / (s + 4), -1e9: -torch.expm1(-s / 2)}
    for alpha, expected in members.items():
        assert torch.allclose(rho(X, alpha, scale), expected, rtol=1e-7, atol=1e-15), alpha
        text = f"robust(alpha={alpha}, scale={scale})"
        assert float(read(losses, text)(X, torch.zeros_like(X))) == pytest.approx(float(expected.mean()), rel=1e-7)


@pytest.mark.parametrize("alpha", [-8.0, -0.5, 0.3, 1.5, 1.9, 2.5, 4.0])
def test_the_formula_where_it_has_no_hole(alpha: float) -> None:
    b = abs(alpha - 2)
    for x, found in zip(X.tolist(), rho(X, alpha).tolist(), strict=True):
        assert found == pytest.approx(b / alpha * ((x * x / b + 1) ** (alpha / 2) - 1), rel=1e-7, abs=1e-15)


@pytest.mark.parametrize("hole", [0.0, 2.0])
def test_it_is_continuous_through_its_holes_with_its_slopes(hole: float) -> None:
    for step in (1e-12, 1e-9, 1e-6):
        for alpha in (hole - step, hole + step):
            assert torch.allclose(rho(X[1:-1], alpha), rho(X[1:-1], hole), rtol=30 * step + 1e-9)
    alpha = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    general(X[1], alpha, torch.ones((), dtype=torch.float64)).backward()
    numeric = (rho(X[1], 1e-4) - rho(X[1], -1e-4)) / 2e-4
    assert float(alpha.grad) == pytest.approx(float(numeric), rel=1e-6)  # type: ignore[arg-type]


def test_in_single_precision_it_is_the_same() -> None:
    for alpha in (-2.0, 0.0, 1e-6, 0.5, 1.0, 1.99999, 2.0):
        single = general(X.float(), torch.tensor(alpha), torch.tensor(1.0))
        assert torch.allclose(single.double(), rho(X, float(torch.tensor(alpha))), rtol=1e-4)


def test_the_smaller_alpha_the_less_an_outlier_pulls() -> None:
    x = torch.tensor(20.0, dtype=torch.float64, requires_grad=True)
    slopes = []
    for alpha in (2.0, 1.5, 1.0, 0.0, -2.0, -1e9):
        (slope,) = torch.autograd.grad(general(x, x.new_tensor(alpha), x.new_tensor(1.0)), x)
        slopes.append(float(slope))
    assert slopes == sorted(slopes, reverse=True)
    assert slopes[0] == pytest.approx(20)
    assert slopes[-1] < 1e-12


def test_gradients_for_all_three() -> None:
    x = X[:-1].clone().requires_grad_(True)
    scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    for value in (-3.0, 0.4, 1.0, 1.7):
        alpha = torch.tensor(value, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(general, (x, alpha, scale))
        if value > 0:
            assert torch.autograd.gradcheck(log_partition, (alpha,))


def test_the_partition_function_has_its_published_values() -> None:
    """Barron 2017: Z(0) = pi sqrt(2), Z(2) = sqrt(2 pi); Z(1) = 2 e K_1(1)."""
    bessel = float(torch.special.modified_bessel_k1(torch.tensor(1.0, dtype=torch.float64)))
    found = log_partition(torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)).exp()
    expected = [math.pi * math.sqrt(2), 2 * math.e * bessel, math.sqrt(2 * math.pi)]
    assert found.tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("alpha", [0.5, 1.3, 1.999])
def test_the_partition_function_is_the_integral(alpha: float) -> None:
    # By substitution x = u / (1 - u)^3 and a fine midpoint rule: another way to reach the tails.
    u = (torch.arange(400_000, dtype=torch.float64) + 0.5) / 400_000
    x, dx = u / (1 - u) ** 3, (1 + 2 * u) / (1 - u) ** 4
    integral = 2 * float(((-rho(x, alpha)).exp() * dx).mean())
    assert float(log_partition(torch.tensor(alpha, dtype=torch.float64)).exp()) == pytest.approx(integral, rel=1e-7)


def test_the_adaptive_form_is_a_likelihood_that_finds_shape_and_scale() -> None:
    loss = AdaptiveRobust(1)
    assert loss.alpha().tolist() == loss.scale().tolist() == pytest.approx([1.0])
    zero = torch.zeros(1, 1)
    bessel = float(torch.special.modified_bessel_k1(torch.tensor(1.0)))
    assert float(loss(zero, zero).detach()) == pytest.approx(math.log(2 * math.e * bessel), rel=1e-5)
    # exp(-loss) is a density: it integrates to 1.
    with torch.no_grad():
        densities = torch.stack([(-loss(x.view(1, 1), zero)).exp() for x in torch.linspace(-20, 20, 401)])
    assert float(densities.sum() * 0.1) == pytest.approx(1, rel=1e-4)
    # Residuals of a normal distribution of standard deviation 3 have alpha 2, scale 3; Cauchy's have alpha 0.
    grid = (torch.arange(500) + 0.5) / 500
    normal = 3 * math.sqrt(2) * torch.erfinv(2 * grid - 1)
    cauchy = torch.tan(math.pi * (grid - 0.5)) * math.sqrt(2)  # rho at alpha = 0 and c = 1 is Cauchy's of scale sqrt 2
    loss = AdaptiveRobust(2)
    optimizer = torch.optim.Adam(loss.parameters(), lr=1.0)
    residuals = torch.stack([normal, cauchy], 1)
    for _ in range(100):
        optimizer.zero_grad()
        loss(residuals, torch.zeros_like(residuals)).backward()
        optimizer.step()
    assert loss.alpha().tolist() == pytest.approx([2.0, 0.0], abs=0.1)
    assert loss.scale().tolist() == pytest.approx([3.0, 1.0], rel=0.1)


def test_robust_refuses_what_cannot_be() -> None:
    with pytest.raises(UsageError, match="scale must be above 0"):
        read(losses, "robust(scale=0)")(X, X)
    with pytest.raises(UsageError, match="low < high"):
        AdaptiveRobust(3, low=1, high=1)
    with pytest.raises(UsageError, match="made for 3 outputs"):
        AdaptiveRobust(3)(torch.zeros(2, 4), torch.zeros(2, 4))
    with pytest.raises(UsageError, match="one shape"):
        AdaptiveRobust(3)(torch.zeros(2, 3), torch.zeros(3))
    assert "3, low=0.001" in repr(AdaptiveRobust(3))
