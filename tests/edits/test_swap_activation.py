"""swap_activation: each kind against its published formula; what stays, and why."""

import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from danlu.edits import edit
from danlu.edits.swap_activation import KINDS, To, swap_activation
from danlu.errors import UsageError

FORMULAS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda x: x.clamp(min=0),
    "silu": lambda x: x / (1 + (-x).exp()),
    "hardswish": lambda x: x * (x + 3).clamp(0, 6) / 6,
    "gelu": lambda x: x * (1 + torch.erf(x / math.sqrt(2))) / 2,
    "leaky_relu": lambda x: torch.where(x > 0, x, 0.01 * x),
    "elu": lambda x: torch.where(x > 0, x, x.exp() - 1),
    "selu": lambda x: 1.0507009873554805 * torch.where(x > 0, x, 1.6732632423543772 * (x.exp() - 1)),
    "mish": lambda x: x * torch.tanh((1 + x.exp()).log()),
    "tanh": lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
    "sigmoid": lambda x: 1 / (1 + (-x).exp()),
    "softplus": lambda x: (1 + x.exp()).log(),
    "prelu": lambda x: torch.where(x > 0, x, 0.25 * x),
}


def test_every_choice_has_a_formula_here() -> None:
    assert set(get_args(To)) == set(KINDS) == set(FORMULAS)


@pytest.mark.parametrize("to", sorted(FORMULAS))
def test_computes_the_formula(to: str) -> None:
    x = torch.linspace(-4, 4, 101, dtype=torch.float64)
    old = nn.Sequential(nn.Tanh() if to != "tanh" else nn.ReLU(), nn.Linear(1, 1).double())
    model = swap_activation(old, to=to).model
    torch.testing.assert_close(model[0](x.view(-1, 1)).view(-1), FORMULAS[to](x), rtol=1e-9, atol=1e-9)


def test_swaps_everything_that_is_an_activation(make_net: Callable[[str], nn.Module]) -> None:
    outcome = edit(make_net("plain"), "swap_activation(to='hardswish')")
    assert [change.before.split("(")[0] for change in outcome.changed] == ["ReLU", "SiLU", "LeakyReLU", "PReLU", "Tanh"]
    assert sum(isinstance(m, nn.Hardswish) for m in outcome.model.modules()) == 5


def test_new_activations_never_work_in_place() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 1))
    for to in KINDS:
        model = swap_activation(net, to=to).model
        assert not getattr(model[1], "inplace", False) or to == "relu"
        model(torch.randn(1, 3, 4, 4)).sum().backward()


def test_gates_outputs_and_functions_are_kept(make_net: Callable[[str], nn.Module]) -> None:
    outcome = swap_activation(make_net("residual"), to="relu")
    kept = dict(outcome.kept)
    assert "multiplied" in kept["1.gate"]
    assert "already" in kept["1.act"]
    assert "relu is called as a function" in kept["1"], "the module whose forward calls it is named"
    assert "relu is called as a function" in kept["3"]
    net = nn.Sequential(nn.Linear(2, 2), nn.Sigmoid(), nn.Linear(2, 1), nn.Sigmoid())
    outcome = swap_activation(net, to="relu")
    assert [change.name for change in outcome.changed] == ["1"]
    assert outcome.kept == [("3", "it gives the output of the net")]


def test_says_what_it_cannot_see(make_net: Callable[[str], nn.Module]) -> None:
    outcome = swap_activation(make_net("branches"), to="silu")
    assert ("", "the forward cannot be traced: activations called as functions in it, if any, stay") in outcome.kept
    assert [change.name for change in outcome.changed] == ["stem.2"]


def test_an_untraced_sigmoid_may_be_a_gate() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Sigmoid()

        def forward(self, x: Tensor) -> Tensor:
            return x * self.gate(x) if x.sum() > 0 else x

    outcome = swap_activation(Gated(), to="relu")
    assert outcome.changed == []
    assert "may be a gate" in dict(outcome.kept)["gate"]


def test_a_shared_activation_stays_one(make_net: Callable[[str], nn.Module]) -> None:
    relu = nn.ReLU()
    net = nn.Sequential(nn.Conv2d(3, 4, 1), relu, nn.Conv2d(4, 4, 1), relu, nn.Conv2d(4, 2, 1))
    outcome = swap_activation(net, to="prelu")
    assert outcome.model[1] is outcome.model[3]
    assert outcome.params == (46, 47), "one learned slope"


# Where a function is part of a layer's own formula: the saliency of a hint, the soft edges of a crop.
PARTS = {("dynamic_capacity", "relu"), ("recurrent_attention", "sigmoid")}


def test_zoo_nets_have_no_function_left_over() -> None:
    from danlu.zoo import create, models

    families = {entry.build.__module__.rpartition(".")[2]: entry.name for entry in models}
    for family, name in families.items():
        with torch.device("meta"):
            outcome = edit(create(name), "swap_activation(to='gelu')")
        left = {reason.split()[0] for _, reason in outcome.kept if "called as a function in its forward" in reason}
        assert {(family, function) for function in left} <= PARTS, name


def test_wrong_names() -> None:
    with pytest.raises(UsageError, match=r"unknown activation 'swish'; did you mean hardswish"):
        swap_activation(nn.ReLU(), to="swish")
    with pytest.raises(UsageError, match="unknown module in skip 'a'"):
        swap_activation(nn.Sequential(nn.ReLU()), to="silu", skip=["a"])
