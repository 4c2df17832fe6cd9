"""sk: which convolutions, what they become, the scale they start on, and why the others are kept."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from danlu.edits import edit
from danlu.edits.sk import sk
from danlu.errors import UsageError
from danlu.nn import SelectiveKernel
from danlu.zoo import create


def kernels(model: nn.Module) -> list[SelectiveKernel]:
    return [layer for layer in model.modules() if isinstance(layer, SelectiveKernel)]


def test_every_3x3_convolution_of_the_blocks() -> None:
    with torch.device("meta"):
        outcome = sk(create("resnet50", num_classes=10))
    assert len(outcome.changed) == 16
    assert all(change.name.endswith(".conv2") for change in outcome.changed)
    assert [layer.stride for layer in kernels(outcome.model)] == [1] * 3 + [2, 1, 1, 1] + [2, 1, 1, 1, 1, 1] + [2, 1, 1]
    assert {reason for _, reason in outcome.kept} == {
        "it is in no unit: the stem, or a part with a forward of its own",
        "its kernel is 1x1, not 3x3",
    }


def test_the_convolution_s_own_branch_alone_gives_what_it_gave() -> None:
    net = create("resnet20(width=0.5)", num_classes=10, seed=0).eval()
    model = edit(net, "sk").model
    with torch.no_grad():
        for name, layer in model.named_modules():
            if isinstance(layer, SelectiveKernel):
                layer.paths[0].load_state_dict(net.get_submodule(name).state_dict())
                layer.reduce.weight.zero_()
                layer.reduce.bias.fill_(1.0)
                layer.select[0].weight.fill_(1e4)
                layer.select[1].weight.zero_()
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model(x), net(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("step", ["sk", "sk(branches=4, least=4)", "sk(split=True)"])
def test_a_net_without_norms_keeps_its_scale(step: str) -> None:
    net = create("vgg11(width=0.25) | fit_input(size=32)", num_classes=10, seed=0).eval()
    torch.manual_seed(0)
    model = edit(net, step).model.eval()
    x = torch.randn(8, 3, 32, 32)
    assert 0.3 < model(x).std() / net(x).std() < 3, "eight layers of half the scale would leave 1/256"


def test_split_costs_about_one_convolution() -> None:
    net = create("resnet20(width=4)", num_classes=10)
    whole, split = (edit(net, f"sk(split={flag})").params for flag in (False, True))
    assert whole[1] / whole[0] == pytest.approx(2.0, rel=0.1)
    assert split[1] / split[0] == pytest.approx(1.0, rel=0.1)


def test_biases_and_groups_stay() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1, stride=2, groups=2), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.ReLU(),
    )  # fmt: skip
    net[2].requires_grad_(False)
    first, second = kernels(sk(net.double()).model)
    assert (first.groups, first.stride, first.bias, second.bias) == (2, 2, True, False)
    assert first.paths[0].bias is not None
    assert second.paths[1].bias is None
    assert not any(p.requires_grad for p in first.parameters())
    assert all(p.requires_grad and p.dtype is torch.float64 for p in second.parameters())


def test_reasons_to_keep(make_net: Callable[[str], nn.Module]) -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 8, 3),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2), nn.Conv2d(8, 8, (3, 1), padding=(1, 0)),
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"), nn.Conv2d(8, 1, 3, padding=1),
        nn.ConvTranspose2d(1, 8, 3, padding=1), nn.Conv2d(8, 9, 3, padding=1), nn.Conv2d(9, 8, 3, padding=1),
    )  # fmt: skip
    unlike = "its padding, dilation or stride is not that of a plain 3x3 convolution"
    assert dict(sk(net, split=True, skip=["8"]).kept) == {
        "0": "it is in no unit: the stem, or a part with a forward of its own",
        "1": "it is depthwise",
        "2": unlike,
        "3": unlike,
        "4": "its kernel is 3x1, not 3x3",
        "5": "it pads by 'reflect', not with zeros",
        "6": "it gives a single map, no features",
        "7": "a ConvTranspose2d is not a plain convolution",
        "8": "named in skip",
        "9": "its 9 input channels do not split into 2 shares of 1 groups",
    }
    with torch.device("meta"):
        again = sk(create("resnet20 | sk", num_classes=10))
    assert not again.changed
    assert "a part of SelectiveKernel" in {reason for _, reason in again.kept}


def test_usage() -> None:
    with pytest.raises(UsageError, match="branches is a whole number from 2"):
        sk(nn.Sequential(), branches=1)
    with pytest.raises(UsageError, match="least is a whole number from 1"):
        sk(nn.Sequential(), least=0)
