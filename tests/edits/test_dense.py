"""dense: a stage against the paper's form by hand, widths by its counting, and what stays out of a stage."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from danlu.edits import edit
from danlu.edits.dense import dense
from danlu.errors import UsageError
from danlu.nn import DenseConnection
from danlu.zoo import create


def plain(*widths: int, norm: bool = False) -> nn.Sequential:
    """A stem with the first width, a stage with the others, a pool and a classifier."""
    layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 3, padding=1), nn.MaxPool2d(2)]
    for into, out in itertools.pairwise(widths):
        layers += [nn.Conv2d(into, out, 3, padding=1), *[nn.BatchNorm2d(out)] * norm, nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 5))


def test_a_stage_by_hand() -> None:
    torch.manual_seed(0)
    net = plain(4, 6, 7, 8)
    outcome = dense(net)
    new = outcome.model
    first, second = new[2], new[3]
    assert [type(layer) for layer in (first, second)] == [DenseConnection] * 2
    x = torch.randn(2, 3, 10, 12)
    with torch.no_grad():
        maps = [new[:2](x)]
        for conv in (first[0], second[0], new[4]):
            maps.append(conv(torch.cat(maps, 1)).relu())
        torch.testing.assert_close(new(x), new[6:](maps[-1]))
    assert [first[0].in_channels, second[0].in_channels, new[4].in_channels] == [4, 4 + 6, 4 + 6 + 7]
    assert torch.equal(first[0].weight, net[2].weight), "it reads what it did, so it keeps its weights"
    assert torch.equal(new[8].weight, net[10].weight), "nothing outside the stage changes"
    grown = 9 * (7 * 4 + 8 * (4 + 6))
    assert outcome.params[1] - outcome.params[0] == grown


def test_fresh_weights_are_on_the_scale_of_the_old_ones() -> None:
    torch.manual_seed(0)
    net = plain(32, 32, 32, 32)
    for conv in (layer for layer in net if isinstance(layer, nn.Conv2d)):
        nn.init.normal_(conv.weight, std=(2 / conv.weight[0].numel()) ** 0.5)
        nn.init.zeros_(conv.bias)
    x = torch.randn(8, 3, 16, 16)
    with torch.no_grad():
        before, after = net[:8](x), dense(net).model[:6](x)
    assert after.shape == before.shape
    assert 0.5 < after.square().mean() / before.square().mean() < 2


@pytest.mark.parametrize("norm", [True, False])
def test_growth_counts_as_in_the_paper(norm: bool) -> None:
    net = plain(16, 32, 32, 32, 32, norm=norm)
    outcome = dense(net, growth=6)
    convs = [layer for layer in outcome.model.modules() if isinstance(layer, nn.Conv2d)][1:]
    assert [(conv.in_channels, conv.out_channels) for conv in convs] == [(16, 6), (22, 6), (28, 6), (34, 32)]
    norms = [layer.num_features for layer in outcome.model.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert norms == [6, 6, 6, 32] * norm
    assert outcome.params[1] < outcome.params[0]
    assert outcome.model(torch.randn(2, 3, 8, 8)).shape == (2, 5)


def test_blocks_are_connected_and_narrowed_as_a_whole() -> None:
    with torch.device("meta"):
        net = create("mobilenet_v1(width=0.25)", num_classes=10)
    outcome = dense(net, growth=8)
    stage = [layer for layer in outcome.model.features if isinstance(layer, DenseConnection)]
    # Units of stride 1 with the same map: alone, but for the five of 512 channels, of which the last gives them all.
    assert len(stage) == 4
    with torch.no_grad():
        x = torch.empty(1, 128, 14, 14, device="meta")
        assert [(x := block(x)).shape[1] for block in stage] == [136, 144, 152, 160]


def test_inception_blocks_keep_their_width() -> None:
    with torch.device("meta"):
        net = create("googlenet(width=0.25)", num_classes=10)
    outcome = dense(net, growth=4)
    block = outcome.model.get_submodule("inception4a")
    assert isinstance(block, DenseConnection)
    before = net.get_submodule("inception4a")(torch.empty(1, 120, 8, 8, device="meta")).shape[1]
    assert block(torch.empty(1, 120, 8, 8, device="meta")).shape[1] == 120 + before


class Untraced(nn.Module):
    """Its forward branches on a shape."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if x.shape[2] > 1 else self.conv(-x)


def test_reasons_to_keep() -> None:
    shared = nn.Conv2d(4, 4, 1)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.Conv2d(4, 4, 1), nn.MaxPool2d(2), shared, shared,
        Untraced(), nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5),
    )  # fmt: skip
    outcome = dense(net, skip=["9"])
    kept = dict(outcome.kept)
    assert kept["1"] == "it changes the size of its map"
    assert kept["2"] == "no other unit beside it could read, or be read by, it at this size of map"
    assert kept["4"] == "it hangs in two places"
    assert kept["6"] == "its forward cannot be traced, so it may have a shortcut"
    assert kept["9"] == "named in skip"
    # A depthwise convolution cannot read more channels and give as many, but it may be the first of a stage.
    assert [change.name for change in outcome.changed] == ["7", "8"]


@pytest.mark.parametrize("name", ["resnet20", "densenet_bc100_12", "dpn68"])
def test_nets_with_shortcuts_stay(name: str) -> None:
    with torch.device("meta"):
        outcome = dense(create(f"{name}(width=0.25)", num_classes=10))
    assert not outcome.changed
    assert "it has a shortcut already" in dict(outcome.kept).values()


def test_twice_is_once() -> None:
    once = edit(plain(4, 6, 7, 8), "dense").model
    assert not edit(once, "dense").changed


def test_usage() -> None:
    for growth in (0, -3, True):
        with pytest.raises(UsageError, match="at least 1"):
            dense(plain(4, 4, 4), growth=growth)
