"""Dropout, spatial dropout, DropConnect, backdrop, stochastic depth: what is dropped, how often, where, and what stays."""

import pytest
import torch
from torch import Tensor, nn

from danlu.errors import UsageError
from danlu.nn import StochasticDepth
from danlu.train.regularizers import regularizers
from danlu.train.regularizers._places import places
from danlu.zoo import create


def caught(model: nn.Module, layer: nn.Module, x: Tensor) -> Tensor:
    """What the layer sees, behind every hook that is on it."""
    seen: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(x)
    handle.remove()
    return seen[0].detach()


def vgg() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(96, 8),
        nn.ReLU(), nn.Linear(8, 5),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("at", "names"),
    [("last", ["7"]), ("linear", ["5", "7"]), ("conv", ["2"]), ("all", ["2", "5", "7"]), ("0", ["0"]), ("[13]", ["1", "3"])],
)
def test_places_of_a_plain_net(at: str, names: list[str]) -> None:
    model = vgg()
    assert places(model, at, "dropout") == [model.get_submodule(name) for name in names]


def test_the_squeezes_of_attention_are_no_fully_connected_layers_and_an_mlp_has_only_such() -> None:
    net = create("resnet20 | se", num_classes=10)
    assert [type(layer) for layer in places(net, "linear", "dropout")] == [nn.Linear]
    assert places(net, "linear", "dropout") == places(net, "last", "dropout")
    mlp = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    assert places(mlp, "linear", "dropout") == [mlp[2], mlp[4]]
    assert places(nn.Linear(4, 2), "last", "dropout")


@pytest.mark.parametrize("at", ["conv", "nosuch.*"])
def test_a_place_that_is_not_there_is_told(at: str) -> None:
    with pytest.raises(UsageError, match="at="):
        regularizers["dropout"].build(at=at).prepare(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)))


def test_dropout_drops_single_values_and_keeps_the_mean() -> None:
    model = nn.Sequential(nn.Identity(), nn.Linear(50, 2))
    regularizers["dropout"].build(rate=0.3).prepare(model.train())
    x = torch.rand(400, 50) + 0.5
    seen = caught(model, model[1], x)
    gone = seen == 0
    assert float(gone.float().mean()) == pytest.approx(0.3, abs=5 * (0.21 / x.numel()) ** 0.5)
    assert torch.allclose(seen[~gone], (x / 0.7)[~gone])
    assert float(gone.float().mean(0).std()) < 0.05  # no column or row is dropped as a whole
    assert float(gone.float().mean(1).std()) < 0.1


def test_spatial_dropout_drops_whole_maps() -> None:
    model = vgg().train()
    regularizers["spatial_dropout"].build(rate=0.25).prepare(model)
    x = torch.randn(300, 3, 4, 4)
    whole = model[1](model[0](x)).detach()
    seen = caught(model, model[2], x)
    kept = (seen - whole / 0.75).abs().amax((2, 3)) < 1e-5
    gone = seen.abs().amax((2, 3)) == 0
    alive = whole.amax((2, 3)) > 0
    assert bool((kept | gone).all())
    assert float(gone[alive].float().mean()) == pytest.approx(0.25, abs=0.05)


def test_dropconnect_drops_single_weights_not_units() -> None:
    layer = nn.Linear(30, 40, bias=False).train()
    model = nn.Sequential(nn.Identity(), layer)
    regularizer = regularizers["dropconnect"].build(rate=0.4)
    regularizer.prepare(model)
    used = model(torch.eye(30)).detach().T  # the weights that the batch saw
    gone = used == 0
    assert float(gone.float().mean()) == pytest.approx(0.4, abs=0.07)
    assert torch.allclose(used[~gone], (layer.weight / 0.6)[~gone])
    assert not gone.all(0).any()
    model(torch.eye(30)).sum().backward()
    mask = layer.weight.grad != 0
    assert torch.allclose(layer.weight.grad[mask], torch.tensor(1 / 0.6))
    assert 0.5 < float(mask.float().mean()) < 0.7
    assert isinstance(layer.weight, nn.Parameter)
    regularizer.restore(model)
    assert torch.allclose(model(torch.eye(30)).T, layer.weight)


def test_dropconnect_gives_the_weight_back_when_a_forward_fails() -> None:
    model = vgg().train()
    regularizers["dropconnect"].build(at="conv").prepare(model)
    with pytest.raises(RuntimeError):
        model[2](torch.randn(1, 3, 4, 4))
    assert isinstance(model[2].weight, nn.Parameter)
    with pytest.raises(UsageError, match="no convolution or linear"):
        regularizers["dropconnect"].build(at="1").prepare(model)


@pytest.mark.parametrize("per", ["image", "pixel"])
def test_backdrop_drops_on_the_way_back_alone(per: str) -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(2, 3, 1, bias=False), nn.Conv2d(3, 2, 1, bias=False)).double().train()
    x = torch.randn(40, 2, 5, 5, dtype=torch.float64, requires_grad=True)
    plain = model(x)
    whole, expected = torch.autograd.grad(plain.square().sum(), [x, model[1].weight])
    regularizers["backdrop"].build(rate=0.3, per=per).prepare(model)
    y = model(x)
    assert torch.equal(y, plain)
    weight = model[1].weight
    found, above = torch.autograd.grad(y.square().sum(), [x, weight])
    assert torch.allclose(above, expected)  # the layer behind the mask learns from everything
    size = (40, 1, 1, 1) if per == "image" else (40, 1, 5, 5)
    mask = (found / whole).mean(1, keepdim=True)
    mask = mask[:, :, :1, :1] if per == "image" else mask
    assert mask.shape == size
    assert torch.allclose(found, mask * whole)
    kept = mask > 0
    assert float(kept.double().mean()) == pytest.approx(0.7, abs=0.2 if per == "image" else 0.06)
    assert torch.allclose(mask[kept], torch.tensor(mask.numel() / float(kept.sum()), dtype=torch.float64))


def test_backdrop_never_drops_everything() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True), nn.Linear(2, 1)).train()
    regularizers["backdrop"].build(rate=0.99, at="1").prepare(model)  # in front of a layer that works in place, too
    x = torch.ones(4, 2)
    with torch.no_grad():
        model[0].bias.fill_(5.0)
    for seed in range(20):
        torch.manual_seed(seed)
        model.zero_grad()
        model(x).mean().backward()
        one = model[0].bias.grad  # of one image, four times as strong: that of the mean
        assert torch.allclose(one, model[2].weight[0], atol=1e-6)


@pytest.mark.parametrize(("decay", "expected"), [("linear", [0.8, 0.6, 0.4]), ("uniform", [0.4, 0.4, 0.4])])
def test_stochastic_depth_hangs_on_the_branches(decay: str, expected: list[float]) -> None:
    torch.manual_seed(0)
    model = create("resnet20", num_classes=10)
    regularizer = regularizers["stochastic_depth"].build(survival=0.4, decay=decay)
    regularizer.prepare(model.train())
    hooked = [name for name, module in model.named_modules() if module._forward_hooks]
    assert len(hooked) == 9
    assert not any(isinstance(module, StochasticDepth) for module in model.modules())
    for block in range(3):
        layer = model.get_submodule(hooked[3 * block + 2])
        nn.init.constant_(layer.weight, 0.0)
        nn.init.constant_(layer.bias, 1.0)
        with torch.no_grad():
            out = layer(torch.randn(4000, layer.num_features, 1, 1))[:, 0, 0, 0]
        survival = expected[block]
        share = survival if decay == "uniform" else 1 - (3 * block + 3) / 9 * 0.6
        assert float((out > 0).float().mean()) == pytest.approx(share, abs=5 * (0.25 / 4000) ** 0.5)
        assert torch.allclose(out[out > 0], torch.tensor(1 / share))


def test_stochastic_depth_needs_a_residual_branch() -> None:
    with pytest.raises(UsageError, match="no residual branch"):
        regularizers["stochastic_depth"].build().prepare(vgg())


@pytest.mark.parametrize("name", ["dropout", "spatial_dropout", "dropconnect", "backdrop"])
def test_a_layer_that_is_called_twice_is_hooked_once(name: str) -> None:
    shared = nn.Linear(6, 6)
    model = nn.Sequential(nn.Linear(6, 6), shared, shared).train()
    regularizer = regularizers[name].build(at="all")
    regularizer.prepare(model)
    assert len(shared._forward_pre_hooks) == 1
    model(torch.randn(3, 6)).sum().backward()
    assert isinstance(shared.weight, nn.Parameter)
    regularizer.restore(model)
    assert not shared._forward_pre_hooks
