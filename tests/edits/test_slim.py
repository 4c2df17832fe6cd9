"""slim: against the gradient of a loss with the L1 term written out, through fit, and into the edits that come after."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import danlu
from danlu.edits import edit
from danlu.edits._penalties import without_penalties
from danlu.edits.slim import slim
from danlu.edits.swap_norm import swap_norm
from danlu.encodings import Mask, Penalty, encode, encoded
from danlu.errors import UsageError
from danlu.train import TrainConfig, fit
from danlu.zoo import create


def conv_norm(width: int = 16) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10),
    )  # fmt: skip
    for norm in (net[1], net[4]):
        nn.init.uniform_(norm.weight, -1, 1)
        norm.running_var.uniform_(0.5, 2)
    return net


def test_trains_as_the_loss_with_the_l1_term_does() -> None:
    net = conv_norm()
    x, y = torch.randn(8, 3, 6, 6), torch.randint(10, (8,))
    mine, theirs = slim(net, l1=0.05).model, copy.deepcopy(net)
    (F.cross_entropy(theirs(x), y) + 0.05 * sum(theirs[i].weight.abs().sum() for i in (1, 4))).backward()
    F.cross_entropy(mine(x), y).backward()
    for i in (1, 4):
        torch.testing.assert_close(mine[i].parametrizations.weight.original.grad, theirs[i].weight.grad)
        torch.testing.assert_close(mine[i].bias.grad, theirs[i].bias.grad)
    torch.testing.assert_close(mine[0].weight.grad, theirs[0].weight.grad)


def test_names_what_it_changed() -> None:
    outcome = slim(conv_norm(), l1=0.02)
    assert [change.name for change in outcome.changed] == ["1", "4"]
    assert outcome.changed[0].after.endswith("weight: l1 penalty 0.02")
    assert outcome.kept == []
    assert outcome.params[0] == outcome.params[1]
    again = slim(outcome.model, l1=0.3)
    assert [str(change.before).endswith("l1 penalty 0.02") for change in again.changed] == [True, True]
    assert [[part.strength for part in chain] for _, _, _, chain in encoded(again.model)] == [[0.3], [0.3]]
    assert [[part.strength for part in chain] for _, _, _, chain in encoded(outcome.model)] == [[0.02], [0.02]]


class TwoUsers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) + y


def masked() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8))
    encode(net[1], "weight", Mask(sparsity=0.5, shape=(8,)))
    return net


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8, affine=False)), "it has no scale to penalise"),
        (lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.BatchNorm2d(8)), "it follows a ReLU, which makes no channels"),
        (lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 8, 1)), "it does not follow a layer directly"),
        (TwoUsers, "feeds something else"),
        (masked, "parametrised: bake it first"),
    ],
)
def test_keeps_other_norms(make: Callable[[], nn.Module], reason: str) -> None:
    outcome = slim(make())
    assert outcome.changed == []
    assert [reason in why for _, why in outcome.kept] == [True], outcome.kept


def test_skip_and_errors() -> None:
    assert slim(conv_norm(), skip=["4"]).kept == [("4", "named in skip")]
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(UsageError, match="l1 is a number above zero"):
            slim(conv_norm(), l1=wrong)
    with pytest.raises(UsageError, match="swap_norm must come before slim"):
        edit(conv_norm(), "slim | swap_norm(to='group')")


def scales(net: nn.Module) -> Tensor:
    return torch.cat([m.weight.detach().abs() for m in net.modules() if isinstance(m, nn.BatchNorm2d)])


def test_fit_drives_scales_to_zero_and_pruning_cuts_those() -> None:
    source = danlu.load_data("digits")
    net = create("allconv6(width=0.25, batch_norm=True) | fit_input(size=8)", num_classes=10, in_channels=1, seed=0)
    config = TrainConfig(epochs=2, batch_size=64, lr=0.1, seed=0)
    fitted = {l1: fit(slim(net, l1=l1).model if l1 else net, source, config).model for l1 in (0, 0.1)}
    small = {l1: (scales(model) < 0.2).float().mean().item() for l1, model in fitted.items()}
    assert small[0.1] > 0.3 > 0.05 > small[0], small
    slimmed = fitted[0.1]
    outcome = edit(slimmed, "prune_channels(ratio=0.3, importance='bn', round_to=1)", example=torch.zeros(2, 1, 8, 8))
    assert list(encoded(outcome.model)) == []
    assert scales(outcome.model).mean() > scales(slimmed).mean(), "the small ones went"
    assert outcome.params[1] < 0.8 * outcome.params[0]
    assert outcome.model.danlu_recipe.endswith("prune_channels(ratio=0.3, importance='bn', round_to=1)")


def test_pruning_a_slimmed_net_is_pruning_the_net() -> None:
    net, x = conv_norm(), torch.randn(2, 3, 6, 6)
    step = "prune_channels(ratio=0.5, importance='bn', round_to=1)"
    wanted = edit(net, step, example=x)
    slimmed = slim(net).model
    got = edit(slimmed, step, example=x)
    assert got.changed == wanted.changed
    assert got.model.state_dict().keys() == wanted.model.state_dict().keys()
    torch.testing.assert_close(got.model.eval()(x), wanted.model.eval()(x))
    assert len(list(encoded(slimmed))) == 2, "the input keeps its penalties"
    slimmed(x).sum().backward()


@pytest.mark.parametrize("after", ["fold_bn", "low_rank(rank=2, min_saving=0.0)", "prune(sparsity=0.5)", "share(bits=4)"])
def test_other_edits_do_as_without_penalties(after: str) -> None:
    net, x = conv_norm(), torch.randn(2, 3, 6, 6)
    wanted, got = edit(net, after).model.eval(), edit(net, f"slim | {after}").model.eval()
    torch.testing.assert_close(got(x), wanted(x), rtol=1e-5, atol=1e-5)
    assert not (after == "fold_bn" and list(encoded(got)))


def test_norms_can_be_removed_with_their_penalties() -> None:
    net, x = conv_norm(), torch.randn(2, 3, 6, 6)
    model = swap_norm(slim(net).model, to="none").model
    torch.testing.assert_close(model.eval()(x), net.eval()(x), rtol=1e-5, atol=1e-5)


def test_without_penalties_leaves_other_encodings() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight.requires_grad_(False)
    both = [Penalty(norm="l1", strength=1.0), Mask(sparsity=0.5, shape=(4, 4))]
    for layer, chain in ((net[0], both), (net[1], [Penalty(norm="l1", strength=1.0)])):
        for encoding in chain:
            encode(layer, "weight", encoding)
    x = torch.randn(3, 4)
    plain: Any = without_penalties(net)
    assert [[type(part) for part in chain] for _, _, _, chain in encoded(plain)] == [[Mask]]
    assert type(plain[1]) is nn.Linear
    assert not plain[1].weight.requires_grad
    torch.testing.assert_close(plain(x), net(x), rtol=0, atol=0)
    assert len(list(encoded(net))) == 2
    assert set(plain.state_dict()) >= {"0.parametrizations.weight.original", "0.parametrizations.weight.0.mask", "1.weight"}
