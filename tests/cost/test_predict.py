"""Predictions against what the change really does, counted after making it."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from danlu.cost import Profile, profile
from danlu.cost.predict import (
    Flow,
    best_rate,
    channels_to_reach,
    compare,
    fold_bn,
    foldable,
    relax_strides,
    scale_channels,
    scale_input,
)
from danlu.edits import edit
from danlu.zoo import create


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.deep = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.point = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.point(torch.relu(self.norm(self.deep(x))))


def net(width: int = 32, stride: tuple[int, int, int] = (2, 2, 2), pool: bool = True) -> nn.Sequential:
    """A stem, grouped and residual layers at three scales, a classifier of 10."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3, stride[0], 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        Block(width),
        nn.Conv2d(width, 2 * width, 3, stride[1], 1, groups=4),
        nn.SiLU(),
        nn.Conv2d(2 * width, 2 * width, 3, stride[2], 1),
        *([nn.AdaptiveAvgPool2d(1)] if pool else []),
        nn.Flatten(),
        nn.LazyLinear(10) if not pool else nn.Linear(2 * width, 10),
    )


def change(new: Profile, old: Profile) -> tuple[float, float, float]:
    result = compare(new, old)
    return result.macs, result.params, result.peak


def predicted(item) -> tuple[float, float, float]:
    return item.macs, item.params, item.peak


@pytest.mark.parametrize("keep", [0.5, 0.25, 0.75])
def test_width_is_predicted_exactly_when_channels_do_not_round(keep: float) -> None:
    old, new = profile(net(32), (3, 32, 32)), profile(net(round(32 * keep)), (3, 32, 32))
    assert predicted(scale_channels(Flow(old), keep)) == pytest.approx(change(new, old), rel=1e-9)


def test_channel_pruning_is_predicted_within_a_percent() -> None:
    shape = (3, 32, 32)
    model = edit(create("resnet18(width=0.25)", num_classes=10), "fit_input(size=32)").model
    pruned = edit(model, 'prune_channels(ratio=0.5, scope="layer", round_to=1)', example=torch.zeros(1, *shape)).model
    old, new = profile(model, shape), profile(pruned, shape)
    assert predicted(scale_channels(Flow(old), 0.5)) == pytest.approx(change(new, old), rel=0.01)


@pytest.mark.parametrize("size", [(32, 32), (48, 80), (128, 96)])
def test_input_size_is_predicted_exactly_when_maps_divide(size: tuple[int, int]) -> None:
    model = net()
    old, new = profile(model, (3, 64, 64)), profile(model, (3, *size))
    assert predicted(scale_input(Flow(old), size)) == pytest.approx(change(new, old), rel=1e-9)


def test_input_size_of_an_unpadded_and_flattened_net() -> None:
    old = profile(create("lenet5", num_classes=10, in_channels=1), (1, 32, 32))
    fitted = edit(create("lenet5", num_classes=10, in_channels=1), "fit_input(size=28)").model
    new = profile(fitted, (1, 28, 28))
    assert predicted(scale_input(Flow(old), (28, 28))) == pytest.approx(change(new, old), rel=1e-9)


def test_early_strides_are_predicted() -> None:
    old = profile(net(), (3, 32, 32))
    for factor, stride in ((2, (1, 2, 2)), (4, (1, 1, 2)), (8, (1, 1, 1))):
        new = profile(net(stride=stride), (3, 32, 32))
        assert predicted(relax_strides(Flow(old), factor)) == pytest.approx(change(new, old), rel=1e-9)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v1", "vgg16_bn"])
def test_fit_input_is_predicted(name: str) -> None:
    """A last map of 1 becomes 4; within 1 %, since a pool that loses its stride becomes the identity."""
    shape = (3, 32, 32)
    with torch.device("meta"):
        old = profile(create(name), shape)
        fitted = profile(edit(create(name), "fit_input(size=32)").model, shape)
    assert predicted(relax_strides(Flow(old), 4)) == pytest.approx(change(fitted, old), rel=0.01)


def test_folding_is_predicted_exactly() -> None:
    model = net().eval()
    old = profile(model, (3, 32, 32))
    pairs = foldable(Flow(old))
    assert [(old.rows[a].name, old.rows[b].name) for a, b in pairs] == [("0", "1"), ("3.deep", "3.norm")]
    folded = copy.deepcopy(model)
    folded[0], folded[1] = fuse_conv_bn_eval(folded[0], folded[1]), nn.Identity()
    folded[3].deep, folded[3].norm = fuse_conv_bn_eval(folded[3].deep, folded[3].norm), nn.Identity()
    new = profile(folded, (3, 32, 32))
    assert fold_bn(Flow(old), pairs).params == pytest.approx(new.params / old.params, rel=1e-12)
    assert new.macs == old.macs


def test_a_norm_is_foldable_only_as_the_one_reader_of_a_layer() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.n = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            return self.n(self.b(torch.relu(y))) + self.n(torch.relu(y)) + self.n(y)

    result = profile(Net(), (3, 4, 4))
    pairs = foldable(Flow(result))
    assert [(result.rows[a].name, result.rows[b].name) for a, b in pairs] == [("b", "n")]


def test_flow_knows_the_ends_and_the_last_map() -> None:
    flow = Flow(profile(net(), (3, 64, 32)))
    names = [row.name for row in flow.rows]
    weighted = [i for i, row in enumerate(flow.rows) if row.macs]
    assert [names[i] for i in weighted if flow.first[i]] == ["0"]
    assert [names[i] for i in weighted if flow.last[i]] == ["9"]
    assert flow.last_map == (8, 4)
    assert flow.classifies
    assert not flow.flattened
    flat = net(pool=False)
    flat(torch.zeros(1, 3, 64, 32))
    reader, maker = next(iter(Flow(profile(flat, (3, 64, 32))).flattened.items()))
    assert maker < reader


def test_a_net_that_ends_in_maps_does_not_classify() -> None:
    flow = Flow(profile(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 1)), (3, 64, 64)))
    assert not flow.classifies


def test_the_width_that_reaches_a_target_is_the_largest() -> None:
    flow = Flow(profile(net(64), (3, 32, 32)))
    keep = channels_to_reach(flow, lambda item: item.params, 0.3)
    assert keep is not None
    assert scale_channels(flow, keep).params <= 0.3 < scale_channels(flow, keep + 0.01).params
    assert channels_to_reach(flow, lambda item: item.params, 1e-9) is None


def test_best_rate_is_the_fastest_elementwise_work() -> None:
    result = profile(nn.Sequential(nn.ReLU(), nn.Tanh(), nn.Conv2d(3, 3, 1)), (3, 64, 64), time=True, repeats=3)
    rate = best_rate(result)
    assert rate == min(row.median_ms / row.bytes for row in result.rows[:2])
    assert best_rate(profile(nn.ReLU(), (4,))) is None
