"""cbam: where it goes, that open gates change nothing, what nets without norms get."""

import pytest
import torch
from torch import nn

from danlu.edits import edit
from danlu.edits.cbam import cbam
from danlu.edits.se import se
from danlu.errors import UsageError
from danlu.nn import CBAM
from danlu.zoo import create


def blocks(model: nn.Module) -> list[CBAM]:
    return [layer for layer in model.modules() if isinstance(layer, CBAM)]


@pytest.mark.parametrize("name", ["resnet20", "googlenet(width=0.25)", "mobilenet_v1(width=0.25)"])
def test_it_goes_where_se_goes(name: str) -> None:
    with torch.device("meta"):
        net = create(name, num_classes=10)
    places = [change.name for change in se(net).changed]
    assert places
    assert [change.name for change in cbam(net).changed] == places


def test_open_gates_change_nothing() -> None:
    net = create("resnet20(width=0.5)", num_classes=10, seed=0).eval()
    model = edit(net, "cbam(kernel=3)").model
    with torch.no_grad():
        for block in blocks(model):
            block.channel.excite.weight.zero_()
            block.channel.excite.bias.fill_(1e4)
            block.spatial.norm.weight.zero_()
            block.spatial.norm.bias.fill_(1e4)
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(model(x), net(x))


def test_options_reach_every_block() -> None:
    for block in blocks(cbam(create("resnet20"), reduction=2, kernel=5).model):
        assert (block.channel.squeeze.out_features, block.spatial.conv.kernel_size) == (block.channels // 2, (5, 5))


def test_a_net_without_norms_gets_none_and_keeps_its_scale() -> None:
    net = create("allconv6(width=0.25) | fit_input(size=32)", num_classes=10, seed=0).eval()
    torch.manual_seed(0)
    model = cbam(net).model
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())
    x = torch.randn(4, 3, 32, 32)
    assert 0.5 < model(x).std() / net(x).std() < 1.5, "four blocks of half-open gates would leave 1/256"


def test_it_is_put_in_once() -> None:
    with torch.device("meta"):
        outcome = cbam(create("cbam_resnet18", num_classes=10))
    assert not outcome.changed
    assert {reason for _, reason in outcome.kept} == {"it has a CBAM already"}


def test_usage() -> None:
    with pytest.raises(UsageError, match="kernel is the side of the filter"):
        cbam(nn.Sequential(), kernel=4)
    with pytest.raises(UsageError, match="reduction is a whole number"):
        cbam(nn.Sequential(), reduction=0)
