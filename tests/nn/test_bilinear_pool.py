"""Bilinear pooling: sums by loops; its sketch against the FFTs of the paper, and on average."""

import itertools

import pytest
import torch
from torch import Tensor, fx, nn

from danlu.errors import UsageError
from danlu.nn import BilinearPool, CompactBilinearPool


def test_all_products_by_loops() -> None:
    x = torch.randn(2, 3, 4, 5)
    y = BilinearPool()(x)
    assert y.shape == (2, 9)
    for b, i, j in itertools.product(range(2), range(3), range(3)):
        total = sum(x[b, i, row, column] * x[b, j, row, column] for row in range(4) for column in range(5))
        torch.testing.assert_close(y[b, 3 * i + j], total / 20)


def test_the_order_of_the_pixels_does_not_matter() -> None:
    x = torch.randn(2, 6, 3, 4)
    shuffled = x.flatten(2)[:, :, torch.randperm(12)].view(2, 6, 3, 4)
    for pool in (BilinearPool(), CompactBilinearPool(6, 32)):
        torch.testing.assert_close(pool(x), pool(shuffled))


def by_fft(pool: CompactBilinearPool, x: Tensor) -> Tensor:
    """Algorithm 2 of Gao et al.: two count sketches of each pixel, convolved around a circle, added up."""
    pixels = x.flatten(2).transpose(1, 2)
    spectra = []
    for place, sign in zip(pool.places, pool.signs, strict=True):
        sketch = torch.zeros(*pixels.shape[:2], pool.dim, dtype=x.dtype)
        for channel in range(pool.channels):
            sketch[..., place[channel]] += sign[channel] * pixels[..., channel]
        spectra.append(torch.fft.fft(sketch))
    return torch.fft.ifft(spectra[0] * spectra[1]).real.mean(1)


@pytest.mark.parametrize(("channels", "dim"), [(1, 1), (5, 3), (8, 16), (6, 100)])
def test_the_sketch_is_the_one_by_fft(channels: int, dim: int) -> None:
    torch.manual_seed(0)
    pool = CompactBilinearPool(channels, dim)
    x = torch.randn(3, channels, 2, 4)
    assert pool(x).shape == (3, dim)
    torch.testing.assert_close(pool(x), by_fft(pool, x), rtol=1e-4, atol=1e-5)


def test_sketches_keep_inner_products_on_average() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(2, 1, 8, 3, 3, dtype=torch.float64)
    exact = (BilinearPool()(x) * BilinearPool()(y)).sum()
    sketched = []
    for _ in range(500):
        pool = CompactBilinearPool(8, 64).double()
        sketched.append((pool(x) * pool(y)).sum())
    values = torch.stack(sketched)
    error = values.std() / len(values) ** 0.5
    assert abs(values.mean() - exact) < 3 * error
    assert error < 0.2 * exact.abs(), "the test must be able to tell"


def test_gradients() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(BilinearPool(), (x,))
    assert torch.autograd.gradcheck(CompactBilinearPool(3, 5).double(), (x,))


def test_its_draws_follow_the_seed_and_are_saved() -> None:
    def drawn(seed: int) -> dict[str, Tensor]:
        torch.manual_seed(seed)
        return CompactBilinearPool(64, 1000).state_dict()

    first, again, other = drawn(0), drawn(0), drawn(1)
    assert set(first) == {"places", "signs"}
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["places"], other["places"])
    assert first["signs"].unique().tolist() == [-1, 1]
    assert 0 <= first["places"].min() <= first["places"].max() < 1000


def test_they_trace_and_refuse() -> None:
    x = torch.randn(2, 4, 3, 3)
    for pool in (BilinearPool(), CompactBilinearPool(4, 8)):
        torch.testing.assert_close(fx.symbolic_trace(nn.Sequential(pool))(x), pool(x))
    for channels, dim in ((0, 8), (8, 0)):
        with pytest.raises(UsageError, match="at least 1"):
            CompactBilinearPool(channels, dim)
