"""The plain nets against their papers: maps, connections and layers, counted by hand or by loops."""

import itertools
import math
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from danlu.errors import UsageError
from danlu.zoo import models
from danlu.zoo.alexnet import response_norm
from danlu.zoo.bilinear_cnn import SignedRoot, UnitLength
from danlu.zoo.neocognitron import Blur, CLayer, SLayer


def outputs(net: nn.Module, x: Tensor, kinds: tuple[type[nn.Module], ...]) -> list[tuple[nn.Module, tuple[int, ...]]]:
    """The layers of these kinds in running order, with the shape [C, H, W] or [F] each gives."""
    found: list[tuple[nn.Module, tuple[int, ...]]] = []
    hooks = [
        layer.register_forward_hook(lambda layer, inputs, y: found.append((layer, tuple(y.shape[1:]))))
        for layer in net.modules()
        if isinstance(layer, kinds)
    ]
    with torch.no_grad():
        net.eval()(x)
    for hook in hooks:
        hook.remove()
    return found


# Sides of the maps behind every convolution and pool, in running order, as the papers have them.
SIDES = {
    "alexnet": [55, 27, 27, 13, 13, 13, 13, 6],
    "alexnet_groups": [55, 27, 27, 13, 13, 13, 13, 6],
    "zfnet": [110, 55, 26, 13, 13, 13, 13, 6],
    "nin": [54, 54, 54, 27, 27, 27, 27, 13, 13, 13, 13, 6, 6, 6, 6],
    "all_cnn_a": [32, 16, 16, 8, 6, 6, 6],
    "all_cnn_c": [32, 32, 16, 16, 16, 8, 6, 6, 6],
    "maxout_net": [33, 16, 15, 7, 9, 5],
    "bilinear_cnn": [448, 448, 224, 224, 224, 112, 112, 112, 112, 56, 56, 56, 56, 28, 28, 28, 28],
}


@pytest.mark.parametrize("name", SIDES)
def test_the_maps_are_those_of_the_paper(name: str) -> None:
    with torch.device("meta"):
        net = models[name].build()
        x = torch.empty(1, *models[name].facts["input"])
    assert [shape[-1] for _, shape in outputs(net, x, (nn.Conv2d, nn.MaxPool2d))] == SIDES[name]


def test_lenet1_has_the_units_connections_and_weights_of_its_paper() -> None:
    # LeCun et al. 1989: "the network has 4635 units, 98442 connections, and 2578 independent parameters".
    net = models["lenet1"].build()
    units, connections = 28 * 28 + 1, 0  # the pixels, and the unit that biases hang on
    for layer, shape in outputs(net, torch.zeros(1, 1, 28, 28), (nn.Conv2d, nn.Linear)):
        weights = layer.weight[0].numel() if layer.weight[0].numel() > 1 else 4  # one weight for the 2x2 field of a mean
        units += math.prod(shape)
        connections += math.prod(shape) * (weights + 1)
    assert (units, connections) == (4635, 98442)
    assert sum(p.numel() for p in net.parameters()) == 2578


def test_lenet1_is_two_nets_up_to_its_last_layer() -> None:
    # Table 1 of the paper: of every three maps of H3 one sees one map of H2, two see two, all of one half.
    net = models["lenet1"].build()
    x = torch.randn(1, 4, 12, 12, requires_grad=True)
    seen = []
    for channel in net.h3(x)[0]:
        (gradient,) = torch.autograd.grad(channel.sum(), x, retain_graph=True)
        seen.append(tuple(gradient[0].abs().sum((1, 2)).nonzero().flatten().tolist()))
    assert sorted(seen) == sorted([(0,), (1,), (2,), (3,), *[(0, 1)] * 4, *[(2, 3)] * 4])


@pytest.mark.parametrize("width", [0.125, 0.25, 0.5, 0.75, 1.25, 1.5, 2, 3])
def test_lenet1_can_be_of_any_width(width: float) -> None:
    assert models["lenet1"].build(width=width)(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_tdnn_has_the_connections_of_its_paper() -> None:
    net = models["tdnn"].build()
    shapes = outputs(net, torch.zeros(1, 1, 16, 15), (nn.Conv2d,))
    assert [shape for _, shape in shapes] == [(8, 1, 13), (3, 1, 9), (3, 1, 1)]
    delays = sum(math.prod(shape) * (layer.weight[0].numel() + 1) for layer, shape in shapes[:2])
    assert delays + 3 * (9 + 1) == 6233  # a last unit sees the nine moments of its own unit below


def test_tdnn_by_loops_over_time() -> None:
    torch.manual_seed(0)
    net = models["tdnn"].build().eval()
    x = torch.randn(1, 1, 16, 15)
    frames = x[0, 0].T  # 15 moments of 16 bands
    hidden = torch.stack(
        [torch.sigmoid((net.hidden1.weight[:, 0] * frames[t : t + 3].T).sum((1, 2)) + net.hidden1.bias) for t in range(13)]
    )
    units = torch.stack(
        [torch.sigmoid((net.hidden2.weight[:, :, 0] * hidden[t : t + 5].T).sum((1, 2)) + net.hidden2.bias) for t in range(9)]
    )
    torch.testing.assert_close(net(x)[0], units.mean(0) * net.output.weight.flatten() + net.output.bias)


def test_response_norm_by_the_formula_of_the_paper() -> None:
    x = 20 * torch.randn(2, 9, 3, 3)
    y = torch.empty_like(x)
    for c in range(9):
        around = x[:, max(0, c - 2) : c + 3].square().sum(1)
        y[:, c] = x[:, c] / (2 + 1e-4 * around) ** 0.75
    torch.testing.assert_close(response_norm()(x), y)


def test_the_halves_of_alexnet_meet_only_in_the_third_layer() -> None:
    net = models["alexnet_groups"].build(width=0.25)
    layers = [layer for layer in net.features if isinstance(layer, nn.Conv2d)]
    for i, layer in enumerate(layers[1:], start=2):
        x = torch.randn(1, layer.in_channels, 5, 5)
        changed = x.clone()
        changed[:, layer.in_channels // 2 :] += 1
        same = torch.equal(layer(x)[:, : layer.out_channels // 2], layer(changed)[:, : layer.out_channels // 2])
        assert same == (i != 3)


@pytest.mark.parametrize("name", ["vgg11", "vgg13", "vgg16", "vgg19"])
def test_the_number_of_a_vgg_counts_its_layers(name: str) -> None:
    with torch.device("meta"):
        plain, normed = models[name].build(), models[f"{name}_bn"].build()
    for net in (plain, normed):
        assert sum(isinstance(layer, nn.Conv2d | nn.Linear) for layer in net.modules()) == int(name[3:])
    norms = [layer for layer in normed.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(norms) == int(name[3:]) - 3
    added = sum(2 * norm.num_features for norm in norms)
    assert sum(p.numel() for p in normed.parameters()) == sum(p.numel() for p in plain.parameters()) + added


@pytest.mark.parametrize("kept", range(8))
def test_nin_keeps_the_first_cccp_layers(kept: int) -> None:
    with torch.device("meta"):
        net = models["nin"].build(cccp=kept)
    cccp = [name for name, layer in net.named_children() if isinstance(layer, nn.Conv2d) and name.startswith("cccp")]
    assert cccp == [f"cccp{i + 1}" for i in range(kept)]
    dropped = (96, 96, 256, 256, 384, 384, 1024)[kept:]
    params = sum(p.numel() for p in net.parameters())
    assert params == models["nin"].facts["params"] - sum(width * width + width for width in dropped)


@pytest.mark.parametrize("wrong", [-1, 8, 1.0, True, "all"])
def test_nin_refuses_other_numbers_of_cccp_layers(wrong: object) -> None:
    with pytest.raises(UsageError, match="0 to 7"):
        models["nin"].build(cccp=wrong)


@pytest.mark.parametrize("name", ["all_cnn_a", "all_cnn_b", "all_cnn_c"])
def test_the_forms_of_an_all_cnn_differ_as_in_the_paper(name: str) -> None:
    params, pools, macs = {}, {}, {}
    for down in ("conv", "stride", "pool", "convpool"):
        with torch.device("meta"):
            net = models[name].build(down=down)
            layers = outputs(net, torch.empty(1, 3, 32, 32), (nn.Conv2d, nn.MaxPool2d))
        assert [shape[-1] for _, shape in layers][-3:] == [6, 6, 6]
        pools[down] = sum(isinstance(layer, nn.MaxPool2d) for layer, _ in layers)
        params[down] = sum(p.numel() for p in net.parameters())
        macs[down] = sum(layer.weight[0].numel() * math.prod(shape) for layer, shape in layers if isinstance(layer, nn.Conv2d))
    assert pools == {"conv": 0, "stride": 0, "pool": 2, "convpool": 2}
    assert params["pool"] == params["stride"]
    assert params["conv"] == params["convpool"] == params["pool"] + 9 * (96**2 + 192**2) + 96 + 192
    assert macs["stride"] < macs["pool"] < macs["conv"] < macs["convpool"]


def test_an_all_cnn_names_the_ways_down() -> None:
    with pytest.raises(UsageError, match="did you mean convpool"):
        models["all_cnn_b"].build(down="convpol")


def test_the_allconv_nets_are_those_of_the_lab(reference, count: Callable[..., tuple[int, int]]) -> None:
    text = (reference / "lab.md").read_text()
    depths = re.findall(r"^\| (allconv\d(?:_\d)?)\b.*?\| ([\d,]+) \| ([\d.]+)([kM]) \| ([\d.]+)([MG]) \|$", text, re.M)
    assert len(depths) == 7
    units = {"k": 1e3, "M": 1e6, "G": 1e9}
    for name, strides, params, thousands, macs, millions in depths:
        with torch.device("meta"):
            net = models[name].build()
        convolutions = [layer for layer in net if isinstance(layer, nn.Conv2d)]
        assert [layer.stride[0] for layer in convolutions] == [int(stride) for stride in strides.split(",")]
        found = count(net, (3, 224, 224))
        wanted = float(params) * units[thousands], float(macs) * units[millions]
        assert found == (pytest.approx(wanted[0], rel=0.01), pytest.approx(wanted[1], rel=0.01))
    widths = re.findall(r"^\| (?:Allconv)?6_(\d)\b.*?\| ([\d,]+) \|", text, re.M)
    assert [number for number, _ in widths] == [str(i) for i in range(1, 9)]
    for number, channels in widths:
        with torch.device("meta"):
            net = models[f"allconv6_{number}"].build()
        convolutions = [layer for layer in net if isinstance(layer, nn.Conv2d)]
        assert [layer.out_channels for layer in convolutions] == [int(count) for count in channels.split(",")]
        assert {layer.stride for layer in convolutions} == {(2, 2)}


def test_the_planes_of_the_neocognitron() -> None:
    net = models["neocognitron"].build()
    shapes = [shape for _, shape in outputs(net, torch.zeros(1, 1, 19, 19), (SLayer, CLayer))]
    assert shapes == [
        (12, 19, 19), (8, 21, 21), (80, 21, 21), (33, 13, 13), (97, 13, 13), (64, 7, 7), (47, 3, 3)
    ]  # fmt: skip


def test_an_s_cell_by_loops() -> None:
    torch.manual_seed(0)
    layer = SLayer(2, 3, padding=0)
    x = torch.randn(1, 2, 6, 7)
    blur = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    y = layer(x)
    assert y.shape == (1, 3, 2, 3)
    for plane, row, column in itertools.product(range(3), range(2), range(3)):
        seen = x[0, :, row : row + 5, column : column + 5]
        excitation = (layer.excite.weight[plane] * seen).sum()
        inhibition = (blur[:, None] * blur * seen.square().mean(0)).sum().sqrt() * layer.inhibit.weight[plane].abs().sum()
        expected = torch.relu((1 + excitation) / (1 + inhibition) - 1)
        torch.testing.assert_close(y[0, plane, row, column], expected, rtol=1e-4, atol=1e-5)


def test_an_s_cell_sees_the_pattern_not_its_contrast() -> None:
    # Inhibition that divides: far above the constant 1 of both, contrast cancels.
    torch.manual_seed(0)
    layer, x = SLayer(2, 4), torch.randn(2, 2, 9, 9)
    torch.testing.assert_close(layer(1e5 * x), layer(2e5 * x), rtol=1e-3, atol=1e-3)
    assert (layer(x) > 0).any()


def test_a_c_cell_blurs_and_saturates() -> None:
    layer = CLayer(1, 1, stride=1, padding=2)
    nn.init.ones_(layer.join.weight)
    x = torch.zeros(1, 1, 9, 9)
    x[0, 0, 4, 4] = 256
    rows = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0])
    spread = rows[:, None] * rows
    torch.testing.assert_close(layer(x)[0, 0, 2:7, 2:7], spread / (1 + spread))
    assert layer(-x).abs().max() == 0
    torch.testing.assert_close(Blur()(torch.full((1, 3, 9, 9), 7.0))[:, :, 2:-2, 2:-2], torch.full((1, 3, 5, 5), 7.0))


def test_the_normalisation_of_bilinear_features() -> None:
    x = torch.tensor([[4.0, -9.0, 0.0, 0.25]])
    torch.testing.assert_close(SignedRoot()(x), torch.tensor([[2.0, -3.0, 0.0, 0.5]]), rtol=1e-4, atol=1e-5)
    zero = torch.zeros(1, requires_grad=True)
    SignedRoot()(zero).backward()
    assert zero.grad is not None
    assert zero.grad.isfinite().all()
    torch.testing.assert_close(UnitLength()(x).norm(dim=1), torch.ones(1))


def test_a_compact_bilinear_net_has_the_features_it_is_asked_for() -> None:
    with torch.device("meta"):
        net = models["compact_bilinear_cnn"].build(dim=1024)
    assert net.classifier.in_features == 1024
    saved = models["compact_bilinear_cnn"].facts["params"] - sum(p.numel() for p in net.parameters())
    assert saved == (8192 - 1024) * 200
