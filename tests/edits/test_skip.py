"""skip: the sums and concatenations by hand, the scale of deep nets, and what has no shortcut with the reason."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.edits import edit
from danlu.edits._units import branch_ends
from danlu.edits.skip import skip
from danlu.errors import UsageError
from danlu.nn import Concat, LastChannels, PadShortcut, ProjectionShortcut, Sum
from danlu.zoo import create


def plain(*, norm: bool = True) -> nn.Sequential:
    """Stem, a unit that keeps its shape, one that changes channels, one with a stride, classifier."""
    layers: list[nn.Module] = []
    for into, out, stride in ((3, 4, 1), (4, 4, 1), (4, 6, 1), (6, 6, 2)):
        layers.append(nn.Conv2d(into, out, 3, stride=stride, padding=1, bias=not norm))
        layers += [nn.BatchNorm2d(out)] * norm
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))


def alive(net: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for norm in (layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)):
        norm.running_mean.normal_(0, 0.3, generator=generator)
        norm.running_var.uniform_(0.5, 2, generator=generator)
    return net.eval()


def test_every_unit_by_hand() -> None:
    torch.manual_seed(0)
    net = alive(plain())
    stem, first, second, third, head = net[:3], net[3:5], net[6:8], net[9:11], net[12:]
    x = torch.randn(2, 3, 9, 11)
    with torch.no_grad():
        y = stem(x)
        y = F.relu(first(y.clone()) + y)
        y = F.relu(second(y) + F.pad(y, (0, 0, 0, 0, 0, 2)))
        y = F.relu(third(y) + y[:, :, ::2, ::2])
        expected = head(y)
        outcome = skip(net)
        torch.testing.assert_close(outcome.model(x), expected)
    assert [change.name for change in outcome.changed] == ["3", "6", "9"]
    assert [type(layer) for layer in outcome.model[3:9]] == [Sum, nn.ReLU] * 3
    assert outcome.params[0] == outcome.params[1]
    assert len(branch_ends(outcome.model)) == 3, "other edits see residual branches now"


def test_project_has_a_convolution_where_the_shape_changes() -> None:
    outcome = skip(plain(), shortcut="project")
    shortcuts = [layer.shortcut for layer in outcome.model if isinstance(layer, Sum)]
    assert [type(layer) for layer in shortcuts] == [nn.Identity, ProjectionShortcut, ProjectionShortcut]
    assert outcome.params[1] - outcome.params[0] == (4 * 6 + 12) + (6 * 6 + 12)
    assert shortcuts[2][0].stride == (2, 2)
    bare = skip(plain(norm=False), shortcut="project").model
    assert [type(layer.shortcut) for layer in bare if isinstance(layer, Sum)] == [nn.Identity, nn.Conv2d, nn.Conv2d]


def test_identity_leaves_other_shapes_alone() -> None:
    outcome = skip(plain(), shortcut="identity")
    assert [change.name for change in outcome.changed] == ["3"]
    assert outcome.kept == [(name, "its output has another shape than its input") for name in ("6", "9")]


def test_concat_by_hand() -> None:
    # Each unit computes as before from what it is given; its reader gets the unit's own input in front.
    torch.manual_seed(0)
    net = alive(plain())
    outcome = skip(net, mode="concat")
    new = outcome.model.eval()
    first, second, third, head = new[3], new[4], new[5], new[6:]
    assert [type(layer) for layer in (first, second, third)] == [Concat] * 3
    with torch.no_grad():
        x = torch.randn(2, 3, 9, 11)
        a0 = new[:3](x)
        a1 = first.computed(a0)
        a2 = second.computed(torch.cat([a0, a1], 1))
        a3 = third.computed(torch.cat([a1, a2], 1))
        expected = head(torch.cat([a2[:, :, ::2, ::2], a3], 1))
        torch.testing.assert_close(new(x), expected)
    # 4 + 4 into the second, 4 + 6 into the third, 6 + 6 into the classifier: nothing piles up.
    assert [second.computed[0].in_channels, third.computed[0].in_channels, head[2].in_features] == [8, 10, 12]
    assert isinstance(second.shortcut, LastChannels)
    assert isinstance(third.shortcut[1], PadShortcut)
    assert torch.equal(first.computed[0].weight, net[3].weight), "a layer that reads what it did keeps its weights"


@pytest.mark.parametrize("name", ["vgg16(width=0.25)", "vgg16_bn(width=0.25)"])
def test_a_deep_net_keeps_its_scale(name: str) -> None:
    # Twelve sums of branches as large as their shortcuts would double the variance twelve times where no norm takes it back.
    net = create(f"{name} | fit_input(size=32)", num_classes=10, seed=0)
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = net.features(x).square().mean().sqrt()
        after = skip(net).model.features(x).square().mean().sqrt()
    assert 0.2 < after / before < 5


def test_the_gradient_finds_a_way_around_dead_branches() -> None:
    net = create("vgg16_bn(width=0.125) | fit_input(size=32)", num_classes=10, seed=0)
    new = skip(net, shortcut="project").model
    for model in (net, new):
        for layer in list(model.features.modules()):
            if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3) and layer.in_channels > 3:
                nn.init.zeros_(layer.weight)
        model.train()(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert net.features[0].weight.grad.abs().max() < 1e-6
    assert new.features[0].weight.grad.abs().max() > 1e-3


class Gate(nn.Module):
    """A block without a shortcut that cannot be traced: its forward branches on a shape."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if x.shape[2] > 1 else self.conv(-x)


class Starts(nn.Module):
    """A block that begins with an activation in place."""

    def __init__(self) -> None:
        super().__init__()
        self.relu, self.conv = nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.relu(x))


def test_reasons_to_keep() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), Starts(), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, padding=1),
        nn.Conv2d(4, 2, 1), nn.Flatten(), nn.Linear(2 * 6 * 6, 5),
    )  # fmt: skip
    assert dict(skip(net, skip=["3"]).kept) == {
        "1": "it changes its input in place",
        "2": "its map is not that of its input divided by a whole stride",
        "3": "named in skip",
        "4": "a shortcut without weights drops no channels, and this one goes from 4 to 2",
    }
    kept = dict(skip(net, mode="concat").kept)
    assert kept["4"] == "what reads it lies outside its chain, or takes maps of one size only"
    gated = skip(nn.Sequential(nn.Conv2d(3, 4, 1), Gate(), nn.Conv2d(4, 5, 1)), mode="add")
    assert dict(gated.kept)["1"] == "its forward cannot be traced, so it may have a shortcut"
    assert dict(gated.kept)["2"] == "it gives the scores of the classes"
    assert skip(nn.Linear(3, 4)).kept == [("", "it has no units: no block or run of layers in a chain")]


def test_concat_stops_where_the_next_layer_cannot_take_it() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(4, 8, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip
    outcome = skip(net, mode="concat")
    assert outcome.kept == [("1", "what reads it cannot take more channels and give as many as before")]
    assert [type(layer) for layer in outcome.model[2:4]] == [Concat, Concat]


@pytest.mark.parametrize("name", ["resnet20", "densenet40_12", "dpn68"])
def test_nets_with_shortcuts_stay(name: str) -> None:
    with torch.device("meta"):
        outcome = skip(create(f"{name}(width=0.25)", num_classes=10))
    reasons = {reason for _, reason in outcome.kept}
    assert "it has a shortcut already" in reasons
    assert all("transition" in change.name for change in outcome.changed)


@pytest.mark.parametrize("mode", ["add", "concat"])
def test_twice_is_once(mode: str) -> None:
    once = edit(plain(), f"skip(mode={mode!r})").model
    again = edit(once, f"skip(mode={mode!r})")
    assert not again.changed
    assert str(again.model) == str(once)


def test_a_block_shared_by_two_places_is_added_around_in_both() -> None:
    block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
    net = nn.Sequential(nn.Conv2d(3, 4, 1), block, block, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    new = skip(net).model
    assert new[1] is new[2]
    assert isinstance(new[1][0], Sum)
    concat = skip(net, mode="concat")
    assert not concat.changed
    assert "it, or what reads it, hangs in two places" in dict(concat.kept).values()


def test_the_shortcut_is_chosen_like_the_net() -> None:
    net = copy.deepcopy(plain()).double().eval()
    model = skip(net, shortcut="project").model
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert not any(module.training for module in model.modules())


def test_usage() -> None:
    with pytest.raises(UsageError, match="unknown mode of skip 'cat'"):
        skip(plain(), mode="cat")
    with pytest.raises(UsageError, match="unknown shortcut 'padd'; did you mean pad"):
        skip(plain(), shortcut="padd")
