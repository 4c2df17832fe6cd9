"""surgery: replacing honours shared layers, skip, and the training flag; nothing of the input is touched."""

import pytest
import torch
from torch import nn

from danlu.edits import Change, Keep, Outcome
from danlu.edits.surgery import brief, named_slots, replace, set_module
from danlu.errors import UsageError


def net() -> nn.Module:
    relu = nn.ReLU()
    inner = nn.Sequential(nn.Linear(4, 4), relu)
    return nn.ModuleDict({"a": inner, "b": nn.Sequential(inner, nn.Tanh()), "c": relu})


def test_a_shared_layer_is_decided_once_and_stays_shared() -> None:
    asked: list[str] = []

    def decide(name: str, layer: nn.Module) -> nn.Module:
        asked.append(name)
        return nn.SiLU()

    outcome = replace(net(), nn.ReLU, decide)
    assert len(asked) == 1
    assert outcome.model["a"][1] is outcome.model["b"][0][1] is outcome.model["c"]
    assert {change.name for change in outcome.changed} == {"c", "a.1"}
    assert all(change == Change(change.name, "ReLU()", "SiLU()") for change in outcome.changed)


def test_the_input_is_untouched_and_unshared() -> None:
    old = net()
    text = str(old)
    outcome = replace(old, nn.ReLU, lambda name, layer: nn.SiLU())
    assert str(old) == text
    assert outcome.model["a"][0].weight is not old["a"][0].weight
    assert torch.equal(outcome.model["a"][0].weight, old["a"][0].weight)


def test_kept_layers_have_their_reason() -> None:
    outcome = replace(net(), (nn.ReLU, nn.Tanh), lambda name, layer: Keep(f"{name} is fine"), skip=["b"])
    assert outcome.changed == []
    assert outcome.kept == [("c", "c is fine"), ("a.1", "c is fine"), ("b.1", "named in skip")]


def test_a_replaced_layer_is_not_searched() -> None:
    outcome = replace(nn.Sequential(net()["a"]), (nn.Sequential, nn.ReLU), lambda name, layer: nn.Identity())
    assert isinstance(outcome.model, nn.Identity), "the root itself is one of the kinds"
    outer = nn.ModuleList([net()["a"]])
    outcome = replace(outer, (nn.Sequential, nn.ReLU), lambda name, layer: nn.Identity())
    assert [change.name for change in outcome.changed] == ["0"]


@pytest.mark.parametrize("training", [True, False])
def test_the_training_flag_carries_over(training: bool) -> None:
    old = net().train(training)
    model = replace(old, nn.ReLU, lambda name, layer: nn.Dropout()).model
    assert model["c"].training is training
    assert replace(nn.ReLU().train(training), nn.ReLU, lambda name, layer: nn.Dropout()).model.training is training


def test_parameters_are_counted() -> None:
    outcome = replace(net(), nn.Linear, lambda name, layer: nn.Identity())
    assert outcome.params == (20, 0)
    assert str(outcome) == "1 changed, 0 kept, parameters 20 -> 0 (-100.0%)"
    assert str(Outcome(net())) == "0 changed, 0 kept"


def test_set_module_reaches_every_place() -> None:
    model = net()
    model.eval()
    new = nn.GELU()
    set_module(model, "b.0.1", new)
    assert model["c"] is model["a"][1] is new
    assert not new.training


def test_slots_name_each_place_once() -> None:
    names = [name for name, *_ in named_slots(net())]
    assert names == ["a", "b", "c", "a.0", "a.1", "b.0", "b.1"]


def test_skip_must_name_modules() -> None:
    with pytest.raises(UsageError, match=r"unknown module in skip 'a\.2'; did you mean a\.1"):
        replace(net(), nn.ReLU, lambda name, layer: layer, skip=["a.2"])


def test_brief_fits_a_line() -> None:
    assert brief(nn.Conv2d(3, 4, 1)) == "Conv2d(3, 4, kernel_size=(1, 1), stride=(1, 1))"
    wide = nn.MaxPool2d(3)
    wide.extra_repr = lambda: "x" * 200  # type: ignore[method-assign]
    assert len(brief(wide)) == 100
