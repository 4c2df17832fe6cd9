"""What the zoo's tests share: the reference folder, an independent counter, and a small build of every entry."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

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
    """(parameters, MACs) of a net built on the meta device: shapes only, nothing of danlu's own profiler."""

    def counted(net: nn.Module, shape: tuple[int, int, int]) -> tuple[int, int]:
        macs = 0

        def add(layer: Any, _: Any, output: torch.Tensor) -> None:
            nonlocal macs
            # Every output value of a layer without bias costs as many MACs as one filter has weights.
            macs += output.numel() * layer.weight[0].numel()

        for layer in net.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.register_forward_hook(add)
        net.eval()(torch.empty(1, *shape, device="meta"))
        return sum(p.numel() for p in net.parameters()), macs

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
