"""Other widths of a whole net: against the zoo's own width knob, and what must stay as it is."""

import pytest
import torch
from torch import Tensor, nn

from danlu.cost import profile
from danlu.edits import edit
from danlu.edits.price import predict
from danlu.edits.widen import last_layers, times, widen
from danlu.errors import UsageError
from danlu.nn import SqueezeExcitation
from danlu.zoo import create


def shapes(model: nn.Module) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in model.state_dict().items()}


# Residual, bottleneck, zero-filled shortcuts, grouped, depthwise, concatenated, two streams, gated, dense, flattened.
@pytest.mark.parametrize(
    "net",
    [
        "resnet18", "resnet50", "resnet20", "preact_resnet20", "mobilenet_v1", "googlenet", "squeezenet1_1", "resnet_in_resnet",
        "highway19", "wide_resnet16_8", "vgg11", "lenet5",
    ],
)  # fmt: skip
@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_is_the_width_of_the_zoo_s_nets(net, factor):
    with torch.device("meta"):
        channels = 1 if net == "lenet5" else 3
        widened = edit(create(net, num_classes=7, in_channels=channels), f"widen(factor={factor})").model
        assert shapes(widened) == shapes(create(f"{net}(width={factor})", num_classes=7, in_channels=channels))


@pytest.mark.parametrize("net", ["resnext29_8x64d(width=0.125)", "resnet20 | se", "dpn68(width=0.25) | fit_input(size=32)"])
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_runs_learns_and_costs_what_it_predicts(net, factor):
    before = create(net, num_classes=10, seed=0)
    outcome = widen(before, factor=factor)
    old, new = (profile(model, (3, 32, 32)).macs for model in (before, outcome.model))
    assert predict(before, outcome, (3, 32, 32)) == (outcome.params[1] - outcome.params[0], new - old)
    y = outcome.model.train()(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    y.logsumexp(1).sum().backward()
    assert all(p.grad is not None for p in outcome.model.parameters())


def test_a_factor_of_two_costs_nearly_four_times():
    net = create("resnet20", num_classes=10)
    assert widen(net, factor=2.0).params == (269_722, 1_073_962)  # 16 -> 32 in the arithmetic of the paper's table


def test_counts():
    assert [times(6, f, 1) for f in (0.5, 1.5, 2.0)] == [3, 9, 12]
    assert [times(6, f, 8) for f in (0.5, 1.5)] == [6, 8]  # below 1 never wider, above 1 never narrower
    assert [times(64, f, 8) for f in (0.3, 0.7, 1.1)] == [16, 48, 72]
    assert times(1, 4.0, 8) == 1
    assert times(100, 1.0, 8) == 100


def test_groups_stay_divisible():
    net = nn.Sequential(
        nn.Conv2d(3, 12, 3), nn.GroupNorm(6, 12), nn.Conv2d(12, 24, 3, groups=3), nn.PReLU(24), nn.Conv2d(24, 48, 1, groups=24),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.LayerNorm(192), nn.Linear(192, 10),
    )  # fmt: skip
    new = widen(net, factor=1.4, round_to=1).model
    assert [m.out_channels for m in new if isinstance(m, nn.Conv2d)] == [18, 36, 72]
    assert (new[2].groups, new[3].num_parameters, new[4].groups, new[7].normalized_shape, new[8].in_features) == (
        3,
        36,
        36,
        (288,),
        288,
    )
    assert new(torch.zeros(2, 3, 12, 12)).shape == (2, 10)


def test_the_scale_of_what_comes_out_stays():
    torch.manual_seed(0)
    net = create("vgg11(width=0.25)", num_classes=10, seed=0).eval()
    new = widen(net, factor=3.0).model
    x = torch.randn(8, 3, 32, 32)
    with torch.no_grad():
        a, b = net.features(x).std().item(), new.features(x).std().item()
    assert 0.5 < b / a < 2
    assert torch.equal(new.classifier[6].bias, net.classifier[6].bias)


def test_what_does_not_change_keeps_its_weights():
    net = create("resnet20", num_classes=10, seed=0)
    new = widen(net, factor=2.0, skip=["conv1", "layer1"]).model
    kept = [name for name in shapes(net) if name.startswith(("conv1", "bn1", "layer1"))]
    assert all(torch.equal(net.state_dict()[name], new.state_dict()[name]) for name in kept)


class Gate(nn.Module):
    """Layers that a rule of channels must leave alone: one map for all channels; what the net answers, by two ways."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.map = nn.Conv2d(16, 1, 3, padding=1)
        self.attention = SqueezeExcitation(16)
        self.head = nn.Linear(16, 10)
        self.other = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.attention(self.stem(x))
        x = (x * self.map(x).sigmoid()).mean((2, 3))
        return self.head(x) + self.other(x)


def test_single_maps_and_answers_stay():
    outcome = widen(Gate(), factor=2.0)
    assert last_layers(Gate()) == {"head", "other"}
    new = outcome.model
    assert (new.stem.out_channels, new.map.in_channels, new.map.out_channels, new.head.in_features) == (32, 32, 1, 32)
    assert (new.attention.channels, new.attention.squeeze.in_features) == (32, 32)
    assert new(torch.zeros(2, 3, 8, 8)).shape == (2, 10)


class Fixed(nn.Module):
    """A number of channels is written into the forward."""

    def __init__(self, *, added: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.conv = nn.Conv2d(8, 16, 3)
        self.fc = nn.Linear(64, 10)
        self.register_buffer("constant", torch.ones(1, 8, 1, 1) if added else torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.stem(x) + self.constant)
        return self.fc(nn.functional.adaptive_avg_pool2d(x, 2).reshape(-1, 16, 4).flatten(1))


def test_numbers_written_into_a_forward_stay():
    outcome = widen(Fixed(added=False), factor=2.0)
    assert (outcome.model.stem.out_channels, outcome.model.conv.in_channels, outcome.model.conv.out_channels) == (16, 16, 16)
    assert ("fc", "it gives the output of the net") in outcome.kept
    assert outcome.model(torch.zeros(2, 3, 8, 8)).shape == (2, 10)
    both = widen(Fixed(added=True), factor=2.0)
    assert (both.model.stem.out_channels, both.model.conv.out_channels) == (8, 16)
    reason = "a number of channels behind it is written into the forward"
    assert dict(both.kept) == {"stem": reason, "conv": reason, "fc": "it gives the output of the net"}


def test_maps_that_rounding_makes_differ_are_refused():
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 20, 1), nn.Conv2d(3, 20, 1), nn.Conv2d(3, 40, 1)
            self.head = nn.Linear(40, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.head((torch.cat([self.a(x), self.b(x)], 1) + self.c(x)).mean((2, 3)))

    with pytest.raises(UsageError, match="try round_to=1"):
        widen(Sum(), factor=0.5)
    assert widen(Sum(), factor=0.5, round_to=1).model.head.in_features == 20


@pytest.mark.parametrize("options", ["factor=0.0", "factor=17.0", "factor=2.0, round_to=0"])
def test_bad_options(options):
    with pytest.raises(UsageError, match=r"factor|round_to"):
        edit(create("resnet8", num_classes=10), f"widen({options})")
