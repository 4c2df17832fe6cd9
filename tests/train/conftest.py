"""A small real data set, small nets, and one thread, so that results do not depend on the machine."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from danlu.data import Source, load_data
from danlu.train import TrainConfig


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def digits() -> Source:
    return load_data("digits")


@pytest.fixture(scope="session")
def few(digits: Source) -> Source:
    """160 training images, and so few for validation that it may follow every epoch."""
    return replace(digits.subset(160), val=digits.val.only(np.arange(0, len(digits.val), 7)))


def small_net(seed: int = 0, dropout: float = 0.0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Flatten(), nn.Dropout(dropout), nn.Linear(16 * 16, 10),
        )  # fmt: skip


@pytest.fixture
def net() -> Callable[..., nn.Sequential]:
    return small_net


@pytest.fixture
def config() -> Callable[..., TrainConfig]:
    """Settings that need no timing to be the same on every machine."""

    def make(**settings: Any) -> TrainConfig:
        return TrainConfig(**{"precision": "fp32", "memory_format": "channels_last", "batch_size": 32, **settings})

    return make
