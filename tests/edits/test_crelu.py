"""crelu: which half stays, what comes in its place, what follows it, and where it does not apply."""

import pytest
import torch
from torch import Tensor, nn

from danlu.edits import edit
from danlu.edits.crelu import crelu
from danlu.edits.slim import slim
from danlu.encodings import Mask, encode
from danlu.zoo import create


def chain(*, norm: nn.Module | None = None, groups: int = 1, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    middle = [norm] if norm is not None else []
    conv = nn.Conv2d(4, 8, 3, groups=groups, bias=bias)
    return nn.Sequential(conv, *middle, nn.ReLU(), nn.Conv2d(8, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 4))


def lively(norm: nn.Module) -> nn.Module:
    with torch.no_grad():
        for tensor in (*norm.parameters(), *norm.buffers()):
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
    return norm


def reference(net: nn.Sequential, x: Tensor, kept: list[int], *, scale: bool) -> Tensor:
    """The map behind the ReLU by hand: the kept channels of the whole net, and their negatives."""
    raw = net[0](x)[:, kept]
    both = torch.cat([raw, -raw], dim=1)
    if isinstance(net[1], nn.ReLU):
        return both.clamp(min=0)
    if scale:
        return net[1](both).clamp(min=0)
    whole = net[0](x)
    normed = net[1](whole)[:, kept]
    return torch.cat([normed, -normed], dim=1).clamp(min=0)


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("norm", ["none", "batch", "instance"])
def test_the_kept_half_and_its_negatives(norm: str, groups: int, scale: bool) -> None:
    torch.manual_seed(0)
    layer = {
        "none": None,
        "batch": lively(nn.BatchNorm2d(8)),
        "instance": lively(nn.InstanceNorm2d(8, affine=True)),
    }[norm]
    net = chain(norm=layer, groups=groups).double().eval()
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    outcome = crelu(net, scale=scale)
    size = 8 // groups
    kept = [g * size + i for g in range(groups) for i in range(size // 2)]
    behind = 2 if norm == "none" else 3
    torch.testing.assert_close(outcome.model[:behind](x), reference(net, x, kept, scale=scale))
    assert outcome.model[behind].in_channels == 8, "what follows is unchanged"


def test_a_scaled_crelu_without_norm_learns_both() -> None:
    model = crelu(chain(), scale=True).model
    assert model[1].weight.shape == model[1].bias.shape == (8,)
    assert (model[1].weight == 1).all()


def test_group_norm_needs_groups_that_divide_the_half() -> None:
    assert crelu(chain(norm=nn.GroupNorm(4, 8))).model[1].num_channels == 4
    outcome = crelu(chain(norm=nn.GroupNorm(8, 8)))
    assert outcome.kept[0] == ("0", "the 8 groups of the norm behind it do not divide 4 channels")


def test_penalties_end_and_other_encodings_stop_it() -> None:
    net = slim(chain(norm=nn.BatchNorm2d(8))).model
    assert [change.name for change in crelu(net).changed] == ["0", "1", "2"]
    net = chain(norm=nn.BatchNorm2d(8))
    encode(net[1], "weight", Mask(sparsity=0.5, shape=(8,)))
    assert crelu(net).kept[0] == ("0", "a weight of the norm behind it is parametrised: bake it first")


class Odd(nn.Module):
    """Convolutions that a ReLU does not follow in the way it must."""

    def __init__(self) -> None:
        super().__init__()
        self.odd, self.after_odd = nn.Conv2d(3, 7, 3, padding=1), nn.ReLU()
        self.wise, self.after_wise = nn.Conv2d(7, 7, 3, padding=1, groups=7), nn.ReLU()
        self.two, self.after_two = nn.Conv2d(7, 8, 3, padding=1), nn.ReLU()
        self.leaky, self.after_leaky = nn.Conv2d(8, 8, 3, padding=1), nn.LeakyReLU()
        self.called = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Conv2d(8, 4, 1)
        self.last = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.after_wise(self.wise(self.after_odd(self.odd(x))))
        y = self.two(x)
        x = self.after_two(y) + y
        x = torch.relu(self.called(self.after_leaky(self.leaky(x))))
        return self.last(self.head(x))


def test_keeps_what_it_should_with_the_reason() -> None:
    outcome = crelu(Odd())
    alone = "what follows it is not a ReLU of its own"
    assert dict(outcome.kept) == {
        "odd": "its 7 outputs are odd",
        "wise": "it is depthwise: its channels do not mix",
        "two": alone,
        "leaky": alone,
        "called": alone,
        "head": "it gives the answer of the net, for which all channels count",
    }
    assert not outcome.changed
    assert str(outcome.model) == str(Odd())


@pytest.mark.parametrize("skip", ["0", "1", "2"])
def test_skip_names_any_part_of_the_chain(skip: str) -> None:
    outcome = crelu(chain(norm=nn.BatchNorm2d(8)), skip=[skip])
    assert outcome.kept[0] == ("0", "named in skip")
    assert not outcome.changed


def test_half_of_a_resnet_s_convolutions_are_halved() -> None:
    # The second convolution of a block is added to the shortcut before its ReLU, and stays.
    net = create("resnet20(width=0.5)", num_classes=10)
    outcome = edit(net, "crelu")
    convs = [c.name.removeprefix("crelu: ") for c in outcome.changed if isinstance(net.get_submodule(c.name[7:]), nn.Conv2d)]
    assert len(convs) == 10
    assert all(name.endswith("conv1") for name in convs)
    for name in convs:
        old, new = net.get_submodule(name), outcome.model.get_submodule(name)
        assert new.weight.numel() * 2 == old.weight.numel()
