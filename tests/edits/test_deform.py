"""The deform edit: which layers it takes, what they cost, and that nothing changes before the offsets learn."""

import pytest
import torch
from torch import nn

from danlu.edits import edit, edits
from danlu.edits.surgery import Outcome
from danlu.errors import UsageError
from danlu.nn import DeformableConv2d
from danlu.zoo import create


def deform(model: nn.Module, **options: object) -> Outcome:
    return edits["deform"].build(model, **options)


def test_the_last_spatial_convolutions_of_a_resnet():
    outcome = deform(create("resnet50", num_classes=10, seed=0))
    assert [change.name for change in outcome.changed] == [f"layer4.{i}.conv2" for i in range(3)]
    offsets = 3 * (9 * 512 * 18 + 18)
    assert outcome.params[1] - outcome.params[0] == offsets
    assert sum(change.price.output for change in outcome.changed) == 3 * 9 * 512 * 18


@pytest.mark.parametrize("modulated", [False, True])
def test_the_net_gives_what_it_gave_until_it_learns(modulated):
    net = create("resnet8", num_classes=10, seed=0).eval()
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    model = deform(net, last=6, modulated=modulated).model
    with torch.no_grad():
        torch.testing.assert_close(model(x), net(x), rtol=1e-4, atol=1e-4)
    model.train()(x).logsumexp(1).sum().backward()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    optimiser.step()
    moved = [layer.offset.weight.abs().max() for layer in model.modules() if isinstance(layer, DeformableConv2d)]
    assert len(moved) == 6
    assert min(moved) > 0


class Backwards(nn.Module):
    """Calls its convolutions in the other order than it holds them."""

    def __init__(self) -> None:
        super().__init__()
        self.end = nn.Conv2d(4, 4, 3, padding=1)
        self.middle = nn.Conv2d(4, 4, 3, padding=1)
        self.start = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.end(self.middle(self.start(x)))


def test_last_is_counted_in_running_order():
    outcome = deform(Backwards(), last=1)
    assert [change.name for change in outcome.changed] == ["end"]
    assert dict(outcome.kept) == {"middle": "not among the last 1", "start": "it reads the image"}


def test_skipped_layers_do_not_count():
    outcome = deform(Backwards(), last=1, skip=["end"])
    assert [change.name for change in outcome.changed] == ["middle"]


def test_the_layers_that_it_cannot_take_say_why():
    layers = {
        "depthwise": (nn.Conv2d(8, 8, 3, groups=8), "depthwise"),
        "point": (nn.Conv2d(8, 8, 1), "1x1"),
        "single": (nn.Conv2d(8, 1, 3), "single map"),
        "circular": (nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular"), "circular"),
    }
    net = nn.ModuleDict({"first": nn.Conv2d(3, 8, 3), **{name: layer for name, (layer, _) in layers.items()}})
    outcome = deform(net, last=9)
    assert not outcome.changed
    for name, (_, words) in layers.items():
        assert words in dict(outcome.kept)[name]


def test_the_layer_that_predicts_offsets_stays():
    once = deform(Backwards(), last=2).model
    again = deform(once, last=2)
    assert not again.changed
    assert dict(again.kept)["end.offset"] == "a part of DeformableConv2d"


def test_norms_fold_into_it():
    net = create("resnet8", num_classes=10, seed=0).eval()
    outcome = edit(net, "deform(last=2) | fold_bn")
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in outcome.model.modules())
    with torch.no_grad():
        torch.testing.assert_close(outcome.model(x), net(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("last", [0, -1, True])
def test_a_bad_count_is_refused(last):
    with pytest.raises(UsageError, match="last"):
        deform(Backwards(), last=last)
