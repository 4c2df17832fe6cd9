"""What the zoo's tests share: the reference folder, an independent counter, and a small build of every entry."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from danlu.registry import Entry

Counter = Callable[[nn.Module, tuple[int, int, int]], tuple[int, int]]


@pytest.fixture(scope="session")
def reference() -> Path:
    folder = Path(__file__).parents[3] / "shared" / "reference"
    if not folder.is_dir():
        pytest.skip("the reference folder is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def count() -> Counter:
    """(parameters, MACs) of a net built on the meta device, by torch's own counter: nothing of danlu's profiler."""

    def counted(net: nn.Module, shape: tuple[int, int, int]) -> tuple[int, int]:
        with FlopCounterMode(display=False) as flops, torch.no_grad():
            net.eval()(torch.empty(1, *shape, device="meta"))
        return sum(p.numel() for p in net.parameters()), flops.get_total_flops() // 2

    return counted


@pytest.fixture(scope="session")
def small() -> Callable[..., tuple[nn.Module, tuple[int, int, int]]]:
    """A narrow build of an entry with 2 channels and 7 classes, and the shape of its smallest input."""

    def built(entry: Entry[Any], **options: Any) -> tuple[nn.Module, tuple[int, int, int]]:
        _, height, width = entry.facts["smallest"]
        if "size" in entry.options():
            options["size"] = height
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = entry.build(**{"in_channels": 2, "num_classes": 7, "width": 0.25, **options})
        return net, (2, height, width)

    return built
