"""`edit`: recipes are checked whole before anything runs, then run in order."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from danlu.edits import Outcome, edit, edits
from danlu.edits.chain import check
from danlu.edits.recipe import parse
from danlu.errors import UsageError


def test_steps_run_in_order_and_merge(make_net: Callable[[str], nn.Module], x: Tensor) -> None:
    net = make_net("residual")
    outcome = edit(net, "swap_activation(to='silu') | fold_bn | prune_channels(round_to=4)", example=x)
    by_hand = edits["fold_bn"].build(edits["swap_activation"].build(net, to="silu").model)
    by_hand = edits["prune_channels"].build(by_hand.model, example=x, round_to=4).model
    assert torch.equal(outcome.model.eval()(x), by_hand.eval()(x))
    steps = [change.name.split(":")[0] for change in outcome.changed]
    assert list(dict.fromkeys(steps)) == ["swap_activation", "fold_bn", "prune_channels"]
    assert outcome.model.danlu_recipe == "swap_activation(to='silu') | fold_bn | prune_channels(round_to=4)"
    assert outcome.params[1] < outcome.params[0]
    assert f"{outcome.params[0]:,} -> {outcome.params[1]:,}" in str(outcome)


def test_order_matters(make_net: Callable[[str], nn.Module]) -> None:
    net = make_net("plain")
    first = edit(net, "fold_bn").model
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in first.modules())
    assert edit(first, "fold_bn").changed == []


def test_the_recipe_grows(make_net: Callable[[str], nn.Module]) -> None:
    net = make_net("plain")
    once = edit(net, "swap_activation(to = 'silu')").model
    assert once.danlu_recipe == "swap_activation(to='silu')"
    assert edit(once, "fold_bn").model.danlu_recipe == "swap_activation(to='silu') | fold_bn"
    assert not hasattr(net, "danlu_recipe")


def test_marks_survive_a_new_root() -> None:
    norm = nn.BatchNorm2d(8)
    norm.danlu_recipe, norm.danlu_num_classes = "mine:norm", 8
    model = edit(norm, "swap_norm(to='group', groups=2)").model
    assert isinstance(model, nn.GroupNorm)
    assert (model.danlu_recipe, model.danlu_num_classes) == ("mine:norm | swap_norm(to='group', groups=2)", 8)


def test_all_errors_at_once() -> None:
    recipe = (
        "fold_bm | swap_activation(to='rellu') | prune_channels(ratio='half', example=1) | fit_input"
        " | swap_norm(to='group', group=4)"
    )
    with pytest.raises(UsageError) as caught:
        edit(nn.Linear(2, 2), recipe)
    text = str(caught.value)
    for expected in (
        "unknown edit 'fold_bm'; did you mean fold_bn",
        "swap_activation: unknown activation 'rellu'; did you mean relu",
        "prune_channels: ratio takes a number, got 'half'",
        "example is given by the program",
        "prune_channels needs example",
        "fit_input needs size",
        "unknown option of swap_norm 'group'; did you mean groups",
    ):
        assert expected in text, text


def test_nothing_runs_when_a_later_step_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **kwargs: object) -> Outcome:
        raise AssertionError("an edit ran before the recipe was checked")

    monkeypatch.setattr(copy, "deepcopy", never)
    with pytest.raises(UsageError, match="fold_bm"):
        edit(nn.BatchNorm2d(2), "swap_norm(to='group') | fold_bm")


@pytest.mark.parametrize(
    ("step", "allowed"),
    [
        ("fit_input(size=32)", True),
        ("fit_input(size=(32, 48))", True),
        ("fit_input(size=[32, 48])", True),
        ("fit_input(size=(32, 48, 3))", False),
        ("fit_input(size=32.0)", False),
        ("fit_input(size=True)", False),
        ("fit_input(size='32')", False),
        ("prune_channels(ratio=1)", True),  # of the right type; out of range is the edit's own error
        ("prune_channels(skip=['a', 'b'])", True),
        ("prune_channels(skip='a')", False),
        ("prune_channels(skip=[1])", False),
        ("prune_channels(scope='local')", False),
        ("swap_norm(to='group', groups=None)", True),
        ("swap_norm(to='group', groups=4.5)", False),
        ("swap_norm(to=1)", False),
    ],
)
def test_types_of_options(step: str, allowed: bool) -> None:
    context = {"example": torch.zeros(1), "batches": None}
    if allowed:
        check(parse(step), context)
    else:
        with pytest.raises(UsageError, match=step.split("(")[0]):
            check(parse(step), context)


def test_context_is_asked_for_only_when_needed(make_net: Callable[[str], nn.Module], x: Tensor) -> None:
    net = make_net("plain")
    with pytest.raises(UsageError, match=r"prune_channels needs example.*edit\(\.\.\., example=x\)"):
        edit(net, "prune_channels")
    with pytest.raises(UsageError, match=r"prune_channels needs batches.*iterator of \(x, y\)"):
        edit(net, "prune_channels(importance='taylor')", example=x)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        yield x, torch.tensor([1, 2])

    assert edit(net, "prune_channels(importance='taylor', round_to=4)", example=x, batches=batches).changed
    assert edit(net, "prune_channels(round_to=4)", example=x).changed


def test_what_must_come_first_does(make_net: Callable[[str], nn.Module], x: Tensor) -> None:
    net = make_net("plain")
    with pytest.raises(UsageError, match="swap_norm must come before prune_channels"):
        edit(net, "prune_channels(round_to=4) | swap_norm(to='group')", example=x)
    pruned = edit(net, "swap_norm(to='group') | prune_channels(round_to=4)", example=x).model
    with pytest.raises(UsageError, match="swap_norm must come before prune_channels"):
        edit(pruned, "swap_norm(to='layer')")


def test_a_frozen_empty_recipe_is_refused() -> None:
    with pytest.raises(UsageError, match="empty step"):
        edit(nn.Linear(2, 2), "")
