"""merge_branches: exact where there is room, the order of channels kept, user-defined blocks found, others left with a reason."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.edits import edit, rates_of
from danlu.edits._merge_blocks import blocks, groups
from danlu.edits.merge_branches import _select, merge_branches
from danlu.errors import UsageError
from danlu.nn import Concat
from danlu.zoo.googlenet import Inception

WIDTHS = (8, 8, 16, 8, 8, 8)


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def block(*, batch_norm: bool = True, large: int = 5, seed: int = 0) -> Inception:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = Inception(12, WIDTHS, large=large, batch_norm=batch_norm)
        for layer in made.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.uniform_(layer.weight, 0.5, 1.5)
                nn.init.normal_(layer.bias, std=0.2)
                layer.running_mean.normal_(0, 0.2)
                layer.running_var.uniform_(0.5, 2)
    return made.eval()


class Mine(nn.Module):
    """An inception block as users write it: functions for activations and pool, another order of branches."""

    def __init__(self) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(12, 16, 1)
        self.wide = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.proj = nn.Conv2d(12, 8, 1)
        self.side = nn.Sequential(nn.Conv2d(12, 4, 3, padding=1), nn.ReLU())
        self.point = nn.Conv2d(12, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        wide = F.relu(self.norm(self.wide(F.relu(self.reduce(x)))))
        pooled = F.relu(self.proj(F.max_pool2d(x, 3, stride=1, padding=1)))
        return torch.cat((self.point(x).relu(), wide, pooled, self.side(x)), 1)


def error(net: nn.Module, model: nn.Module, x: Tensor) -> float:
    with torch.no_grad():
        return float((model(x) - net(x)).norm() / net(x).norm())


def test_a_point_branch_is_merged_exactly_when_its_filters_fit_into_the_reduction() -> None:
    # 8 reduction channels and 8 of the 1x1 branch: a reduction of 16 holds both, and a centre tap passes the latter on.
    net = Concat(*list(block())[:2]).eval()
    model = merge_branches(net, ratio=2.0, example=noise(8, 12, 8, 8)).model
    x = noise(4, 12, 8, 8, seed=7)
    assert [tuple(p.shape) for p in model.parameters()] == [(16, 12, 1, 1), (16,), (24, 16, 3, 3), (24,)]
    assert error(net, model, x) < 1e-3


def test_the_block_gives_the_same_channels_in_the_same_order() -> None:
    net = block()
    outcome = merge_branches(net, ratio=2.0, example=noise(32, 12, 12, 12))
    x = noise(8, 12, 12, 12, seed=7)
    with torch.no_grad():
        y, z = net(x), outcome.model(x)
    assert z.shape == y.shape
    # Each channel is most like itself: of the exact branches closely, of the pool branch in tendency.
    similar = torch.nn.functional.cosine_similarity(
        y.transpose(0, 1).flatten(1)[:, None], z.transpose(0, 1).flatten(1)[None], dim=2
    )
    alive = y.flatten(2).amax(dim=(0, 2)) > 0.1
    assert alive.sum() > 30
    assert (similar.diagonal()[:32][alive[:32]] > 0.99).all()
    assert (similar.diagonal()[alive] > 0.4).all()
    assert (similar.argmax(dim=1) == torch.arange(40))[alive].float().mean() > 0.9
    assert isinstance(outcome.model, Concat)
    assert list(dict(outcome.model.named_children())) == ["branch2", "branch3"]
    assert not any(isinstance(layer, nn.BatchNorm2d | nn.MaxPool2d) for layer in outcome.model.modules())


def test_least_squares_beats_copied_and_random_filters() -> None:
    net, x = block(), noise(8, 12, 12, 12, seed=7)
    errors = {
        init: error(net, merge_branches(net, ratio=1.0, init=init, example=noise(32, 12, 12, 12)).model, x)
        for init in ("least_squares", "copy", "standard")
    }
    assert errors["least_squares"] < 0.7 * errors["copy"]
    assert errors["copy"] < errors["standard"]
    smaller = error(net, merge_branches(net, ratio=2.0, example=noise(32, 12, 12, 12)).model, x)
    assert smaller < errors["least_squares"]


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_the_ratio_sets_the_reduction(ratio: float) -> None:
    wide = Inception(32, (16, 32, 32, 16, 16, 16), large=5, batch_norm=False)
    model = merge_branches(wide, ratio=ratio, init="standard").model
    assert [branch[0].out_channels for branch in model] == [round(32 * ratio), max(8, round(16 * ratio))]
    assert [branch[2].out_channels for branch in model] == [48, 32]
    assert [branch[2].kernel_size for branch in model] == [(3, 3), (5, 5)]


def test_a_block_of_the_user_s_own() -> None:
    net = nn.Sequential(nn.Conv2d(3, 12, 3), Mine(), nn.ReLU()).eval()
    outcome = merge_branches(net, ratio=1.0, example=noise(16, 3, 10, 10))
    merged = outcome.model[1]
    assert isinstance(merged, Concat)
    x = noise(2, 3, 10, 10, seed=4)
    with torch.no_grad():
        inside = net[0](x)
        torch.testing.assert_close(merged(inside)[:, 32:], net[1].side(inside))  # the branch of another kind
        assert outcome.model(x).shape == net(x).shape
    assert error(net, outcome.model, x) < 0.6
    assert [change.name for change in outcome.changed] == ["1.wide", "1.point", "1.proj"]
    assert outcome.changed[0].before == "1x1 to 8 beside 1x1 to 16 -> 3x3 to 16 beside pool -> 1x1 to 8"
    assert rates_of(outcome) == {"*": 0.0, "1.wide.*": 10.0}


def test_points_go_to_the_smaller_kernel_and_pools_to_the_larger() -> None:
    small, large = (nn.Sequential(nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, k, padding=k // 2)) for k in (3, 5))
    point, pool = nn.Conv2d(4, 8, 1), nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(4, 8, 1))
    for order, homes in (
        ([small, point, large], [[0, 1], [2]]),
        ([small, pool, large], [[0], [1, 2]]),
        ([large, point, pool, small], [[0, 2], [1, 3]]),
        ([point, pool, small], [[0, 1, 2]]),
    ):
        (_, branches), *_ = blocks(Concat(*order))
        names = [[int(branch.name) for branch in group] for group in groups(branches)]
        crossing = homes == [[0, 2], [1, 3]]  # would mix the channels
        assert [sorted(group) for group in names] == ([[0], [1], [2], [3]] if crossing else homes)


def test_the_selection_takes_what_explains_the_rest() -> None:
    # Channels 0-2 are one direction three times, 3 is another, 4 is weak: two filters, and these, hold nearly everything.
    weights = torch.tensor([[1.0, 0, 0], [1, 0.01, 0], [1, 0, 0.01], [0, 1, 0], [0, 0, 0.1]])[:, :, None, None]
    net = nn.Sequential(nn.Identity())
    chosen = _select(weights, torch.zeros(5), torch.ones(5), None, 2, net, net[0], [noise(4, 3, 8, 8)])
    assert chosen.tolist()[1] == 3
    assert chosen.tolist()[0] in (0, 1, 2)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return torch.cat([x, self.b(x)], dim=1)


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), "there is no inception block"),
        (Twice(), "not rows of layers beside each other"),
        (Concat(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding=1)), "no branch of it is a 1x1 convolution and a larger one"),
        (
            Concat(nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding=1)), nn.Conv2d(4, 4, 3, padding=1)),
            "no branch of it is a 1x1 convolution, or a pool",
        ),
        (
            Concat(
                nn.Sequential(nn.Conv2d(4, 4, 1), nn.Tanh()), nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding=1))
            ),
            "the same activation",
        ),
    ],
)
def test_why_a_block_stays(net: nn.Module, reason: str) -> None:
    outcome = merge_branches(net, init="copy")
    assert outcome.changed == []
    assert reason in outcome.kept[0][1]


def test_wrong_usage() -> None:
    for options, says in (
        ({}, "needs images"), ({"init": "fit"}, "init 'fit'"), ({"ratio": 0}, "ratio is a share"),
        ({"ratio": True}, "ratio is a share"),
        ({"example": torch.zeros(1, 3, 8, 8)}, "does not run on images"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=says):
            merge_branches(block(), **options)
    assert merge_branches(nn.Sequential(block()), init="copy", skip=["0"]).kept == [("0", "named in skip")]


def test_the_googlenet_of_the_zoo() -> None:
    from danlu.zoo import create

    net = create("googlenet(width=0.125) | fit_input(size=32)", num_classes=5, seed=0)
    outcome = edit(net, "merge_branches(init='copy')")
    assert sum(change.after.startswith("new ") for change in outcome.changed) == 2 * 9
    assert outcome.kept == []
    assert outcome.model(noise(2, 3, 32, 32)).shape == (2, 5)
    names = dict(outcome.model.named_parameters())
    patterns = [pattern.rstrip("*") for pattern in rates_of(outcome) if pattern != "*"]
    assert all(any(name.startswith(pattern) for name in names) for pattern in patterns)
