"""low_rank: against closed forms (Eckart-Young, the HOSVD bound), at full rank against the layer, and on all it must keep."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from danlu.cost import profile
from danlu.edits import edit
from danlu.edits._factor import Channel, Pair, Sites, Spatial
from danlu.edits.low_rank import low_rank
from danlu.encodings import Mask, Penalty, encode
from danlu.errors import UsageError
from danlu.zoo import create

AT = Sites()


def as_conv(net: nn.Sequential, shape: torch.Size) -> Tensor:
    """The weight that a row of convolutions amounts to, from its answer to an impulse at every input. Shape: [O, I, kh, kw]."""
    into = shape[1]
    plain = copy.deepcopy(net)
    for part in plain:
        part.stride, part.dilation = (1, 1), (1, 1)
        part.padding = tuple(k - 1 for k in part.kernel_size)
        part.bias = None
    answers = plain(torch.eye(into, dtype=plain[0].weight.dtype).view(into, into, 1, 1))
    return answers.transpose(0, 1).flip(2, 3)  # a convolution correlates: its answer to an impulse is the flipped kernel


def low(*shape: int, rank: int, seed: int = 0) -> nn.Conv2d:
    """A convolution in float64 whose spatial matrix has this rank."""
    torch.manual_seed(seed)
    out, into, high, wide = shape
    conv = nn.Conv2d(into, out, (high, wide), padding=(high // 2, wide // 2)).double()
    with torch.no_grad():
        conv.weight.copy_(torch.einsum("riy,rox->oiyx", torch.randn(rank, into, high), torch.randn(rank, out, wide)))
    return conv


@settings(deadline=None, max_examples=20)
@given(
    out=st.integers(1, 9), into=st.integers(1, 9), kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)), padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.integers(1, 2), bias=st.booleans(), mode=st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_full_rank_is_the_layer(
    out: int, into: int, kernel: Any, stride: Any, padding: Any, dilation: int, bias: bool, mode: str, seed: int
) -> None:
    torch.manual_seed(seed)
    conv = nn.Conv2d(into, out, kernel, stride, padding, dilation, bias=bias, padding_mode=mode)
    x = torch.randn(2, into, 11, 12)
    ways = [Channel(conv, AT), Spatial(conv, AT), *([Pair(conv)] if kernel == (1, 1) else [])]
    for way in ways:
        net = way.build(*way.full)
        torch.testing.assert_close(net(x), conv(x), rtol=1e-5, atol=1e-5)
        assert way.energy.flatten()[-1].item() == pytest.approx(1)


@pytest.mark.parametrize("kernel", [2, 3, 4])
def test_same_padding_is_kept(kernel: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(5, 6, kernel, padding="same", dilation=2)
    x = torch.randn(1, 5, 9, 9)
    for way in (Channel(conv, AT), Spatial(conv, AT)):
        torch.testing.assert_close(way.build(*way.full)(x), conv(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dims", [1, 3])
def test_other_dimensions(dims: int) -> None:
    torch.manual_seed(0)
    conv = [nn.Conv1d, nn.Conv3d][dims // 2](6, 8, 3, stride=2, padding=1).double()
    x = torch.randn(2, 6, *[7] * dims, dtype=torch.float64)
    way = Channel(conv, AT)
    torch.testing.assert_close(way.build(*way.full)(x), conv(x), rtol=1e-10, atol=1e-10)
    cut = way.build(4, 4)
    assert [tuple(part.weight.shape[:2]) for part in cut] == [(4, 6), (4, 4), (8, 4)]
    assert cut(x).shape == conv(x).shape


@settings(deadline=None, max_examples=30)
@given(out=st.integers(1, 20), into=st.integers(1, 20), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_a_linear_pair_errs_by_eckart_young(out: int, into: int, share: float, seed: int) -> None:
    torch.manual_seed(seed)
    layer = nn.Linear(into, out).double()
    rank = max(1, round(share * min(out, into)))
    values = torch.linalg.svdvals(layer.weight.detach())
    pair = Pair(layer)
    first, last = pair.build(rank)
    assert (first.bias, last.bias.tolist()) == (None, layer.bias.tolist())
    error = (last.weight @ first.weight - layer.weight).square().sum().item()
    assert error == pytest.approx(values[rank:].square().sum().item(), abs=1e-12)
    assert 1 - pair.energy[rank - 1].item() == pytest.approx(error / values.square().sum().item(), abs=1e-12)
    torch.testing.assert_close(first.weight.norm(dim=1), last.weight.norm(dim=0), msg="both train alike")


@pytest.mark.parametrize("rank", [1, 3, 8, 17])
def test_a_spatial_pair_is_optimal(rank: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 9, (3, 5)).double()
    matrix = torch.stack([conv.weight[o, :, :, x].flatten() for o in range(9) for x in range(5)])  # [O kw, I kh]
    values = torch.linalg.svdvals(matrix.detach())
    way = Spatial(conv, AT)
    got = as_conv(way.build(rank), conv.weight.shape)
    assert (got - conv.weight).square().sum().item() == pytest.approx(values[rank:].square().sum().item())
    assert 1 - way.energy[rank - 1].item() == pytest.approx((values[rank:].square().sum() / values.square().sum()).item())


@pytest.mark.parametrize(("r1", "r2"), [(1, 1), (3, 2), (5, 7), (8, 4), (3, 10)])
def test_tucker_errs_within_the_bound_of_hosvd(r1: int, r2: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 10, 3).double()
    weight = conv.weight.detach()
    of_in = torch.linalg.svdvals(weight.transpose(0, 1).flatten(1)).square()
    of_out = torch.linalg.svdvals(weight.flatten(1)).square()
    way = Channel(conv, AT)
    error = (as_conv(way.build(r1, r2), weight.shape) - weight).square().sum().item()
    assert error <= of_in[r1:].sum() + of_out[r2:].sum() + 1e-12
    assert error >= max(of_in[r1:].sum(), of_out[r2:].sum()) - 1e-12, "no projection of one side does better than its SVD"
    assert 1 - error / weight.square().sum().item() >= way.energy[r1 - 1, r2 - 1].item() - 1e-12, "HOOI only gains"
    if r1 == 8:
        assert error == pytest.approx(of_out[r2:].sum().item()), "with one side whole it is a plain SVD"


def test_hooi_finds_what_hosvd_misses() -> None:
    torch.manual_seed(3)
    conv = nn.Conv2d(12, 12, 3).double()
    way = Channel(conv, AT)
    of_in, of_out = way.bases(3, 3)
    gained = way.core(of_in, of_out).square().sum() / conv.weight.square().sum()
    assert gained > way.energy[2, 2] + 1e-3
    torch.testing.assert_close(of_in.T @ of_in, torch.eye(3, dtype=torch.float64))


def test_a_whole_side_needs_no_convolution() -> None:
    conv = nn.Conv2d(3, 16, 3)
    assert [tuple(part.weight.shape) for part in Channel(conv, AT).build(3, 8)] == [(8, 3, 3, 3), (16, 8, 1, 1)]
    assert Channel(conv, AT).params[2, 7] == 8 * 27 + 16 * 8


@pytest.mark.parametrize("energy", [0.5, 0.9, 1.0])
@pytest.mark.parametrize("method", ["channel", "spatial"])
def test_an_energy_takes_the_fewest_macs_that_keep_it(energy: float, method: str) -> None:
    conv = low(32, 32, 3, 3, rank=20)
    outcome = low_rank(nn.Sequential(conv), energy=energy, method=method, round_to=1, min_saving=0)
    if method == "channel" and energy == 1:  # a low spatial rank is no low channel rank
        assert "parameters, the layer 9,216" in outcome.kept[0][1]
        return
    got = as_conv(outcome.model[0], conv.weight.shape)
    kept = 1 - ((got - conv.weight).square().sum() / conv.weight.square().sum()).item()
    assert kept >= energy - 1e-12
    if method == "spatial":
        values = torch.linalg.svdvals(conv.weight.detach().permute(0, 3, 1, 2).reshape(96, 96)).square()
        needed = next(r for r in range(1, 97) if values[:r].sum() >= (energy - 1e-12) * values.sum())
        assert outcome.model[0][0].out_channels == needed
    else:
        r1, r2 = outcome.model[0][1].in_channels, outcome.model[0][1].out_channels
        way = Channel(conv, AT)
        macs = 32 * r1 + 9 * r1 * r2 + 32 * r2
        cheaper = [
            (a, b) for a in range(1, 33) for b in range(1, 33)
            if (a < 32) * 32 * a + 9 * a * b + (b < 32) * 32 * b < macs and way.energy[a - 1, b - 1] >= energy
        ]  # fmt: skip
        assert cheaper == []


@pytest.mark.parametrize("ratio", [0.2, 0.5])
def test_a_ratio_bounds_the_parameters_of_every_layer(ratio: float) -> None:
    net = create("resnet20", num_classes=10, seed=0)
    outcome = low_rank(net, ratio=ratio, round_to=1, skip=["conv1", "fc"])
    for change in outcome.changed:
        new = sum(part.weight.numel() for part in outcome.model.get_submodule(change.name))
        assert 0.6 * ratio < new / net.get_submodule(change.name).weight.numel() <= ratio


def test_ranks_are_multiples_or_given() -> None:
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))
    assert low_rank(net, ratio=0.6, round_to=8).model[0][0].out_features == 16  # 19 would fit
    assert low_rank(net, ratio=0.6, round_to=1).model[0][0].out_features == 19
    outcome = low_rank(net, rank={"2": 5})
    assert outcome.model[2][0].out_features == 5
    assert outcome.kept == [("0", "no rank is given for it")]


def test_reasons_count_what_the_pair_costs() -> None:
    assert low_rank(nn.Sequential(nn.Linear(64, 72)), rank=40).kept == [
        ("0", "rank 40 pair costs 5,440 parameters, the layer 4,608")
    ]
    assert low_rank(nn.Sequential(nn.Linear(64, 72)), rank=32, min_saving=0.1).kept == [
        ("0", "rank 32 pair costs 4,352 parameters, the layer 4,608, which saves less than 10%")
    ]
    assert low_rank(nn.Sequential(nn.Conv2d(16, 16, 3, stride=2)), rank=8, method="channel").kept == []
    (kept,) = low_rank(nn.Sequential(nn.Conv2d(16, 16, 3, stride=4)), rank=8, method="channel").kept
    assert kept == ("0", "rank 8 and 8 Tucker-2 costs 2,752 MACs for a position of the output, the layer 2,304")
    assert "no rank that is a multiple of 8 has 50%" in low_rank(nn.Sequential(nn.Linear(9, 9)), ratio=0.5).kept[0][1]


def test_macs_are_those_of_the_profile() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 24, 5, stride=(2, 1), padding=(0, 1))
    net, x = nn.Sequential(conv), torch.zeros(1, 16, 12, 17)
    spots = profile(net, (16, 12, 17)).macs / conv.weight.numel()
    for method, kind, ranks in (("channel", Channel, (8, 8)), ("spatial", Spatial, (8,))):
        model = low_rank(net, rank=8, method=method, example=x, min_saving=0).model
        places = Sites(12 * 17 / spots, 4 * 17 / spots)  # 4 x 15 positions
        expected = kind(conv, places).macs[tuple(r - 1 for r in ranks)].item()
        assert profile(model, (16, 12, 17)).macs == round(expected * spots)


def test_an_example_decides_where_sizes_matter() -> None:
    net = nn.Sequential(nn.Conv2d(32, 32, 7))  # on 7x7 pixels the first 1x1 runs at 49 places, the layer at one
    assert low_rank(net, rank=24, method="channel").changed
    (kept,) = low_rank(net, rank=24, method="channel", example=torch.zeros(1, 32, 7, 7)).kept
    assert kept == ("0", "rank 24 and 24 Tucker-2 costs 66,624 MACs for a position of the output, the layer 50,176")


def test_auto_takes_the_cheaper_way() -> None:
    separable = nn.Sequential(low(32, 32, 3, 3, rank=4))
    assert "spatial pair of rank 4: 100.0%" in low_rank(separable, energy=1.0, round_to=1).changed[0].after
    torch.manual_seed(0)
    thin = nn.Conv2d(32, 32, 3).double()
    with torch.no_grad():
        thin.weight.copy_(torch.einsum("oikl,ip->opkl", thin.weight[:, :4], torch.randn(4, 32).double()))
    assert "Tucker-2 of rank 4 and 32" in low_rank(nn.Sequential(thin), energy=1.0, round_to=1).changed[0].after


class Reads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) + self.fc.weight.sum()


def tied() -> nn.Module:
    net = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
    net[1].weight = net[0].weight
    return net


def hooked() -> nn.Module:
    layer = nn.Linear(64, 64)
    layer.register_forward_hook(lambda module, inputs, output: output.abs())
    return nn.Sequential(layer)


def masked() -> nn.Module:
    layer = nn.Linear(64, 64)
    encode(layer, "weight", Mask(sparsity=0.5, shape=(64, 64)))
    return nn.Sequential(layer)


def filled(value: float) -> nn.Module:
    layer = nn.Linear(64, 64)
    nn.init.constant_(layer.weight, value)
    return nn.Sequential(layer)


class Own(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).abs()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Reads, "reads its weight from outside"),
        (tied, "shared with another layer"),
        (hooked, "a hook watches it"),
        (masked, "a weight is parametrised: bake it first"),
        (lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(64, 64))), "a weight is parametrised: bake it first"),
        (lambda: nn.Sequential(Own(64, 64)), "it is a Own"),
        (lambda: nn.TransformerEncoderLayer(64, 2, 128), "reads its weight itself"),
        (lambda: nn.Sequential(nn.ConvTranspose2d(64, 64, 3)), "transposed"),
        (lambda: nn.Sequential(nn.Conv2d(64, 64, 3, groups=4)), "its 4 groups are thin already"),
        (lambda: nn.Sequential(nn.Conv2d(64, 64, 3, groups=64)), "depthwise"),
        (lambda: filled(0.0), "all zeros"),
        (lambda: filled(float("nan")), "not finite"),
    ],
)
def test_keeps_what_it_cannot_factorise(make: Any, reason: str) -> None:
    outcome = low_rank(make(), rank=4)
    assert outcome.changed == []
    assert outcome.kept
    assert all(reason in why for _, why in outcome.kept), outcome.kept


def test_spatial_needs_two_directions() -> None:
    (kept,) = low_rank(nn.Sequential(nn.Conv2d(64, 64, (1, 3))), rank=4, method="spatial").kept
    assert kept == ("0", "its kernel 1x3 has no two directions to split")


def test_a_penalty_ends_where_it_is_factorised() -> None:
    net = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
    for layer in net:
        encode(layer, "weight", Penalty(norm="group", strength=0.1))
    outcome = low_rank(net, rank=4, skip=["1"])
    assert [change.name for change in outcome.changed] == ["0"]
    assert {type(part) for part in outcome.model[0]} == {nn.Linear}
    assert hasattr(outcome.model[1], "parametrizations")
    assert net(torch.zeros(1, 64)).shape == outcome.model(torch.zeros(1, 64)).shape


def test_flags_and_types_are_those_of_the_layer() -> None:
    net = nn.Sequential(nn.Conv2d(32, 32, 3), nn.Conv2d(32, 32, 3)).to(torch.bfloat16)
    net[0].requires_grad_(False)
    net[1].bias.requires_grad_(False)
    net[1].eval()
    model = low_rank(net, rank=4).model
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert not any(p.requires_grad for p in model[0].parameters())
    assert [p.requires_grad for p in model[1].parameters()] == [True] * (len(list(model[1].parameters())) - 1) + [False]
    assert [m.training for m in model.modules()].count(False) == 1 + len(model[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"energy": 0.5, "rank": 3}, "one of energy, rank and ratio, got energy=0.5 and rank=3"),
        ({"energy": 0.0}, "energy lies in"),
        ({"energy": 1.1}, "energy lies in"),
        ({"ratio": 1.0}, "ratio lies in"),
        ({"rank": 0}, "whole number above zero"),
        ({"rank": {"0": True}}, "whole number above zero"),
        ({"rank": {"fc1": 4}}, "unknown layer in rank 'fc1'"),
        ({"round_to": 0}, "round_to >= 1"),
        ({"min_saving": 1.0}, "min_saving < 1"),
        ({"method": "both"}, "both"),
        ({"example": torch.zeros(1, 3)}, "does not run on the example"),
    ],
)
def test_says_what_is_wrong(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        low_rank(nn.Sequential(nn.Linear(8, 8)), **options)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet20", (3, 32, 32)),
        ("lenet5_caffe", (1, 28, 28)),
        ("vgg16(width=0.125) | fit_input(size=32)", (3, 32, 32)),
    ],
)
def test_composes_on_nets_of_the_zoo(name: str, shape: tuple[int, int, int]) -> None:
    net = create(name, num_classes=10, in_channels=shape[0], seed=0).eval()
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_var.uniform_(0.5, 2)
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    exact = edit(net, "low_rank(energy=1.0, round_to=1, min_saving=0.0)", example=x).model
    torch.testing.assert_close(exact(x), net(x), rtol=1e-4, atol=1e-4)
    cut = edit(net, "low_rank(ratio=0.5)", example=x)
    assert len(cut.changed) >= 2
    assert profile(cut.model, shape).macs < 0.75 * profile(net, shape).macs
    assert cut.params[1] < 0.6 * cut.params[0]
    folded = edit(cut.model, "fold_bn").model
    torch.testing.assert_close(folded(x), cut.model(x), rtol=1e-4, atol=1e-4)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    both = edit(net, "fold_bn | low_rank(ratio=0.5) | prune_channels(ratio=0.5, scope='layer')", example=x)
    assert both.params[1] < cut.params[1]
    assert both.model(x).shape == (2, 10)
