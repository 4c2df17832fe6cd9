"""prune_channels: the cut is proved against silenced channels by this test's own means; ratios, rounding, what must stay."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.edits import edit
from danlu.edits.prune_channels import prune_channels
from danlu.errors import UsageError
from danlu.nn import PadShortcut
from danlu.zoo import create


def alive(net: nn.Module) -> nn.Module:
    """Norms that do something, so that a wrongly wired channel shows."""
    generator = torch.Generator().manual_seed(7)
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.2, generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
            nn.init.uniform_(norm.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(norm.bias, 0, 0.2, generator=generator)
    return net


def convs(net: nn.Module) -> dict[str, nn.Module]:
    return {name: m for name, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}


def test_l1_cuts_the_weakest_filters_of_a_chain() -> None:
    """Two convolutions, so that the score is simple enough to be computed here: Li et al.'s L1 norm, with the next layer's."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3, bias=False), nn.ReLU(), nn.Conv2d(16, 4, 1))
    made, read = net[0].weight.abs().sum((1, 2, 3)), net[2].weight.abs().sum((0, 2, 3))
    best = (made + read).topk(4).indices.sort().values
    model = prune_channels(net, example=torch.zeros(1, 3, 8, 8), ratio=0.75, round_to=1).model
    assert torch.equal(model[0].weight, net[0].weight[best])
    assert torch.equal(model[2].weight, net[2].weight[:, best])
    assert torch.equal(model[2].bias, net[2].bias)


def test_bn_cuts_the_smallest_scales() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 4, 1))
    nn.init.normal_(net[1].weight)
    best = net[1].weight.abs().topk(8).indices.sort().values
    model = prune_channels(net, example=torch.zeros(1, 3, 8, 8), importance="bn").model
    assert torch.equal(model[1].weight, net[1].weight[best])
    assert torch.equal(model[1].running_mean, net[1].running_mean[best])


def test_taylor_cuts_what_the_loss_does_not_feel() -> None:
    """Channels whose readers are zero change nothing, so their gradients are zero too."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))
    dead = [1, 2, 3, 5, 8, 13, 14, 15]
    net[4].weight.data[:, dead] = 0
    net[0].weight.data[dead] *= 100  # the largest weights, yet useless

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        while True:  # endless, as a training stream may be: only a few are taken
            yield torch.randn(8, 3, 8, 8), torch.randint(4, (8,))

    x = torch.randn(2, 3, 8, 8)
    by_loss = prune_channels(net, example=x, importance="taylor", batches=batches).model
    torch.testing.assert_close(by_loss(x), net(x))
    assert torch.equal(by_loss[0].weight, net[0].weight[[i for i in range(16) if i not in dead]])
    by_size = prune_channels(net, example=x, importance="l1").model
    assert not torch.allclose(by_size(x), net(x))


@pytest.mark.parametrize(
    "recipe",
    [
        "resnet8", "resnet18(width=0.25)", "resnet50(width=0.125)", "mobilenet_v1(width=0.25)", "squeezenet1_1(width=0.25)",
        "vgg11(width=0.125)", "allconv6(width=0.25)", "lenet5_caffe",
    ],
)  # fmt: skip
def test_zoo_nets_lose_parameters_and_keep_their_form(recipe: str) -> None:
    channels = 1 if recipe.startswith("lenet") else 3
    net = alive(create(f"{recipe} | fit_input(size=28)", num_classes=6, in_channels=channels, seed=0))
    x = torch.randn(2, channels, 28, 28)
    outcome = prune_channels(net, example=x, ratio=0.5, scope="layer")
    assert outcome.params[1] < (0.6 if recipe != "resnet8" else 0.8) * outcome.params[0]
    assert outcome.model(x).shape == (2, 6)
    old, new = convs(net), convs(outcome.model)
    assert list(old) == list(new)
    first, last = next(iter(new.values())), list(new.values())[-1]
    assert first.in_channels == channels
    assert (last.out_features if isinstance(last, nn.Linear) else last.out_channels) == 6
    assert {change.name for change in outcome.changed} == {
        name for name in new if new[name].weight.shape != old[name].weight.shape
    }
    for layer in new.values():
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.shape[:2] == (layer.out_channels, layer.in_channels // layer.groups)
        else:
            assert layer.weight.shape == (layer.out_features, layer.in_features)


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_every_width_is_a_multiple(scope: str) -> None:
    net = create("mobilenet_v1(width=0.5)", num_classes=6, seed=0)
    model = prune_channels(net, example=torch.zeros(1, 3, 32, 32), ratio=0.37, scope=scope, round_to=8).model
    widths = [m.out_channels for m in convs(model).values() if isinstance(m, nn.Conv2d)]
    old = [m.out_channels for m in convs(net).values() if isinstance(m, nn.Conv2d)]
    assert all(width % 8 == 0 and width >= 8 for width in widths)
    if scope == "layer":
        assert all(abs(width - 0.63 * before) <= 4 for width, before in zip(widths, old, strict=True))
    else:
        assert all(width >= 0.1 * before - 4 for width, before in zip(widths, old, strict=True))
        assert abs(sum(widths) / sum(old) - 0.63) < 0.03


def test_a_fresh_net_is_cut_evenly_by_its_scales() -> None:
    """All scales are 1: nothing says that one layer matters less, so none may bear the whole cut."""
    net = create("resnet18(width=0.5)", num_classes=6, seed=0)
    model = prune_channels(net, example=torch.zeros(1, 3, 32, 32), importance="bn", ratio=0.5).model
    old, new = convs(net), convs(model)
    shares = [new[name].weight.shape[0] / old[name].weight.shape[0] for name in old if name != "fc"]
    assert min(shares) >= 0.45
    assert max(shares) <= 0.55


def test_at_most_nine_tenths_of_a_layer_where_layers_compete() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 100, 1), nn.ReLU(), nn.Conv2d(100, 100, 1), nn.ReLU(), nn.Conv2d(100, 4, 1))
    net[0].weight.data[20:] *= 1e-3  # relative to its own layer's mean, this one has the weakest channels
    net[2].weight.data[:, 20:] *= 1e-3
    model = prune_channels(net, example=torch.zeros(1, 3, 4, 4), ratio=0.45, round_to=1).model
    assert model[0].out_channels in range(10, 21)
    model = prune_channels(net, example=torch.zeros(1, 3, 4, 4), ratio=0.95, round_to=1).model
    assert model[0].out_channels >= 10
    assert model[2].out_channels >= 10


def test_the_stream_of_padded_shortcuts_stays() -> None:
    net = alive(create("resnet14", num_classes=6, seed=0))
    outcome = prune_channels(net, example=torch.zeros(1, 3, 32, 32), ratio=0.5)
    widths = {name: layer.out_channels for name, layer in convs(outcome.model).items() if isinstance(layer, nn.Conv2d)}
    before = {name: layer.out_channels for name, layer in convs(net).items() if isinstance(layer, nn.Conv2d)}
    assert all(widths[name] == before[name] for name in widths if name == "conv1" or name.endswith("conv2"))
    assert all(widths[name] < before[name] for name in widths if name.startswith("layer") and name.endswith("conv1"))
    kept = dict(outcome.kept)
    assert "zero channels" in kept["layer2.1.conv2"]
    assert "output of the net" in kept["fc"]
    assert any(isinstance(m, PadShortcut) for m in outcome.model.modules())


@settings(deadline=None, max_examples=25)
@given(
    name=st.sampled_from(["residual", "shared", "plain", "shuffle"]),
    ratio=st.floats(0.05, 0.95),
    scope=st.sampled_from(["layer", "global"]),
    importance=st.sampled_from(["l1", "l2", "random"]),
    round_to=st.sampled_from([1, 3, 4]),
    seed=st.integers(0, 5),
)
def test_equals_the_net_with_silenced_channels(
    make_net: Callable[..., nn.Module], name: str, ratio: float, scope: str, importance: str, round_to: int, seed: int
) -> None:
    """Proof by another way than the edit's own: what is gone is read off the tensors, whose numbers all differ."""
    net = all_different(make_net(name, seed))
    x = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(seed)).double()
    model = prune_channels(net, example=x, ratio=ratio, scope=scope, importance=importance, round_to=round_to, seed=seed).model
    assert_equal_to_silenced(model, net, x)


def all_different(net: nn.Module) -> nn.Module:
    """In double precision, with numbers of which no two are equal, and scales and shifts that do something."""
    generator = torch.Generator().manual_seed(3)
    for parameter in net.double().parameters():
        fresh = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data += 1e-3 * fresh if parameter.dim() > 1 else 0.3 * fresh
    return net


def assert_equal_to_silenced(smaller: nn.Module, larger: nn.Module, x: Tensor) -> None:
    """Zero in the larger net every weight, scale and shift that the smaller one no longer has: they must compute the same."""
    larger = copy.deepcopy(larger).eval()
    left = dict(smaller.named_parameters())
    for name, parameter in larger.named_parameters():
        if parameter.shape != left[name].shape:
            assert parameter.unique().numel() == parameter.numel()
            parameter.data *= torch.isin(parameter.data, left[name].data)
    torch.testing.assert_close(smaller.eval()(x), larger(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("recipe", ["vgg11(width=0.125)", "mobilenet_v1(width=0.25)", "squeezenet1_1(width=0.25)", "resnet14"])
def test_zoo_nets_equal_themselves_with_silenced_channels(recipe: str) -> None:
    net = all_different(create(f"{recipe} | fit_input(size=32)", num_classes=6, seed=0))
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    outcome = prune_channels(net, example=x, ratio=0.4)
    assert len(outcome.changed) > 6
    assert_equal_to_silenced(outcome.model, net, x)


def test_a_shuffle_is_noticed(make_net: Callable[[str], nn.Module]) -> None:
    net = make_net("shuffle")
    outcome = prune_channels(net, example=torch.zeros(1, 3, 28, 28), ratio=0.5, round_to=4)
    assert "mixes channels" in dict(outcome.kept)["first"]
    assert "depthwise" in dict(outcome.kept)
    assert {change.name for change in outcome.changed} == {"stem.0", "first", "second", "head"}
    assert outcome.model.first.out_channels == 32


def test_a_size_built_into_a_view_is_noticed(make_net: Callable[[str], nn.Module]) -> None:
    outcome = prune_channels(make_net("functional"), example=torch.zeros(2, 3, 28, 28))
    assert "the net stops" in dict(outcome.kept)["conv2"]
    assert outcome.model.conv1.out_channels == 8
    assert outcome.model.fc1.out_features < 64


def test_group_norm_and_groups_stay_divisible(make_net: Callable[[str], nn.Module]) -> None:
    model = prune_channels(make_net("group_norm"), example=torch.zeros(1, 3, 28, 28), ratio=0.4, round_to=1).model
    assert model[1].num_channels % 6 == 0
    assert model[1].num_channels == model[0].out_channels < 24


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 1)
        self.b.weight = self.c.weight
        self.d = nn.Conv2d(16, 16, 1)
        self.head = nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.d(F.relu(self.c(F.relu(self.b(F.relu(self.a(x)))))))))


def transposed() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 16, 1), nn.ConvTranspose2d(16, 16, 2, groups=4), nn.Conv2d(16, 4, 1))


def attention() -> nn.Module:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch, self.mix = nn.Conv2d(3, 16, 4, stride=4), nn.MultiheadAttention(16, 2, batch_first=True)
            self.head = nn.Linear(16, 4)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.patch(x).flatten(2).transpose(1, 2)
            return self.head(self.mix(tokens, tokens, tokens, need_weights=False)[0].mean(1))

    return Net()


def multiplier() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 16, 1), nn.Conv2d(16, 32, 3, groups=16), nn.Conv2d(32, 4, 1))


def weight_norm() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 16, 1), nn.utils.parametrizations.weight_norm(nn.Conv2d(16, 16, 1)), nn.Conv2d(16, 4, 1))


@pytest.mark.parametrize(
    ("make", "layer", "reason"),
    [
        (Tied, "a", "shared with another layer"),
        (transposed, "0", "grouped transposed"),
        (attention, "patch", "MultiheadAttention"),
        (multiplier, "0", "one channel a group"),
        (weight_norm, "0", "parametrised"),
    ],
)
def test_what_cannot_be_cut_says_why(make: Callable[[], nn.Module], layer: str, reason: str) -> None:
    net = make()
    x = torch.randn(2, 3, 8, 8)
    outcome = prune_channels(net, example=x, round_to=1)
    assert reason in dict(outcome.kept)[layer]
    assert outcome.model.get_submodule(layer).out_channels == 16
    assert outcome.model(x).shape == net(x).shape


def test_tied_weights_stay_tied() -> None:
    model = prune_channels(Tied(), example=torch.zeros(1, 3, 8, 8)).model
    assert model.b.weight is model.c.weight
    assert model.d.out_channels == 8


def test_names_in_skip_stay(make_net: Callable[[str], nn.Module], x: Tensor) -> None:
    net = make_net("residual")
    outcome = prune_channels(net, example=x, round_to=4, skip=["1", "5"])
    assert outcome.model[1].conv1.out_channels == 16
    assert outcome.model[1].conv2.out_channels == 16, "and with it all that it is added to"
    assert outcome.model[2].conv2.out_channels == 16
    assert outcome.model[2].conv1.out_channels < 16
    assert dict(outcome.kept)["5"] == "named in skip"


def test_flags_survive(make_net: Callable[[str], nn.Module], x: Tensor) -> None:
    net = make_net("plain").train()
    net[1].eval()
    net[0].weight.requires_grad_(False)
    model = prune_channels(net, example=x, round_to=4).model
    assert [m.training for m in model.modules()] == [m.training for m in net.modules()]
    assert {n for n, p in model.named_parameters() if not p.requires_grad} == {"0.weight"}
    assert all(p.grad is None for p in model.parameters())


def test_random_depends_on_the_seed_only(make_net: Callable[[str], nn.Module], x: Tensor) -> None:
    net = make_net("plain")
    models = []
    for torch_seed, seed in ((0, 1), (5, 1), (0, 2)):
        torch.manual_seed(torch_seed)
        models.append(prune_channels(net, example=x, importance="random", round_to=4, scope="layer", seed=seed).model)
    assert torch.equal(models[0][0].weight, models[1][0].weight)
    assert not torch.equal(models[0][0].weight, models[2][0].weight)


def test_works_where_gradients_are_off(make_net: Callable[[str], nn.Module], x: Tensor) -> None:
    with torch.no_grad():
        outcome = prune_channels(make_net("plain"), example=x, round_to=4)
    assert outcome.changed


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("active_resnet20(width=0.25)", r"\(ActiveConv2d\)"), ("deformable_resnet20(width=0.25)", r"\(DeformableConv2d\)"),
        ("bilinear_cnn(width=0.0625) | fit_input(size=32)", r"\(BilinearPool\)"),
        ("resnet_in_resnet(width=0.0625)", "torch-pruning cannot follow the channels of this net"),
    ],
)  # fmt: skip
def test_nets_that_cannot_be_followed_are_refused(recipe: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        prune_channels(create(recipe, num_classes=4, seed=0), example=torch.zeros(2, 3, 32, 32))


def test_usage(make_net: Callable[[str], nn.Module], x: Tensor) -> None:
    net = make_net("plain")
    for wrong in ({"ratio": 0.0}, {"ratio": 1.0}, {"round_to": 0}):
        with pytest.raises(UsageError, match="0 < ratio < 1 and round_to >= 1"):
            prune_channels(net, example=x, **wrong)
    with pytest.raises(UsageError, match="unknown importance 'l3'; did you mean l"):
        prune_channels(net, example=x, importance="l3")
    with pytest.raises(UsageError, match="unknown scope 'layers'; did you mean layer"):
        prune_channels(net, example=x, scope="layers")
    with pytest.raises(UsageError, match="needs batches"):
        prune_channels(net, example=x, importance="taylor")
    with pytest.raises(UsageError, match="batches gave none"):
        prune_channels(net, example=x, importance="taylor", batches=lambda: iter(()))
    with pytest.raises(UsageError, match=r"does not run on the example \(2, 1, 28, 28\)"):
        prune_channels(net, example=x[:, :1])
    with pytest.raises(UsageError, match="unknown module in skip"):
        edit(net, "prune_channels(skip=['nowhere'])", example=x)
