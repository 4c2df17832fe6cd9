"""The octave edit: smooth maps pass unchanged, the weights are the old ones, and the price is the published saving."""

import pytest
import torch
from torch import Tensor, nn

from danlu.edits import edits
from danlu.edits.price import predict
from danlu.edits.surgery import Outcome
from danlu.errors import UsageError
from danlu.nn import DeformableConv2d, OctaveConv2d
from danlu.zoo import create


def octave(model: nn.Module, **options: object) -> Outcome:
    return edits["octave"].build(model, **options)


def reasons(model: nn.Module, **options: object) -> dict[str, str]:
    return dict(octave(model, **options).kept)


def test_every_3x3_convolution_of_a_resnet_but_the_first():
    net = create("resnet20", num_classes=10, seed=0)
    outcome = octave(net)
    assert len(outcome.changed) == 18
    assert ("conv1", "it reads the image, whose channels have no low part") in outcome.kept
    assert outcome.params == (269_722, 269_722)
    first = outcome.model.layer1[0].conv1
    assert isinstance(first, OctaveConv2d)
    whole = net.layer1[0].conv1.weight
    assert torch.equal(first.low_high.weight, whole[:8, 8:])
    assert torch.equal(first.high_low.weight, whole[8:, :8])


@pytest.mark.parametrize("alpha", [0.25, 0.5])
def test_the_price_at_stride_1_is_the_saving_of_the_paper(alpha):
    net = nn.Sequential(nn.Conv2d(3, 32, 1), nn.Conv2d(32, 64, 5, padding=2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    outcome = octave(net, alpha=alpha)
    plain = 25 * 32 * 64 * 16 * 16
    assert predict(net, outcome, (3, 16, 16)) == (0, -plain * 0.75 * (1 - (1 - alpha) ** 2))


def test_smooth_maps_give_what_they_gave():
    """A map of 2x2 cells of one value each has no detail to lose: kernels of one pixel give exactly the same."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 1), nn.PReLU(), nn.Conv2d(12, 6, 1))
    outcome = octave(net.eval(), pointwise=True, alpha=0.4)
    assert len(outcome.changed) == 2
    x = torch.randn(2, 3, 5, 6).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(outcome.model(x), net(x))


def test_the_bias_and_what_is_frozen_carry_over():
    conv = nn.Conv2d(4, 6, 3, padding=1, dilation=1)
    conv.weight.requires_grad_(False)
    new = octave(nn.Sequential(nn.Conv2d(3, 4, 1), conv)).model[1]
    assert torch.equal(torch.cat([new.high_high.bias, new.high_low.bias]), conv.bias)
    assert new.low_high.bias is None
    assert [p.requires_grad for p in (new.high_high.weight, new.low_low.weight, new.high_high.bias)] == [False, False, True]


def test_the_layers_that_it_cannot_take_say_why():
    layers: dict[str, tuple[nn.Module, str]] = {
        "groups": (nn.Conv2d(8, 8, 3, padding=1, groups=4), "groups"),
        "point": (nn.Conv2d(8, 8, 1), "1x1"),
        "stride": (nn.Conv2d(8, 8, 5, padding=2, stride=3), "stride is 3x3"),
        "valid": (nn.Conv2d(8, 8, 3), "size of the map"),
        "even": (nn.Conv2d(8, 8, 2, padding=1), "size of the map"),
        "single": (nn.Conv2d(8, 1, 3, padding=1), "8 -> 1 channels"),
        "reflect": (nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"), "reflect"),
        "word": (nn.Conv2d(8, 8, 3, padding="same"), "'same'"),
        "bent": (DeformableConv2d(8, 8, 3, padding=1), ""),
    }
    net = nn.ModuleDict({"first": nn.Conv2d(3, 8, 3), **{name: layer for name, (layer, _) in layers.items()}})
    found = reasons(net)
    assert not octave(net).changed
    for name, (_, words) in layers.items():
        if words:
            assert words in found[name]
    assert found["bent.offset"] == "a part of DeformableConv2d"


def test_twice_is_once():
    once = octave(create("resnet8", num_classes=10, seed=0)).model
    again = octave(once)
    assert not again.changed
    assert "a part of OctaveConv2d" in dict(again.kept).values()


@pytest.mark.parametrize("alpha", [0, 1, 1.5, -0.5, True])
def test_a_bad_share_is_refused(alpha: float):
    with pytest.raises(UsageError, match="alpha"):
        octave(nn.Conv2d(3, 4, 3), alpha=alpha)


def test_the_low_channels_of_a_layer_do_not_see_single_pixels():
    """Changing one pixel by +1 and its neighbour by -1 leaves the means, and so every low path, where they were."""
    torch.manual_seed(0)
    layer = octave(nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1))).model[1]
    x = torch.randn(1, 8, 6, 6)
    ripple = torch.zeros(1, 8, 6, 6)
    ripple[..., 2, 2], ripple[..., 2, 3] = 1.0, -1.0

    def low(x: Tensor) -> Tensor:
        return layer(x)[:, 4:]

    torch.testing.assert_close(low(x + ripple), low(x))
    assert (layer(x + ripple)[:, :4] - layer(x)[:, :4]).abs().max() > 0.1
