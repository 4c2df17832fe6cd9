"""Receptive fields against the gradient: the input pixels that one output position depends on."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.cost import profile


class Shortcut(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Branches(nn.Module):
    """3x3 beside dilated 3x3 and a strided slice."""

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Conv2d(1, 1, 3, padding=1)
        self.far = nn.Conv2d(1, 1, 3, padding=3, dilation=3)
        self.last = nn.Conv2d(2, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([self.near(x), self.far(x)], 1)
        return self.last(y[:, :, ::2, ::2])


class UpDown(nn.Module):
    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.down, self.up = nn.Conv2d(1, 1, 3, 2, 1), nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(F.interpolate(self.down(x), scale_factor=2, mode=self.mode))


def support(model: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The widest extent, over the inner output positions, of the input pixels with a gradient. Weights are made positive."""
    model = model.double().eval()
    for p in model.parameters():
        nn.init.uniform_(p, 0.5, 1.5)
    x = torch.rand(1, *shape, dtype=torch.float64, requires_grad=True)
    out = model(x)
    if out.dim() != x.dim():
        out = out.reshape(*out.shape[:2], *[1] * (x.dim() - 2))
    middle = [range(max(n // 2 - 2, 0), min(n // 2 + 3, n)) for n in out.shape[2:]]
    widest = [0] * len(middle)
    for position in torch.cartesian_prod(*(torch.tensor(list(r)) for r in middle)).reshape(-1, len(middle)).tolist():
        (grad,) = torch.autograd.grad(out[(0, slice(None), *position)].sum(), x, retain_graph=True)
        seen = grad[0].abs().sum(0).nonzero()
        extent = (seen.max(0).values - seen.min(0).values + 1).tolist()
        widest = [max(a, b) for a, b in zip(widest, extent, strict=True)]
    return tuple(widest)


NETS = {
    "plain": (nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 1, 5, 2), nn.Conv2d(1, 1, 3)), (1, 41, 41)),
    "rectangular": (nn.Sequential(nn.Conv2d(1, 2, (5, 1), (2, 1)), nn.Conv2d(2, 1, (1, 3))), (1, 33, 33)),
    "dilated": (nn.Sequential(nn.Conv2d(1, 1, 3, dilation=2), nn.Conv2d(1, 1, 3, 2, dilation=3)), (1, 41, 41)),
    "pools": (nn.Sequential(nn.Conv2d(1, 1, 3), nn.AvgPool2d(2), nn.Conv2d(1, 1, 3), nn.AvgPool2d(3, 2)), (1, 45, 45)),
    "shortcut": (nn.Sequential(nn.Conv2d(1, 1, 3, 2), Shortcut(nn.Conv2d(1, 1, 3, padding=1)), nn.Conv2d(1, 1, 3)), (1, 41, 41)),
    "branches": (Branches(), (1, 41, 41)),
    "transposed": (nn.Sequential(nn.Conv2d(1, 1, 3, 2), nn.ConvTranspose2d(1, 1, 3, 2), nn.Conv2d(1, 1, 3)), (1, 41, 41)),
    "nearest": (UpDown("nearest"), (1, 40, 40)),
    "bilinear": (UpDown("bilinear"), (1, 40, 40)),
    "shuffle": (nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.PixelShuffle(2), nn.Conv2d(1, 1, 3)), (1, 40, 40)),
    "unshuffle": (nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4, 1, 3)), (1, 40, 40)),
    "one-dimensional": (nn.Sequential(nn.Conv1d(1, 2, 5, 3), nn.AvgPool1d(2), nn.Conv1d(2, 1, 3)), (1, 80)),
    "three-dimensional": (nn.Sequential(nn.Conv3d(1, 1, (3, 2, 1)), nn.AvgPool3d(2), nn.Conv3d(1, 1, 2)), (1, 13, 13, 13)),
}


@pytest.mark.parametrize("name", NETS)
def test_field_is_what_the_gradient_reaches(name: str) -> None:
    model, shape = NETS[name]
    row = profile(model, shape).rows[-1]
    assert row.receptive == support(model, shape)


@pytest.mark.parametrize(
    "head",
    [
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Sequential(nn.AvgPool2d(6), nn.Flatten()),
        nn.Sequential(nn.Flatten(), nn.Linear(36, 2)),
        nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(9, 2)),
    ],
    ids=["global", "whole map", "flattened", "adaptive"],
)
def test_a_head_sees_the_whole_map(head: nn.Module) -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 3, 2), head)
    row = profile(model, (1, 13, 13)).rows[-1]
    assert row.receptive == support(model, (1, 13, 13)) == (13, 13)
    assert row.jump is None
    assert not row.scales


def test_a_gate_by_global_pooling_sees_everything_and_keeps_the_map() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.gate, self.last = nn.Conv2d(1, 2, 3, 2), nn.Conv2d(2, 2, 1), nn.Conv2d(2, 1, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.last(x * self.gate(x.mean((2, 3), keepdim=True)))

    rows = {row.name: row for row in profile(Gated(), (1, 21, 21)).rows}
    assert rows["gate"].receptive == (21, 21)
    assert rows["gate"].jump is None
    assert rows["last"].receptive == (25, 25)  # 21, then one more position of 2 pixels on either side
    assert rows["last"].jump == (2, 2)


def test_attention_sees_all_tokens_and_a_pointwise_linear_does_not() -> None:
    class Vit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch, self.mlp = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 8)
            self.attend = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            x = self.mlp(self.patch(x).flatten(2).transpose(1, 2))
            return self.attend(x, x, x)[0]

    rows = {row.name: row for row in profile(Vit(), (3, 16, 16)).rows}
    assert rows["mlp"].receptive == rows["patch"].receptive == (4, 4)
    assert rows["attend"].receptive == (16, 16)


def test_vgg16_has_its_published_field() -> None:
    """212 pixels at stride 32: Araujo, Norris and Sim 2019."""
    jump = 1
    layers: list[nn.Module] = []
    for stage in (2, 2, 3, 3, 3):
        layers += [nn.Conv2d(1, 1, 3, padding=1) for _ in range(stage)] + [nn.MaxPool2d(2)]
        jump *= 2
    rows = profile(nn.Sequential(*layers), (1, 224, 224)).rows
    assert rows[-1].receptive == (212, 212)
    assert rows[-1].jump == (jump, jump)
