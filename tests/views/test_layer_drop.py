"""Blocks left out: one that does nothing, those of a net written without them, and what is put back behind it."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from danlu.errors import UsageError
from danlu.views import Subject
from danlu.views.layer_drop import blocks, layer_drop, without
from danlu.zoo import create


def test_an_identity_block_is_not_missed_and_others_are(
    net: Callable[..., nn.Sequential], subject: Callable[..., Subject]
) -> None:
    model = net(blocks=3)
    nn.init.zeros_(model[2][1].last.weight)
    nn.init.zeros_(model[2][1].last.bias)
    looked = subject(model)
    looked.labels[:] = looked.logits(looked.x).argmax(1)
    values = layer_drop(looked, draws=3).values
    assert values["accuracy"] == 1.0
    assert [row["block"] for row in values["blocks"]] == ["2.0.last", "2.1.last", "2.2.last"]
    assert values["blocks"][1]["accuracy"] == 1.0
    assert values["blocks"][1]["difference"][0] == 0.0
    assert min(row["accuracy"] for row in values["blocks"]) < 1.0
    assert [point["left_out"] for point in values["several"]] == [0, 1, 2, 3]
    assert values["several"][0]["accuracy"] == 1.0
    for point in values["several"]:
        assert point["lowest"] <= point["accuracy"] <= point["highest"]


def test_a_net_without_a_block_is_the_net_written_without_it(
    net: Callable[..., nn.Sequential], subject: Callable[..., Subject]
) -> None:
    looked = subject(net(blocks=3))
    model, x = looked.model, looked.x
    found = blocks(model)
    whole = looked.logits(x)
    for chosen in ([0], [1], [0, 2], [0, 1, 2]):
        written = nn.Sequential(*model[:2], *(block for i, block in enumerate(model[2]) if i not in chosen), *model[3:])
        with without(model, [found[i] for i in chosen]):
            assert torch.allclose(looked.logits(x), looked.logits(x, written), atol=1e-6)
    assert torch.equal(looked.logits(x), whole)


def test_a_block_that_changes_the_map_keeps_its_shortcut(subject: Callable[..., Subject]) -> None:
    looked = subject(create("resnet20(width=0.25)", num_classes=10, in_channels=1, seed=0))
    found = blocks(looked.model)
    assert len(found) == 9
    assert all(block.residual for block in found)
    block = looked.model.get_submodule("layer2.0")
    x = torch.randn(2, block.conv1.in_channels, 8, 8).relu()
    with torch.no_grad(), without(looked.model, [next(b for b in found if b.name.startswith("layer2.0"))]):
        assert torch.allclose(block(x), block.downsample(x).relu())


def test_steps_of_a_plain_net_become_the_identity(subject: Callable[..., Subject]) -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU()]
    for _ in range(2):
        layers += [nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)]
    looked = subject(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)))
    model, x = looked.model, looked.x
    found = blocks(model)
    assert [(block.name, block.last, block.residual) for block in found] == [("2", "4", False), ("5", "7", False)]
    with without(model, found[:1]):
        assert torch.allclose(looked.logits(x), looked.logits(x, nn.Sequential(*model[:2], *model[5:])), atol=1e-6)
    with without(model, found):
        assert torch.allclose(looked.logits(x), looked.logits(x, nn.Sequential(*model[:2], *model[8:])), atol=1e-6)


def test_a_net_without_blocks_is_refused(subject: Callable[..., Subject]) -> None:
    with pytest.raises(UsageError, match="no residual branch"):
        layer_drop(subject(nn.Sequential(nn.Flatten(), nn.Linear(64, 10))))
