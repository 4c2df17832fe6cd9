"""Mixed pooling: its two ends, the learned share in between, and the drawn one."""

import pytest
import torch
from torch import nn

from danlu.errors import UsageError
from danlu.nn import MixedPool2d


def test_the_learned_share_goes_from_the_mean_to_the_maximum() -> None:
    x = torch.randn(2, 3, 8, 8)
    largest, mean = nn.MaxPool2d(2)(x), nn.AvgPool2d(2)(x)
    pool = MixedPool2d(2)
    torch.testing.assert_close(pool(x), (largest + mean) / 2)
    for mix, expected in ((50.0, largest), (-50.0, mean), (1.0, mean + (largest - mean) / (1 + torch.tensor(-1.0).exp()))):
        with torch.no_grad():
            pool.mix.fill_(mix)
        torch.testing.assert_close(pool(x), expected)


def test_it_learns_which_one_the_data_wants() -> None:
    torch.manual_seed(0)
    pool = MixedPool2d(2)
    optimiser = torch.optim.SGD(pool.parameters(), lr=5.0)
    for _ in range(100):
        x = torch.randn(8, 2, 4, 4)
        loss = (pool(x) - nn.functional.max_pool2d(x, 2)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert pool.mix.sigmoid() > 0.9


def test_a_drawn_share_takes_one_or_the_other_for_each_image() -> None:
    torch.manual_seed(0)
    x = torch.randn(200, 3, 4, 4)
    largest, mean = nn.MaxPool2d(2)(x), nn.AvgPool2d(2)(x)
    pool = MixedPool2d(2, share="drawn")
    y = pool(x)
    is_largest = [torch.equal(a, b) for a, b in zip(y, largest, strict=True)]
    is_mean = [torch.equal(a, b) for a, b in zip(y, mean, strict=True)]
    assert all(a != b for a, b in zip(is_largest, is_mean, strict=True))
    assert 60 < sum(is_largest) < 140
    torch.testing.assert_close(pool.eval()(x), (largest + mean) / 2)
    assert not list(pool.parameters())


def test_refuses_another_share() -> None:
    with pytest.raises(UsageError, match="did you mean learned"):
        MixedPool2d(2, share="learnt")  # type: ignore[arg-type]
