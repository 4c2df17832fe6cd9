"""fold_bn: against torch's own fusion, against the formula, and on every way a norm can fail to be foldable."""

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from danlu.edits import edit
from danlu.edits.fold_bn import fold, fold_bn
from danlu.errors import UsageError


def shaken(norm: nn.Module, seed: int = 0) -> nn.Module:
    """Statistics and scales far from the fresh ones."""
    torch.manual_seed(seed)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.2, 3)
    if norm.affine:
        nn.init.uniform_(norm.weight, -1.5, 1.5)
        nn.init.normal_(norm.bias)
    return norm.eval()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "make",
    [
        lambda bias: (nn.Conv2d(4, 6, 3, groups=2, bias=bias), nn.BatchNorm2d(6)),
        lambda bias: (nn.Conv1d(3, 6, 3, bias=bias), nn.BatchNorm1d(6)),
        lambda bias: (nn.Conv3d(3, 5, 2, bias=bias), nn.BatchNorm3d(5)),
        lambda bias: (nn.ConvTranspose2d(4, 6, 3, stride=2, bias=bias), nn.BatchNorm2d(6)),
    ],
)
def test_equals_the_fusion_of_torch(make: Callable[[bool], tuple[nn.Module, nn.BatchNorm2d]], bias: bool) -> None:
    layer, norm = (part.double() for part in make(bias))
    theirs = fuse_conv_bn_eval(copy.deepcopy(layer).eval(), shaken(norm), transpose=isinstance(layer, nn.ConvTranspose2d))
    model = fold_bn(nn.Sequential(layer, norm)).model
    torch.testing.assert_close(model[0].weight, theirs.weight, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(model[0].bias, theirs.bias, rtol=1e-12, atol=1e-12)
    assert isinstance(model[1], nn.Identity)


def test_linear_equals_the_fusion_of_torch() -> None:
    layer, norm = nn.Linear(7, 5).double(), shaken(nn.BatchNorm1d(5).double())
    theirs = fuse_linear_bn_eval(copy.deepcopy(layer).eval(), norm)
    model = fold_bn(nn.Sequential(layer, norm)).model
    torch.testing.assert_close(model[0].weight, theirs.weight, rtol=1e-12, atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(
    groups=st.integers(1, 3),
    into=st.integers(1, 3),
    out=st.integers(1, 3),
    transposed=st.booleans(),
    affine=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_groups(groups: int, into: int, out: int, transposed: bool, affine: bool, seed: int) -> None:
    torch.manual_seed(seed)
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    layer = kind(groups * into, groups * out, 3, groups=groups).double()
    norm = shaken(nn.BatchNorm2d(groups * out, affine=affine, eps=0.1).double(), seed)
    x = torch.randn(2, groups * into, 6, 6, dtype=torch.float64)
    wanted = norm(layer(x))
    fold(layer, norm)
    torch.testing.assert_close(layer(x), wanted, rtol=1e-10, atol=1e-10)


def test_mobilenet_is_exact_in_double(make_net: Callable[[str], nn.Module]) -> None:
    from danlu.zoo import create

    net = create("mobilenet_v1(width=0.25)", num_classes=5, seed=0).double()
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            shaken(norm)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    outcome = fold_bn(net)
    assert len(outcome.changed) == 27
    assert outcome.kept == []
    torch.testing.assert_close(outcome.model.eval()(x), net.eval()(x), rtol=1e-10, atol=1e-10)


def test_half_precision_is_folded_in_double() -> None:
    torch.manual_seed(0)
    layer, norm = nn.Conv2d(3, 8, 3).to(torch.bfloat16), shaken(nn.BatchNorm2d(8)).to(torch.bfloat16)
    exact = fuse_conv_bn_eval(copy.deepcopy(layer).double().eval(), copy.deepcopy(norm).double()).weight
    model = fold_bn(nn.Sequential(layer, norm)).model
    assert model[0].weight.dtype is torch.bfloat16
    assert torch.equal(model[0].weight, exact.to(torch.bfloat16)), "one rounding, at the end"


def test_a_training_net_folds_its_running_statistics() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), shaken(nn.BatchNorm2d(8)))
    x = torch.randn(2, 3, 8, 8)
    wanted = net.eval()(x)
    model = fold_bn(net.train()).model
    assert model.training
    torch.testing.assert_close(model(x), wanted, rtol=1e-4, atol=1e-5)


class TwoUsers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) + y


class TwoConvs(TwoUsers):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Conv2d(3, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) + self.norm(self.other(x))


class ReadsWeight(TwoUsers):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) + self.conv.weight.sum()


class Untraced(TwoUsers):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) if y.sum() > 0 else y


class OutOfOrder(nn.Sequential):
    """Looks like a sequence, and is none; nor can it be traced."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))

    def forward(self, x: Tensor) -> Tensor:
        return self[0](self[1](x)) if x.sum() > -1e9 else x


class Own(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).abs()


def no_statistics() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8, track_running_stats=False))


def hooked() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8))
    net[0].register_forward_hook(lambda module, inputs, output: output.abs())
    return net


def parametrised() -> nn.Module:
    return nn.Sequential(parametrizations.weight_norm(nn.Conv2d(3, 8, 1)), nn.BatchNorm2d(8))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (TwoUsers, "feeds something else"),
        (TwoConvs, "follows several layers"),
        (ReadsWeight, "feeds something else"),
        (Untraced, "cannot be traced"),
        (OutOfOrder, "cannot be traced"),
        (no_statistics, "no running statistics"),
        (hooked, "a hook watches"),
        (parametrised, "parametrised"),
        (lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 8, 1)), "does not follow a layer"),
        (lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.BatchNorm2d(8)), "follows a ReLU"),
        (lambda: nn.Sequential(Own(3, 8, 1), nn.BatchNorm2d(8)), "does not follow a layer"),
    ],
)
def test_keeps_what_it_cannot_fold(make: Callable[[], nn.Module], reason: str) -> None:
    torch.manual_seed(0)
    net = make()
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None:
            shaken(norm)
    outcome = fold_bn(net)
    assert outcome.changed == []
    assert [reason in why for _, why in outcome.kept] == [True], outcome.kept
    x = torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(outcome.model.eval()(x), net.eval()(x), rtol=0, atol=0)


def test_untraced_nets_fold_inside_their_sequences(make_net: Callable[[str], nn.Module], x: Tensor) -> None:
    net = make_net("branches")
    outcome = fold_bn(net)
    assert [change.name for change in outcome.changed] == ["stem.1"]
    assert [name for name, _ in outcome.kept] == ["norm"]
    torch.testing.assert_close(outcome.model.eval()(x), net.eval()(x), rtol=1e-5, atol=1e-5)


def test_a_repeated_block_folds_once(make_net: Callable[[str], nn.Module], x: Tensor) -> None:
    net = make_net("shared")
    outcome = fold_bn(net)
    assert len(outcome.changed) == 1
    assert isinstance(outcome.model.again[1], nn.Identity)
    torch.testing.assert_close(outcome.model.eval()(x), net.eval()(x), rtol=1e-5, atol=1e-5)


def test_trainable_stays_trainable_and_frozen_frozen() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8))
    net[0].requires_grad_(False)
    model = fold_bn(net).model
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, True]


def test_skip_names_norms_or_modules(make_net: Callable[[str], nn.Module]) -> None:
    net = make_net("residual")
    outcome = fold_bn(net, skip=["1", "2.bn1"])
    assert [change.name for change in outcome.changed] == ["2.bn2"]
    assert [name for name, why in outcome.kept if why == "named in skip"] == ["1.bn1", "1.bn2", "2.bn1"]
    with pytest.raises(UsageError, match=r"unknown module in skip '2.bn3'; did you mean 2.bn"):
        fold_bn(net, skip=["2.bn3"])
    with pytest.raises(UsageError, match="skip is a list"):
        fold_bn(net, skip="1")


def test_runs_in_a_recipe(make_net: Callable[[str], nn.Module]) -> None:
    assert len(edit(make_net("plain"), "fold_bn(skip=['1'])").changed) == 4
