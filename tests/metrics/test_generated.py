"""Scores and distances of generated images against closed forms, pairs one by one, and torchmetrics."""

import importlib
import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.image.kid import poly_mmd

from danlu.errors import UsageError
from danlu.metrics import frechet, inception_score, kernel_mmd, mode_score, sliced_wasserstein, wasserstein

FLOATS = st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=9)


def clouds(n: int = 60, m: int = 45, width: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    mix = torch.randn(width, width, generator=draws, dtype=torch.float64)
    x = torch.randn(n, width, generator=draws, dtype=torch.float64) @ mix
    return x, 0.5 * torch.randn(m, width, generator=draws, dtype=torch.float64) + 1


def shares(n: int = 30, classes: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).softmax(1)


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a)


def test_inception_score() -> None:
    rows = shares()
    marginal = rows.mean(0).tolist()
    expected = math.exp(sum(kl(row, marginal) for row in rows.tolist()) / 30)
    assert inception_score(rows) == pytest.approx(expected)
    assert inception_score(torch.eye(5)) == pytest.approx(5.0)  # sure, and every class
    assert inception_score(torch.eye(5)[[2, 2, 2]]) == pytest.approx(1.0)  # one class only
    assert inception_score(torch.full((4, 5), 0.2)) == pytest.approx(1.0)  # never sure


def test_mode_score() -> None:
    rows, real = shares(), shares(20, seed=1)
    made, wanted = rows.mean(0).tolist(), real.mean(0).tolist()
    expected = math.exp(sum(kl(row, made) for row in rows.tolist()) / 30 - kl(made, wanted))
    assert mode_score(rows, real) == pytest.approx(expected)
    # As Che et al. print it, it is the inception score again.
    printed = math.exp(sum(kl(row, wanted) for row in rows.tolist()) / 30 - kl(made, wanted))
    assert printed == pytest.approx(inception_score(rows))
    assert mode_score(torch.eye(4), torch.eye(4)) == pytest.approx(4.0)
    assert mode_score(torch.eye(4)[:3], torch.eye(4)) == pytest.approx(3 * math.exp(-math.log(4 / 3)))  # one class is missing
    assert mode_score(torch.eye(4), torch.eye(4)[:3]) == 0.0  # one class is not real


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("kernel", ["gaussian", "polynomial"])
def test_kernel_mmd_pair_by_pair(kernel: str, unbiased: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = clouds(12, 9)

    def k(a: torch.Tensor, b: torch.Tensor) -> float:
        return float(torch.exp(-(a - b).square().sum() / (2 * 1.7**2)) if kernel == "gaussian" else (a @ b / 4 + 1) ** 3)

    def mean(one: torch.Tensor, other: torch.Tensor, skip: bool) -> float:
        values = [k(a, b) for i, a in enumerate(one) for j, b in enumerate(other) if not (skip and i == j)]
        return sum(values) / len(values)

    expected = mean(x, x, unbiased) + mean(y, y, unbiased) - 2 * mean(x, y, False)
    for rows in (1024, 5):  # in one part, and in several
        monkeypatch.setattr(importlib.import_module("danlu.metrics.kernel_mmd"), "ROWS", rows)
        assert kernel_mmd(x, y, kernel=kernel, bandwidth=1.7, unbiased=unbiased) == pytest.approx(expected, abs=1e-9)


def test_kernel_inception_distance_of_torchmetrics() -> None:
    x, y = clouds(50, 50)
    assert kernel_mmd(x, y, kernel="polynomial", unbiased=True) == pytest.approx(float(poly_mmd(x, y)))


def test_bandwidth_is_the_mean_squared_distance() -> None:
    x, y = clouds(8, 6)
    pooled = torch.cat([x, y])
    pairs = [float((a - b).square().sum()) for i, a in enumerate(pooled) for b in pooled[:i]]
    width = math.sqrt(sum(pairs) / len(pairs))
    assert kernel_mmd(x, y) == pytest.approx(kernel_mmd(x, y, bandwidth=width))


def test_unbiased_mmd_is_unbiased() -> None:
    """Over many draws of one distribution its mean is 0; the biased one is not."""
    draws = torch.Generator().manual_seed(0)
    pairs = [torch.randn(2, 10, 2, generator=draws).unbind() for _ in range(300)]
    values = torch.tensor([kernel_mmd(x, y, bandwidth=1.0, unbiased=True) for x, y in pairs])
    assert abs(float(values.mean())) < 3 * float(values.std()) / math.sqrt(300)
    assert min(kernel_mmd(x, y, bandwidth=1.0) for x, y in pairs[:30]) > 0


@given(FLOATS, FLOATS)
def test_wasserstein_is_the_area_between_the_distributions(x: list[float], y: list[float]) -> None:
    """p = 1: the integral of |F - G| over the line."""
    points = sorted(x + y)
    area = sum(
        (b - a) * abs(sum(v <= a for v in x) / len(x) - sum(v <= a for v in y) / len(y)) for a, b in itertools.pairwise(points)
    )
    assert wasserstein(x, y) == pytest.approx(area, abs=1e-6)


@given(FLOATS, FLOATS, st.sampled_from([1.0, 2.0, 3.5]))
def test_wasserstein_of_repeated_samples(x: list[float], y: list[float], p: float) -> None:
    """Samples of one size are paired in order; those of two are, each repeated as often as the other has samples."""
    ours, theirs = sorted(x * len(y)), sorted(y * len(x))
    mean = sum(abs(a - b) ** p for a, b in zip(ours, theirs, strict=True)) / len(ours)
    assert wasserstein(x, y, p=p) == pytest.approx(mean ** (1 / p), abs=1e-6)


def test_wasserstein_of_a_shift_and_of_gaussians() -> None:
    x = torch.randn(50, generator=torch.Generator().manual_seed(0))
    for p in (1.0, 2.0):
        assert wasserstein(x + 3, x, p=p) == pytest.approx(3.0, rel=1e-6)
    # Quantiles of N(0, 1) and N(1, 2^2): W_2 = sqrt(1 + 1).
    quantiles = torch.special.ndtri((torch.arange(20000).double() + 0.5) / 20000)
    assert wasserstein(quantiles, 1 + 2 * quantiles, p=2.0) == pytest.approx(math.sqrt(2), rel=1e-3)


def test_sliced_wasserstein() -> None:
    x, y = clouds()
    draws = torch.Generator().manual_seed(7)
    directions = torch.randn(4, 16, generator=draws, dtype=torch.float64)
    each = [wasserstein(x @ v / v.norm(), y @ v / v.norm(), p=2.0) ** 2 for v in directions.T]
    assert sliced_wasserstein(x, y, projections=16, seed=7) == pytest.approx(math.sqrt(sum(each) / 16))
    # A shift by v is seen as |v . u|, whose mean square over directions u of D dimensions is |v|^2 / D.
    shift = torch.tensor([2.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    assert sliced_wasserstein(x + shift, x, projections=4096) == pytest.approx(1.0, rel=0.05)
    one = sliced_wasserstein(x[:, :1], y[:, :1], projections=3)
    assert one == pytest.approx(wasserstein(x[:, 0], y[:, 0], p=2.0))


def test_frechet_of_known_gaussians() -> None:
    """Commuting covariances: |m|^2 + sum (s_1 - s_2)^2 over the axes."""
    corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    scale = math.sqrt(4 / 3)  # the unbiased variance of +-1 twice each
    x, y = corners * torch.tensor([1.0, 3.0]), corners * torch.tensor([2.0, 5.0]) + torch.tensor([3.0, 4.0])
    assert frechet(x, y) == pytest.approx(25 + (scale * 1) ** 2 + (scale * 2) ** 2)
    assert frechet(x, x) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("n", "width"), [(60, 4), (5, 12)])  # more samples than features, and fewer
def test_frechet_against_the_eigenvalues_of_the_product(n: int, width: int) -> None:
    x, y = clouds(n, n + 3, width)
    first, second = x.T.cov(), y.T.cov()
    roots = torch.linalg.eigvals(first @ second).real.clamp(min=0).sqrt().sum()
    expected = (x.mean(0) - y.mean(0)).square().sum() + first.trace() + second.trace() - 2 * roots
    # The eigenvalues of a singular product are exact to about the root of the precision.
    assert frechet(x, y) == pytest.approx(float(expected), rel=1e-5)
    turn = torch.linalg.qr(torch.randn(width, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).Q
    assert frechet(x @ turn + 1, y @ turn + 1) == pytest.approx(frechet(x, y))


def test_refusals() -> None:
    x, y = clouds()
    with pytest.raises(UsageError, match="softmax"):
        inception_score(x)
    with pytest.raises(UsageError, match="softmax"):
        mode_score(shares(), 2 * shares())
    with pytest.raises(UsageError, match="differ in width"):
        frechet(x, y[:, :3])
    with pytest.raises(UsageError, match="2 samples"):
        frechet(x[:1], y)
    with pytest.raises(UsageError, match="2 samples"):
        kernel_mmd(x, y[:1], unbiased=True)
    with pytest.raises(UsageError, match="gaussian"):
        kernel_mmd(x, y, kernel="gausian")
    with pytest.raises(UsageError, match="above 0"):
        kernel_mmd(x, y, bandwidth=0.0)
    with pytest.raises(UsageError, match="sliced_wasserstein"):
        wasserstein(x, y)
    with pytest.raises(UsageError, match="1 <= p"):
        wasserstein(x[:, 0], y[:, 0], p=0.5)
    with pytest.raises(UsageError, match="projections"):
        sliced_wasserstein(x, y, projections=0)
