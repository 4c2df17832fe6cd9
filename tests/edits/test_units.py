"""The steps that edits of depth and of shortcuts work on, against nets whose steps are plain to see."""

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from danlu.edits._units import branch_ends, units
from danlu.nn import Concat
from danlu.zoo import create


def stages(model):
    """The units of each stage: how many they are, and how many of those keep the shape."""
    found = units(model)
    counts = {stage: [u for u in found if u.stage == stage] for stage in dict.fromkeys(u.stage for u in found)}
    return [(len(members), sum(u.keeps_shape for u in members)) for members in counts.values()]


def conv(into: int, out: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(into, out, 3, stride, 1), nn.BatchNorm2d(out), nn.ReLU()]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet20", [(3, 3), (3, 2), (3, 2)]),
        ("resnet50(width=0.25)", [(3, 2), (4, 3), (6, 5), (3, 2)]),
        ("vgg16_bn(width=0.25) | fit_input(size=32)", [(6, 4), (3, 2), (3, 3)]),  # its first pools are gone
        ("mobilenet_v1(width=0.25)", [(1, 0), (2, 1), (2, 1), (6, 5), (2, 1)]),
        ("allconv6(width=0.25)", [(1, 0)] * 4),  # each has stride 2
    ],
)
def test_the_stages_of_known_nets(name, expected):
    assert stages(create(name, num_classes=10)) == expected


def test_a_unit_says_what_it_does():
    first = units(create("resnet20", num_classes=10))[3]
    assert (first.parent, first.first, first.last, first.names) == ("layer2", 0, 0, ("layer2.0",))
    assert (first.in_channels, first.out_channels, first.stride) == (16, 32, 2)
    assert (first.residual, first.stage, first.keeps_shape) == (True, 2, False)


def test_runs_of_layers_pools_and_the_stem():
    net = nn.Sequential(
        *conv(3, 8), *conv(8, 8), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Dropout(),
        nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip
    found = [(u.first, u.last, u.stage, u.stride, u.keeps_shape) for u in units(net)]
    assert found == [(3, 5, 1, 1, True), (7, 8, 2, 1, False), (10, 10, 2, 1, True), (11, 11, 2, 1, False)]
    assert all(u.parent == "" and not u.residual for u in units(net))
    assert units(net.double()) == units(net)
    with torch.device("meta"):
        assert units(create("resnet20", num_classes=10)) == units(create("resnet20", num_classes=10))


def test_what_edits_put_in_counts_as_the_layer_it_stands_for():
    inner = nn.Sequential(nn.Conv2d(8, 8, (1, 3), padding=(0, 1)), nn.Conv2d(8, 8, (3, 1), padding=(1, 0)))
    net = nn.Sequential(*conv(3, 8), inner, nn.BatchNorm2d(8), nn.Sequential(nn.ReLU(), nn.Dropout()), nn.Conv2d(8, 8, 1))
    assert [u.names for u in units(net)] == [("3", "4", "5"), ("6",)]


def test_a_container_of_danlu_has_the_norm_and_the_activation_behind_it():
    beside = Concat(nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 3, padding=1))
    net = nn.Sequential(*conv(3, 8), beside, nn.BatchNorm2d(8), nn.ReLU(), Plain(8), nn.ReLU())
    assert [u.names for u in units(net)] == [("3", "4", "5"), ("6",)]


def test_blocks_with_a_forward_of_their_own():
    side = Concat(nn.Sequential(*conv(8, 4)), nn.Conv2d(8, 12, 1))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, 2, 1)
            self.body = nn.Sequential(side, nn.AvgPool2d(2), Gated(16), Plain(16))
            self.alone = Plain(16)  # not in a chain: nothing can be put behind it
            self.head = nn.Linear(16, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.alone(self.body(self.stem(x))).mean((2, 3)))

    found = units(Net())
    assert [u.names for u in found] == [("body.0",), ("body.2",), ("body.3",)]
    assert [(u.in_channels, u.out_channels, u.stage) for u in found] == [(8, 16, 1), (16, 16, 2), (16, 16, 2)]
    assert [u.residual for u in found] == [False, True, True]


def test_a_block_that_decides_by_values_is_no_unit():
    class Decides(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) if x.mean() > 0 else x

    net = nn.Sequential(*conv(3, 8), Decides(), *conv(8, 8))
    assert [u.names for u in units(net)] == [("4", "5", "6")]


class Plain(nn.Module):
    """A sum of the input and two convolutions in a chain."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            OrderedDict(a=nn.Conv2d(width, width, 3, padding=1), r=nn.ReLU(), b=nn.Conv2d(width, width, 1))
        )
        self.shortcut = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.branch(x)
        y += self.shortcut(x)
        return y


class Gated(nn.Module):
    """The branch is multiplied by a gate in the forward itself: it ends in no layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.gate = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) * torch.sigmoid(self.gate(x))


class Parallel(nn.Module):
    """A sum of two branches of equal depth, one shared layer called twice, and a sum of sizes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(width, width, 3, padding=1)
        self.b = nn.Conv2d(width, width, 3, padding=1)
        self.twice = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x) + self.b(x)
        pixels = x.shape[2] + x.shape[3]
        return (x + self.twice(self.twice(x))) / pixels


def test_branch_ends_of_known_nets():
    expected = [f"layer{s}.{i}.bn2" for s in (1, 2, 3) for i in (0, 1, 2)]
    assert branch_ends(create("resnet20", num_classes=10)) == expected
    assert branch_ends(create("resnet50(width=0.25)", num_classes=10))[:4] == [
        *(f"layer1.{i}.bn3" for i in range(3)),
        "layer2.0.bn3",
    ]
    assert branch_ends(create("vgg11(width=0.25)", num_classes=10)) == []
    assert branch_ends(create("googlenet(width=0.25)", num_classes=10)) == []


def test_branch_ends_where_the_forward_decides():
    assert branch_ends(nn.Sequential(nn.Conv2d(3, 8, 1), Plain(8), Gated(8), Parallel(8))) == ["1.branch.b"]

    class Decides(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(Plain(8), Plain(8))

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x) if x.mean() > 0 else x

    net = nn.Sequential(nn.Conv2d(3, 8, 1), Decides())  # cannot be traced as a whole: its parts can
    assert branch_ends(net) == ["1.body.0.branch.b", "1.body.1.branch.b"]


def test_another_edit_at_the_end_of_a_branch_is_its_new_end():
    net = nn.Sequential(nn.Conv2d(3, 8, 1), Plain(8))
    net[1].branch.b = nn.Sequential(net[1].branch.b, nn.BatchNorm2d(8))
    assert branch_ends(net) == ["1.branch.b.1"]
    net[1].branch.b = nn.Sequential(net[1].branch.b, Scale())
    assert branch_ends(net) == ["1.branch.b.1"]


class Scale(nn.Module):
    """A layer of somebody's own at the end of a branch."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x) * 0.5
