"""Digits as they come, and networks so small or so simple that what a view must see can be worked out by hand."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from danlu.data import Source, load_data
from danlu.views import Subject


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def digits() -> Source:
    return load_data("digits")


class Residual(nn.Module):
    """y = x + F(x)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.act = nn.ReLU()
        self.last = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.last(self.act(self.first(x)))


def small_net(seed: int = 0, channels: int = 1, blocks: int = 2) -> nn.Sequential:
    """A stem, residual blocks and a head, at random."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(channels, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Sequential(*(Residual(4) for _ in range(blocks))),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 10),
        )  # fmt: skip


@pytest.fixture
def net() -> Callable[..., nn.Sequential]:
    return small_net


@pytest.fixture
def subject(digits: Source) -> Callable[..., Subject]:
    """A network with some test images of the digits."""
    return lambda model, images=40, seed=0: Subject.of(model, digits, images=images, seed=seed)
