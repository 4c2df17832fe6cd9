"""merge_streamline: sizes against the layers it replaces, exact where the chain is linear, better than the old filters."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from danlu.edits import edit, rates_of
from danlu.edits._merge_fit import Sampler, solve
from danlu.edits._merge_shape import POOLS, padded, reborn, why_not_pool
from danlu.edits.merge_streamline import merge_streamline
from danlu.edits.surgery import Keep
from danlu.errors import UsageError
from danlu.nn import Concat


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def seeded(*layers: nn.Module, seed: int = 0) -> nn.Sequential:
    generator = torch.Generator().manual_seed(seed)
    net = nn.Sequential(*layers)
    for p in net.parameters():
        nn.init.normal_(p, std=0.3, generator=generator)
    return net


@settings(deadline=None, max_examples=150)
@given(
    kernel=st.integers(1, 5), stride=st.integers(1, 3), padding=st.integers(0, 2), dilation=st.integers(1, 2),
    pool=st.integers(1, 4), hop=st.integers(1, 3), pad=st.integers(0, 2), ceil=st.booleans(), size=st.integers(12, 31),
    wanted=st.sampled_from(["same", "cover", 7]),
)  # fmt: skip
def test_the_new_layer_has_as_many_outputs_for_every_size(
    kernel: int, stride: int, padding: int, dilation: int, pool: int, hop: int, pad: int, ceil: bool, size: int, wanted: Any
) -> None:
    assume(pad <= pool // 2)
    conv = nn.Conv2d(1, 1, kernel, stride=stride, padding=padding, dilation=dilation)
    layer = nn.MaxPool2d(pool, hop, pad, ceil_mode=ceil)
    assume(why_not_pool(layer) is None)
    made = reborn(conv, [layer], wanted)
    assume(not isinstance(made, Keep))
    x = noise(1, 1, size, size + 1)
    assume(min(conv(x).shape[2:]) >= pool)
    assert padded(*made)(x).shape == layer(conv(x)).shape


def test_two_pools_in_a_row() -> None:
    net = seeded(nn.Conv2d(2, 4, 3, padding=1), nn.MaxPool2d(3, 2, ceil_mode=True), nn.ReLU(), nn.AvgPool2d(2))
    assert "would skip inputs" in merge_streamline(net, init="copy").kept[0][1]
    outcome = merge_streamline(net, init="copy", kernel="cover")
    for size in (17, 18, 19, 20):
        assert outcome.model(noise(1, 2, size, size)).shape == net(noise(1, 2, size, size)).shape
    assert [type(layer).__name__ for layer in outcome.model] == ["Sequential", "Identity", "ReLU", "Identity"]
    assert outcome.model[0][1].stride == (4, 4)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_linear_chain_is_found_exactly(groups: int) -> None:
    # Convolution, norm in eval mode, mean: one convolution with a kernel of 3 + 1 at stride 2.
    net = seeded(nn.Conv2d(4, 8, 3, padding=1, groups=groups), nn.BatchNorm2d(8), nn.AvgPool2d(2)).eval()
    net[1].running_mean.normal_()
    outcome = merge_streamline(net, kernel="cover", example=noise(16, 4, 16, 16))
    x = noise(4, 4, 16, 16, seed=9)
    assert outcome.model[0].kernel_size == (4, 4)
    assert outcome.model[0].groups == groups
    torch.testing.assert_close(outcome.model(x), net(x), rtol=1e-2, atol=1e-2)
    # Against the closed form: the mean of four shifted copies of the folded filter.
    folded = net[0].weight * (net[1].weight / (net[1].running_var + net[1].eps).sqrt())[:, None, None, None]
    shifts = sum(nn.functional.pad(folded, (i, 1 - i, j, 1 - j)) for i in (0, 1) for j in (0, 1)) / 4
    torch.testing.assert_close(outcome.model[0].weight, shifts, rtol=2e-2, atol=5e-3)


def test_a_pool_that_drops_the_last_column_crops() -> None:
    # LeNet's way: no padding, 2x2 pooling. Every fourth of the convolution's outputs is what "copy" gives.
    net = seeded(nn.Conv2d(1, 4, 5), nn.MaxPool2d(2))
    model = merge_streamline(net, init="copy").model
    for size in (13, 14):
        x = noise(2, 1, size, size)
        assert model(x).shape == net(x).shape
        first = net[0](x)
        choices = [first[:, :, i::2, j::2][:, :, : model(x).shape[2], : model(x).shape[3]] for i in (0, 1) for j in (0, 1)]
        assert sum(choice.shape == model(x).shape and torch.allclose(choice, model(x), atol=1e-5) for choice in choices) == 1


def test_copy_is_the_strided_convolution() -> None:
    net = seeded(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    model = merge_streamline(net, init="copy").model
    x = noise(2, 3, 9, 9)
    torch.testing.assert_close(model(x), net[0](x).relu()[:, :, ::2, ::2])


@pytest.mark.parametrize("relu", [True, False])
def test_the_fit_recovers_the_layer_that_made_the_outputs(relu: bool) -> None:
    truth = nn.Conv2d(3, 6, 3, stride=2, padding=1)
    guess = nn.Conv2d(3, 6, 3, stride=2, padding=1)
    x = noise(8, 3, 16, 16)
    with torch.no_grad():
        y = truth(x).relu() if relu else truth(x)
        sampler, other = Sampler(4096, 1), Sampler(4096, 1)
        error = solve(guess, sampler.patches(x, guess, (1, 1, 1, 1)), other.rows(y), relu)
    assert error < 0.02
    torch.testing.assert_close(guess.weight, truth.weight, rtol=0.1, atol=0.02)


def test_patches_are_what_unfold_gives() -> None:
    conv = nn.Conv2d(2, 4, (3, 2), stride=(2, 1), dilation=(1, 2))
    x = noise(2, 2, 9, 8)
    got = Sampler(10_000, 1).patches(x, conv, (1, 2, 0, 1)).flatten(1)
    wanted = nn.functional.unfold(nn.functional.pad(x, (1, 2, 0, 1)), (3, 2), dilation=(1, 2), stride=(2, 1))
    rows = wanted.transpose(1, 2).flatten(0, 1)
    assert sorted(got.tolist()) == sorted(rows.tolist())


def test_least_squares_is_closer_than_the_old_filters_and_random_ones() -> None:
    net = seeded(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.LocalResponseNorm(5, alpha=0.5), nn.MaxPool2d(3, 2, ceil_mode=True)
    )
    shown, x = noise(32, 3, 16, 16), noise(16, 3, 16, 16, seed=5)
    with torch.no_grad():
        error = {
            init: float((merge_streamline(net, init=init, example=shown).model(x) - net(x)).norm() / net(x).norm())
            for init in ("least_squares", "copy", "standard")
        }
    assert error["least_squares"] < 0.6 * error["copy"]
    assert error["copy"] < error["standard"]


def test_what_becomes_of_each_layer() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.SiLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(), nn.Dropout(0.1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 9, 4),
    )  # fmt: skip
    outcome = merge_streamline(net, example=noise(8, 3, 16, 16))
    assert [type(layer).__name__ for layer in outcome.model] == [
        "Sequential", "Identity", "SiLU", "Identity", "Conv2d", "Identity", "ReLU", "Dropout", "MaxPool2d", "Flatten", "Linear",
    ]  # fmt: skip
    assert outcome.kept == [("8", "no convolution is before it that it could be merged into: it follows a Dropout")]
    assert [change.name for change in outcome.changed] == ["0", "1", "3", "5"]
    assert rates_of(outcome) == {"*": 0.0, "0.*": 10.0}
    assert rates_of(outcome, new=1, others=0.1) == {"*": 0.1, "0.*": 1}
    apart = merge_streamline(net, init="copy", bn=False, skip=["3"])
    assert apart.changed == []
    assert ("3", "named in skip") in apart.kept


def test_norms_outside_chains_are_folded_exactly() -> None:
    net = seeded(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval()
    outcome = merge_streamline(net, init="copy")
    torch.testing.assert_close(outcome.model(noise(2, 3, 8, 8)), net(noise(2, 3, 8, 8)))
    assert isinstance(outcome.model[1], nn.Identity)


def test_relu_can_be_merged_too() -> None:
    net = seeded(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    model = merge_streamline(net, relu="merge", example=noise(8, 3, 8, 8)).model
    assert isinstance(model[1], nn.Identity)
    y = model(noise(2, 3, 8, 8)) - model(torch.zeros(1, 3, 8, 8))
    z = model(-noise(2, 3, 8, 8)) - model(torch.zeros(1, 3, 8, 8))
    torch.testing.assert_close(y, -z)  # an affine map


def test_a_pool_over_branches_goes_into_each() -> None:
    branches = [nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()), nn.Sequential(nn.Conv2d(3, 6, 5, padding=2), nn.ReLU())]
    net = seeded(Concat(*branches), nn.MaxPool2d(3, 2, ceil_mode=True))
    outcome = merge_streamline(net, example=noise(16, 3, 16, 16))
    x = noise(4, 3, 15, 16, seed=3)
    assert outcome.model(x).shape == net(x).shape
    assert isinstance(outcome.model[1], nn.Identity)
    assert float(((outcome.model(x) - net(x)).norm() / net(x).norm()).detach()) < 0.5
    small = seeded(Concat(nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3, padding=1)), nn.MaxPool2d(3, 2, ceil_mode=True))
    assert merge_streamline(small, init="copy").kept == [
        ("1", "a 1x1 kernel would skip inputs at the pooling's stride; give a larger kernel")
    ]


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ((nn.Conv2d(3, 4, 3, padding_mode="reflect", padding=1), nn.MaxPool2d(2)), "pads with reflect"),
        ((nn.Conv2d(3, 4, 3), nn.MaxPool2d(2, 3, ceil_mode=True)), "depends on the size"),
        ((nn.MaxPool2d(2), nn.Conv2d(3, 4, 3)), "stands before a convolution"),
        ((nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.MaxPool2d(2)), "it follows a BatchNorm2d"),
    ],
)
def test_why_a_pool_stays(layers: tuple[nn.Module, ...], reason: str) -> None:
    outcome = merge_streamline(nn.Sequential(*layers), init="copy", bn=False)
    assert outcome.changed == []
    assert reason in outcome.kept[0][1]


def test_wrong_usage() -> None:
    net = seeded(nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2))
    for options, says in (
        ({}, "needs images"), ({"init": "fit"}, "init 'fit'"), ({"kernel": 0}, "kernel must be"),
        ({"kernel": "big"}, "kernel must be"),
        ({"relu": "drop"}, "relu 'drop'"), ({"example": torch.zeros(1, 4, 8, 8)}, "does not run on images"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=says):
            merge_streamline(net, **options)
    assert "no room" in merge_streamline(net, init="copy", kernel=2).kept[0][1]


def test_the_zoo_s_net_without_pools_and_norms() -> None:
    from danlu.zoo import create

    net = create("googlenet_lrn(width=0.125) | fit_input(size=32)", num_classes=5, seed=0)
    outcome = edit(net, "merge_branches(init='copy') | merge_streamline(init='copy')")
    left = [layer for layer in outcome.model.modules() if isinstance(layer, (*POOLS, nn.LocalResponseNorm))]
    assert left == []
    assert outcome.kept == []
    for size in (32, 37):
        assert outcome.model(noise(2, 3, size, size)).shape == (2, 5)
    assert all(torch.equal(a, b) for a, b in zip(copy.deepcopy(net).parameters(), net.parameters(), strict=True))
