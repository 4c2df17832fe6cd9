"""fit_input: the last map of every zoo net at every size, by a count of its own; and nets that are hard to fit."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from danlu.edits import edit
from danlu.edits.fit_input import fit_input
from danlu.errors import UsageError
from danlu.zoo import create

SIZES = [8, 28, 32, 64, 96, 128, 160, 224, 320, 512]
NETS = [
    "resnet18", "resnet34", "resnet50", "resnet20", "vgg11", "vgg16", "vgg16_bn", "mobilenet_v1", "squeezenet1_0",
    "squeezenet1_1", "allconv5", "allconv6", "allconv7_1", "allconv8_1",
]  # fmt: skip
# Layers without padding eat an 8x8 input up: 7x7 without padding leaves 2x2.
SMALLER = {("squeezenet1_0", 8): 2}


def last_map(net: nn.Module, size: int | tuple[int, int], channels: int = 3) -> int:
    """The narrower side of what enters the first global pool or the flatten, seen by hooks of this test's own."""
    seen: list[tuple[int, ...]] = []
    stop = next(m for m in net.modules() if isinstance(m, nn.AdaptiveAvgPool2d | nn.Flatten))
    hook = stop.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape)))
    height, width = (size, size) if isinstance(size, int) else size
    weight = next(net.parameters())
    out = net.eval()(torch.zeros(2, channels, height, width, device=weight.device))
    hook.remove()
    assert out.shape[0] == 2
    return min(seen[0][2:])


@pytest.mark.parametrize("name", NETS)
def test_every_zoo_net_at_every_size(name: str) -> None:
    with torch.device("meta"):
        net = create(name, num_classes=10)
    text = str(net)
    for size in SIZES:
        outcome = fit_input(net, size=size)
        if (name, size) in SMALLER:
            expected = SMALLER[name, size]
            assert last_map(outcome.model, size) == expected
            assert outcome.kept == [("", f"the last map stays {expected} wide: no stride is left to take away")]
            continue
        assert 4 <= last_map(outcome.model, size) <= 8, size
        assert outcome.kept == []
        if size in (8, 96, 512):
            assert fit_input(outcome.model, size=size).changed == [], "fitting twice changes nothing more"
    assert str(net) == text


@pytest.mark.parametrize(
    ("name", "size"),
    [("resnet18", 224), ("resnet50", 128), ("vgg16", 224), ("mobilenet_v1", 160), ("resnet20", 32), ("allconv6", 224)],
)
def test_nothing_changes_where_it_fits(name: str, size: int) -> None:
    with torch.device("meta"):
        outcome = fit_input(create(name), size=size)
    assert (outcome.changed, outcome.kept) == ([], [])


def test_resnet_for_cifar_is_the_known_one() -> None:
    """At 32x32, people take the stride of the stem and the max pool away by hand."""
    with torch.device("meta"):
        net = create("resnet18")
        by_hand = create("resnet18")
    by_hand.conv1.stride, by_hand.maxpool = (1, 1), nn.Identity()
    assert str(fit_input(net, size=32).model) == str(by_hand)


def test_both_branches_change_together() -> None:
    outcome = fit_input(create("resnet8", num_classes=10, seed=0), size=8)
    assert [change.name for change in outcome.changed] == ["layer2.0.conv1", "layer2.0.downsample"]
    assert outcome.model.layer2[0].downsample.stride == 1
    assert outcome.model(torch.randn(2, 3, 8, 8)).shape == (2, 10)


def test_only_the_fitted_tensors_change() -> None:
    net = create("vgg11(width=0.125)", num_classes=4, seed=0)
    torch.manual_seed(3)
    outcome = fit_input(net, size=64)
    changed = {change.name for change in outcome.changed}
    assert changed == {"features.2", "avgpool", "classifier.0"}
    old, new = net.state_dict(), outcome.model.state_dict()
    for name, tensor in new.items():
        if name != "classifier.0.weight":
            assert torch.equal(tensor, old[name]), name
    assert new["classifier.0.weight"].shape == (old["classifier.0.weight"].shape[0], 64 * 4 * 4)
    ratio = new["classifier.0.weight"].var() * 16 / (old["classifier.0.weight"].var() * 49)
    assert 0.9 < ratio.item() < 1.1, "the variance of the sums stays: fan-in times variance"


def test_wide_inputs_go_by_the_narrower_side() -> None:
    with torch.device("meta"):
        outcome = edit(create("resnet18"), "fit_input(size=(32, 128))")
    assert last_map(outcome.model, (32, 128)) == 4


@pytest.mark.parametrize("size", [9, 16, 28, 32, 64, 200])
@pytest.mark.parametrize("name", ["lenet5", "lenet5_caffe"])
def test_lenets_get_a_new_linear(name: str, size: int) -> None:
    net = create(name, num_classes=10, in_channels=1, seed=0)
    outcome = fit_input(net, size=size)
    assert outcome.model(torch.randn(2, 1, size, size)).shape == (2, 10)
    assert last_map(outcome.model, size, 1) in range(4, 9) if size > 9 else last_map(outcome.model, size, 1) == 1


def test_a_net_without_convolutions() -> None:
    outcome = edit(create("lenet_300_100", num_classes=10, in_channels=3, seed=0), "fit_input(size=8)")
    assert outcome.kept == [("fit_input", "it has no convolution, so there is no last map to fit")]
    assert [change.after for change in outcome.changed] == ["Linear(in_features=192, out_features=300, bias=True)"]
    assert outcome.model(torch.randn(2, 3, 8, 8)).shape == (2, 10)
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    with pytest.raises(UsageError, match="cannot tell how many channels"):
        fit_input(net, size=8)
    assert fit_input(net, size=8, channels=1).model[1].in_features == 64


def test_a_linear_is_drawn_from_the_generator() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        weights.append(fit_input(net, size=8, channels=1).model[1].weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(fit_input(net, size=8, channels=1).model[1].bias, net[1].bias)


def test_too_small_says_what_it_takes() -> None:
    net = create("lenet5", num_classes=10, in_channels=1)
    with pytest.raises(UsageError, match=r"an input of 8x8 is too small for this net: .* it takes 9x9 at least"):
        fit_input(net, size=8)
    fit_input(net, size=9)
    with pytest.raises(UsageError, match="at least 1 pixel"):
        fit_input(net, size=0)


def test_a_size_built_in_is_said(make_net: Callable[[str], nn.Module]) -> None:
    with pytest.raises(UsageError, match=r"does not run on 40x40 \(behind conv2\)"):
        fit_input(make_net("functional"), size=40)

    class Quiet(nn.Module):
        """view(-1, ...) turns another map size into another number of images, without an error."""

        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.conv(x).view(-1, 64))

    assert fit_input(Quiet(), size=4).changed == []
    with pytest.raises(UsageError, match="the number of images changed on the way"):
        fit_input(Quiet(), size=8)


def test_one_pool_for_all_levels(make_net: Callable[[str], nn.Module]) -> None:
    net = make_net("shared")
    outcome = fit_input(net, size=12)
    assert isinstance(outcome.model.pool, nn.Identity), "it can only go as a whole"
    assert outcome.model.stem.stride == (2, 2), "which leaves the map too large"
    assert outcome.kept == []


def test_an_average_of_fixed_size_stands_for_global_pooling() -> None:
    def net(pool: nn.Module, width: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), pool, nn.Flatten(), nn.Linear(width, 5))

    outcome = fit_input(net(nn.AvgPool2d(8), 8), size=10)
    assert [change.after for change in outcome.changed] == ["AdaptiveAvgPool2d(output_size=1)"]
    assert fit_input(net(nn.AvgPool2d(8), 8), size=16).changed == []
    local = fit_input(net(nn.MaxPool2d(4), 32), size=32).model
    assert isinstance(local[2], nn.MaxPool2d), "made for 2x2 behind it: a level like any other"


def test_attention_on_pooled_maps_is_not_the_last_map(make_net: Callable[[str], nn.Module]) -> None:
    outcome = fit_input(make_net("residual"), size=12)
    assert [change.name for change in outcome.changed] == ["0"]
    assert outcome.model(torch.randn(2, 3, 12, 12)).shape == (2, 10)


def test_a_decoder_is_left_alone(make_net: Callable[[str], nn.Module]) -> None:
    outcome = fit_input(make_net("plain"), size=64)
    assert outcome.changed == []
    assert "grow again" in outcome.kept[0][1]


def test_nets_that_look_at_values_run_on_the_cpu(make_net: Callable[[str], nn.Module]) -> None:
    outcome = fit_input(make_net("branches"), size=12)
    assert outcome.model.stem[0].stride == (2, 2)


def test_no_channels_are_skipped_over() -> None:
    """A 1x1 convolution of stride 2 would drop three pixels of four: the map is halved elsewhere, or not at all."""
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    outcome = fit_input(net, size=32)
    assert outcome.changed == []
    assert outcome.kept == [("", "the last map stays 32 wide: there is no place where it can be halved")]


def test_a_net_without_numbers_that_does_not_run(make_net: Callable[[str], nn.Module]) -> None:
    net = make_net("functional").to("meta")
    assert fit_input(net, size=28).changed == []
    with pytest.raises(UsageError, match="does not run on 40x40"):
        fit_input(net, size=40)


class HalfFunctional(nn.Module):
    """A block whose shortcut shrinks by a function: its stride is not the layer's alone."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.conv = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.last = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.conv(x) + nn.functional.avg_pool2d(x, 2)
        return self.head(self.last(x).mean((2, 3)))


def test_a_stride_that_cannot_change_alone_is_put_back() -> None:
    outcome = fit_input(HalfFunctional(), size=8)
    assert [change.name for change in outcome.changed] == ["stem", "last"]
    assert outcome.kept == [("conv", "another stride here breaks the forward")]
    assert outcome.model.conv.stride == (2, 2)
    assert outcome.model(torch.zeros(2, 3, 8, 8)).shape == (2, 4)


def test_a_layer_used_twice_is_no_place_to_halve() -> None:
    relu, conv = nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)
    net = nn.Sequential(nn.Conv2d(3, 8, 1), relu, conv, relu, conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    outcome = fit_input(net, size=32)
    assert outcome.changed == []
    assert outcome.kept == [("", "the last map stays 32 wide: there is no place where it can be halved")]
