"""swap_activation: kinds by name with options; what stays, and why. Their formulas are in tests/nn/test_activations.py."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from danlu.codec import load_saved, save
from danlu.data import Input
from danlu.edits import edit
from danlu.edits.swap_activation import swap_activation
from danlu.errors import UsageError
from danlu.nn import ComposedActivation, Step, Swish, activations
from danlu.zoo import create


def test_by_name_with_options_and_in_a_recipe() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True), nn.Linear(2, 2)).double()
    model = edit(net, "swap_activation(to='leaky_relu(slope=0.5)')").model
    assert model[1].negative_slope == 0.5
    assert model.danlu_recipe is not None
    model = edit(net, "swap_activation(to=\"composed(unary1='sin', unary2='gate', binary='mul')\")").model
    assert isinstance(model[1], ComposedActivation)
    assert model[1].weight.dtype is torch.float64
    again = edit(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)), model.danlu_recipe).model
    assert repr(again) == repr(model)


def test_what_is_there_already_stays_and_other_options_do_not() -> None:
    net = nn.Sequential(nn.LeakyReLU(0.1), nn.Linear(2, 2))
    assert dict(swap_activation(net, to="leaky_relu(slope=0.1)").kept) == {"0": "it is leaky_relu(slope=0.1) already"}
    assert swap_activation(net, to="leaky_relu").model[0].negative_slope == 0.01
    swish = swap_activation(net, to="swish(beta=3.0)").model
    assert swap_activation(swish, to="silu").changed[0].before == "Swish(3, learned=True)"
    assert swap_activation(nn.Sequential(Swish(learned=False), nn.Linear(2, 2)), to="swish(learned=False)").changed == []


def test_own_kinds_are_seen_as_gates_and_outputs() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.out = Step(), Swish()

        def forward(self, x: Tensor) -> Tensor:
            return self.out(x * self.gate(x))

    assert dict(swap_activation(Gated(), to="relu").kept) == {
        "gate": "it is a gate: its output is multiplied",
        "out": "it gives the output of the net",
    }


@pytest.mark.parametrize("to", ["rrelu(lower=0.2)", "composed(unary1='x', unary2='gate', binary='mul')"])
def test_a_net_with_it_is_saved_and_rebuilt(to: str, tmp_path: Path) -> None:
    net = create("resnet8 | fit_input(size=8)", num_classes=10, in_channels=1)
    made = edit(net, f"swap_activation(to={to!r})").model.eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.01)
    x = torch.randn(2, 1, 8, 8)
    input = Input((8, 8), 1, (0.0,), (1.0,))
    for name in ("model", "model.danlu"):
        save(made, tmp_path / name, input=input, classes=[str(i) for i in range(10)])
        torch.testing.assert_close(load_saved(tmp_path / name).model.eval()(x), made(x), rtol=1e-3, atol=1e-3)


def test_swaps_everything_that_is_an_activation(make_net: Callable[[str], nn.Module]) -> None:
    outcome = edit(make_net("plain"), "swap_activation(to='hardswish')")
    assert [change.before.split("(")[0] for change in outcome.changed] == ["ReLU", "SiLU", "LeakyReLU", "PReLU", "Tanh"]
    assert sum(isinstance(m, nn.Hardswish) for m in outcome.model.modules()) == 5


def test_new_activations_never_work_in_place() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 1))
    for entry in activations:
        to = {"composed": "composed(unary1='x', unary2='tanh', binary='add')"}.get(entry.name, entry.name)
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
    with pytest.raises(UsageError, match=r"unknown activation 'swich'; did you mean swish"):
        swap_activation(nn.ReLU(), to="swich")
    with pytest.raises(UsageError, match="crelu gives twice the channels: use the edit crelu"):
        swap_activation(nn.ReLU(), to="crelu")
    with pytest.raises(UsageError, match="leaky_relu: slope takes a number, got 'a'"):
        edit(nn.ReLU(), "swap_activation(to=\"leaky_relu(slope='a')\") | fold_bn")
    with pytest.raises(UsageError, match="unknown module in skip 'a'"):
        swap_activation(nn.Sequential(nn.ReLU()), to="silu", skip=["a"])
