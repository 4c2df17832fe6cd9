"""swap_norm: each norm against its definition; what carries over; what "none" keeps."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from danlu.edits import edit
from danlu.edits.swap_norm import swap_norm
from danlu.errors import UsageError
from danlu.nn.norms import largest_divisor


def normed(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The definition: zero mean and unit variance over `dims`."""
    mean = x.mean(dims, keepdim=True)
    return (x - mean) / (x.var(dims, unbiased=False, keepdim=True) + 1e-5).sqrt()


@pytest.fixture
def norm() -> nn.BatchNorm2d:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(12).double()
    nn.init.uniform_(norm.weight, 0.5, 2)
    nn.init.normal_(norm.bias)
    return norm


def affine(norm: nn.Module, x: Tensor) -> Tensor:
    return x * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)


@pytest.mark.parametrize(
    ("options", "definition"),
    [
        ({"to": "group", "groups": 3}, lambda x: normed(x.unflatten(1, (3, 4)), (2, 3, 4)).flatten(1, 2)),
        ({"to": "group"}, lambda x: normed(x.unflatten(1, (12, 1)), (2, 3, 4)).flatten(1, 2)),
        ({"to": "layer"}, lambda x: normed(x, (1, 2, 3))),
        ({"to": "instance"}, lambda x: normed(x, (2, 3))),
    ],
)
def test_computes_the_definition(norm: nn.BatchNorm2d, options: dict, definition: Callable[[Tensor], Tensor]) -> None:
    x = 3 + 2 * torch.randn(4, 12, 5, 5, dtype=torch.float64)
    model = swap_norm(nn.Sequential(norm), **options).model
    torch.testing.assert_close(model(x), affine(norm, definition(x)), rtol=1e-9, atol=1e-9)


def test_back_to_batch(norm: nn.BatchNorm2d) -> None:
    there = swap_norm(nn.Sequential(norm), to="instance").model
    back = swap_norm(there, to="batch").model
    x = torch.randn(4, 12, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(back(x), affine(norm, normed(x, (0, 2, 3))), rtol=1e-9, atol=1e-9)
    assert torch.equal(back[0].weight, norm.weight)


@pytest.mark.parametrize("to", ["batch_renorm(start=3)", "l1", "generalised(measure='median')"])
def test_a_trained_batch_norm_and_its_variants_are_one_at_inference(
    to: str, make_net: Callable[[str], nn.Module], x: Tensor
) -> None:
    net = make_net("plain")
    there = swap_norm(net, to=to)
    assert len(there.changed) == 5
    back = swap_norm(there.model, to="batch").model
    assert [type(m) for m in back] == [type(m) for m in net], "one- and two-dimensional ones are those they were"
    for model in (there.model, back):
        torch.testing.assert_close(model.eval()(x), net.eval()(x))
    assert set(dict(swap_norm(there.model, to=to).kept).values()) == {f"it is {to.split('(')[0]} already"}


def test_options_stand_behind_the_name() -> None:
    net = nn.Sequential(nn.BatchNorm2d(12), nn.BatchNorm1d(12))
    assert str(swap_norm(net, to="group(groups=3)").model) == str(swap_norm(net, to="group", groups=3).model)
    outcome = edit(net, "swap_norm(to='lrn(size=3, k=2.0)')")
    assert str(outcome.model[0]) == "LocalResponseNorm(3, alpha=0.0001, beta=0.75, k=2.0)"
    assert "does not take" in dict(outcome.kept)["swap_norm: 1"]
    assert swap_norm(swap_norm(net, to="batch_renorm(r_max=2)").model, to="batch_renorm").changed, "other limits are another norm"


@given(st.integers(1, 600))
def test_default_groups(width: int) -> None:
    count = largest_divisor(width)
    assert width % count == 0
    assert 1 <= count <= 32
    assert not any(width % more == 0 for more in range(count + 1, 33))


def test_dimensions_follow(make_net: Callable[[str], nn.Module]) -> None:
    net = nn.Sequential(nn.BatchNorm1d(4), nn.BatchNorm2d(4), nn.BatchNorm3d(4))
    outcome = swap_norm(net, to="instance")
    assert [type(m) for m in outcome.model] == [nn.BatchNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d]
    assert "turns into zero" in dict(outcome.kept)["0"]
    assert [type(m) for m in swap_norm(net, to="group").model] == [nn.GroupNorm] * 3


def test_reasons_to_keep(make_net: Callable[[str], nn.Module]) -> None:
    net = make_net("group_norm")
    assert dict(swap_norm(net, to="group", groups=6).kept) == {
        "1": "it has 6 groups already",
        "4": "6 groups do not divide its 32 channels",
    }
    assert dict(swap_norm(make_net("plain"), to="batch").kept)["1"] == "it is a batch norm already"
    assert isinstance(swap_norm(net, to="batch").model[8], nn.LayerNorm), "LayerNorm is left alone"


def test_none_keeps_a_trained_function(make_net: Callable[[str], nn.Module], x: Tensor) -> None:
    net = make_net("plain")
    outcome = swap_norm(net, to="none")
    assert not any("Norm" in type(m).__name__ for m in outcome.model.modules())
    assert all(isinstance(m.bias, nn.Parameter) for m in outcome.model.modules() if isinstance(m, nn.Conv2d))
    torch.testing.assert_close(outcome.model.eval()(x), net.eval()(x), rtol=1e-5, atol=1e-5)


def test_none_gives_a_bias_where_the_norm_had_one() -> None:
    conv, norm = nn.Conv2d(3, 8, 1, bias=False), nn.GroupNorm(2, 8)
    nn.init.normal_(norm.bias)
    outcome = swap_norm(nn.Sequential(conv, norm, nn.Conv2d(8, 8, 1, bias=False), nn.InstanceNorm2d(8)), to="none")
    assert torch.equal(outcome.model[0].bias, norm.bias)
    assert torch.equal(outcome.model[2].bias, torch.zeros(8))
    assert torch.equal(outcome.model[0].weight, conv.weight)
    assert [change.after for change in outcome.changed] == ["removed: 0 has a bias now", "removed: 2 has a bias now"]


def test_none_removes_what_it_cannot_fold(make_net: Callable[[str], nn.Module], x: Tensor) -> None:
    outcome = swap_norm(make_net("residual"), to="none", skip=["1.bn1"])
    assert {change.name: change.after for change in outcome.changed}["3.bn"] == "removed"
    assert outcome.kept == [("1.bn1", "named in skip")]
    assert outcome.model(x).isfinite().all()


def test_usage() -> None:
    net = nn.Sequential(nn.BatchNorm2d(4))
    with pytest.raises(UsageError, match=r"unknown norm 'goup'; did you mean group"):
        swap_norm(net, to="goup")
    with pytest.raises(UsageError, match="groups is a whole number above zero"):
        swap_norm(net, to="layer", groups=2)
    with pytest.raises(UsageError, match="groups is a whole number above zero"):
        swap_norm(net, to="group", groups=0)


def test_zoo_nets_swap_and_come_back() -> None:
    from danlu.zoo import create

    with torch.device("meta"):
        net = create("resnet20 | swap_norm(to='group') | swap_norm(to='batch')")
        same = create("resnet20")
    assert str(net) == str(same)
    assert len(edit(same, "swap_norm(to='instance')").changed) == 19
