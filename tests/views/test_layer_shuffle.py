"""Blocks in other orders: the net written in that order, Kendall's tau by hand, and what is put back behind it."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from danlu.errors import UsageError
from danlu.views import Subject
from danlu.views.layer_shuffle import kendall, layer_shuffle, reordered, stages
from danlu.zoo import create


def test_a_reordered_net_is_the_net_written_in_that_order(
    net: Callable[..., nn.Sequential], subject: Callable[..., Subject]
) -> None:
    looked = subject(net(blocks=3))
    model, x = looked.model, looked.x
    found = stages(model)
    assert found == [("2", ["0", "1", "2"])]
    whole = looked.logits(x)
    for order in ([1, 0, 2], [2, 0, 1]):
        written = nn.Sequential(*model[:2], *(model[2][i] for i in order), *model[3:])
        with reordered(model, found, [order]):
            assert torch.allclose(looked.logits(x), looked.logits(x, written), atol=1e-6)
    assert torch.equal(looked.logits(x), whole)


def test_equal_blocks_may_trade_places(net: Callable[..., nn.Sequential], subject: Callable[..., Subject]) -> None:
    model = net(blocks=4)
    for block in model[2][1:]:
        block.load_state_dict(model[2][0].state_dict())
    looked = subject(model)
    looked.labels[:] = looked.logits(looked.x).argmax(1)
    values = layer_shuffle(looked, swaps=4, draws=3).values
    assert values["accuracy"] == 1.0
    assert {row["accuracy"] for row in values["orders"]} == {1.0}
    assert (values["blocks"], len(values["orders"])) == (4, 12)
    assert min(row["tau"] for row in values["orders"]) < 1.0
    first = [row for row in values["orders"] if row["swaps"] == 1]
    assert {round(row["tau"], 6) for row in first} <= {
        round(1 - 2 * k / 6, 6) for k in (1, 3, 5)
    }  # neighbours, one or two between


def test_kendall() -> None:
    assert kendall([[0, 1, 2], [0, 1]]) == 1.0
    assert kendall([[4, 3, 2, 1, 0]]) == -1.0
    assert kendall([[1, 0, 2, 3]]) == pytest.approx(1 - 4 / (4 * 3))
    assert kendall([[1, 0], [1, 0]]) == pytest.approx((4 - 2) / 6)  # blocks of different stages stay in order


def test_only_blocks_of_one_stage_that_keep_the_shape(subject: Callable[..., Subject]) -> None:
    model = create("resnet20(width=0.25)", num_classes=10, in_channels=1, seed=0)
    assert stages(model) == [("layer1", ["0", "1", "2"]), ("layer2", ["1", "2"]), ("layer3", ["1", "2"])]
    with pytest.raises(UsageError, match="no two residual blocks"):
        layer_shuffle(subject(create("resnet8(width=0.25)", num_classes=10, in_channels=1, seed=0)))
