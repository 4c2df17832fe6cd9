"""The selective kernel against its formula written out from its tensors."""

import pytest
import torch
from torch import fx, nn
from torch.nn import functional as F

from danlu.errors import UsageError
from danlu.nn import SelectiveKernel


@pytest.fixture
def layer() -> SelectiveKernel:
    torch.manual_seed(0)
    layer = SelectiveKernel(4, 6, stride=2, branches=3, reduction=2, least=5).double().eval()
    for norm in layer.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 2)
            nn.init.normal_(norm.bias)
            nn.init.normal_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 0.5, 2)
    return layer


def normed(x: torch.Tensor, norm: nn.Module) -> torch.Tensor:
    shape = (-1, *[1] * (x.dim() - 2))
    mean, var, scale, shift = (t.view(shape) for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias))
    return (x - mean) / (var + norm.eps).sqrt() * scale + shift


def even(layer: SelectiveKernel) -> None:
    """All branches count alike."""
    for select in layer.select:
        nn.init.zeros_(select.weight)


def test_the_formula(layer: SelectiveKernel) -> None:
    x = torch.randn(2, 4, 9, 8, dtype=torch.float64)
    maps = []
    for dilation, (conv, norm, _) in enumerate(layer.paths, 1):
        side = 2 * dilation + 1
        kernel = torch.zeros(6, 4, side, side, dtype=torch.float64)  # a dilated kernel is a larger one with zeros in it
        kernel[:, :, ::dilation, ::dilation] = conv.weight
        maps.append(normed(F.conv2d(x, kernel, stride=2, padding=dilation), norm).relu())
    z = normed(sum(maps).mean((2, 3)) @ layer.reduce.weight.T, layer.norm).relu()
    scores = torch.stack([z @ select.weight.T for select in layer.select], dim=1)  # [2, 3, 6]
    share = scores.exp() / scores.exp().sum(1, keepdim=True)
    expected = sum(share[:, m, :, None, None] * maps[m] for m in range(3))
    torch.testing.assert_close(layer(x), expected)
    assert layer(x).shape == (2, 6, 5, 4)


def test_one_branch_is_chosen_where_its_score_is_far_ahead(layer: SelectiveKernel) -> None:
    layer.relu = nn.Identity()
    x = torch.randn(1, 4, 6, 6, dtype=torch.float64)
    with torch.no_grad():
        layer.norm.weight.zero_()
        layer.norm.bias.fill_(1.0)
        for select, score in zip(layer.select, (0.0, 1e4, 5e3), strict=True):
            select.weight.fill_(score)
    torch.testing.assert_close(layer(x), layer.paths[1](x))


def test_split_gives_each_branch_its_share_of_the_input() -> None:
    torch.manual_seed(0)
    layer = SelectiveKernel(8, 6, split=True, bare=True, bias=True)
    even(layer)
    x = torch.randn(2, 8, 5, 5)
    expected = (layer.paths[0](x[:, :4]) + layer.paths[1](x[:, 4:])) / 2
    torch.testing.assert_close(layer(x), expected)


def test_bare_branches_are_convolutions_of_one_kind() -> None:
    torch.manual_seed(0)
    layer = SelectiveKernel(6, 9, groups=3, bare=True, stride=2)
    even(layer)
    x = torch.randn(2, 6, 7, 7)
    a, b = (F.conv2d(x, path.weight, stride=2, padding=d, dilation=d, groups=3) for d, path in enumerate(layer.paths, 1))
    torch.testing.assert_close(layer(x), (a + b) / 2)
    assert [name for name, _ in layer.named_parameters()] == [
        "paths.0.weight", "paths.1.weight", "reduce.weight", "reduce.bias", "select.0.weight", "select.1.weight",
    ]  # fmt: skip


def test_it_traces(layer: SelectiveKernel) -> None:
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(fx.symbolic_trace(layer)(x), layer(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"branches": 1}, "branches is a whole number from 2, got 1"),
        ({"reduction": 0}, "reduction is a whole number from 1"),
        ({"least": 1.5}, "least is a whole number from 1"),
        ({"branches": 3, "split": True}, "split needs input channels that 3 branches can share equally, got 8"),
    ],
)
def test_options_that_cannot_be(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SelectiveKernel(8, 8, **options)
