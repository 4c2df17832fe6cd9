"""prune: how many weights go and where, what is refused, and what composes with it."""

import pytest
import torch
from torch import Tensor, nn

from danlu.data import load_data
from danlu.edits import edit
from danlu.encodings import bake, settled
from danlu.errors import UsageError
from danlu.train import TrainConfig, fit
from danlu.zoo import create


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {n: m.weight.detach() for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return create("resnet8", num_classes=10, seed=0)


@pytest.mark.parametrize("sparsity", [0.3, 0.9])
def test_global_scope_cuts_the_smallest_of_all(net: nn.Module, sparsity: float) -> None:
    pruned = weights(edit(net, f"prune(sparsity={sparsity})").model)
    old = weights(net)
    zeros = sum(int((w == 0).sum()) for w in pruned.values())
    total = sum(w.numel() for w in old.values())
    assert zeros == pytest.approx(sparsity * total, abs=2 * len(old))
    threshold = torch.cat([w.abs().flatten() for w in old.values()]).kthvalue(round(sparsity * total)).values
    for name, weight in pruned.items():
        kept_by_threshold = old[name].abs() > threshold
        if kept_by_threshold.float().mean() > 0.01:  # a layer's last hundredth is safe
            assert (weight != 0).sum() == pytest.approx(int(kept_by_threshold.sum()), abs=2, rel=0.1)


def test_layer_scope_cuts_alike(net: nn.Module) -> None:
    for weight in weights(edit(net, "prune(sparsity=0.8, scope='layer')").model).values():
        assert (weight == 0).sum() == weight.numel() - round(weight.numel() * 0.2)


def test_a_layer_keeps_a_hundredth() -> None:
    net = nn.Sequential(nn.Linear(100, 100), nn.Linear(100, 100))
    with torch.no_grad():
        net[0].weight *= 1e-3
    pruned = edit(net, "prune(sparsity=0.6)").model
    assert (pruned[0].weight != 0).sum() >= 99


def test_a_dict_names_the_layers(net: nn.Module) -> None:
    outcome = edit(net, "prune(sparsity={'conv1': 0.5, 'fc': 0.75})")
    assert [change.name for change in outcome.changed] == ["prune: conv1", "prune: fc"]
    assert (outcome.model.fc.weight == 0).float().mean() == 0.75
    with pytest.raises(UsageError, match="did you mean conv1"):
        edit(net, "prune(sparsity={'conv_1': 0.5})")


def test_pruning_again_keeps_the_zeros(net: nn.Module) -> None:
    once = edit(net, "prune(sparsity=0.5, scope='layer')").model
    twice = edit(once, "prune(sparsity=0.8, scope='layer')").model
    for name, weight in weights(once).items():
        assert (weights(twice)[name][weight == 0] == 0).all()
    again = edit(twice, "prune(sparsity=0.4, scope='layer')")
    assert not again.changed
    assert all("zeros already" in reason for _, reason in again.kept)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("prune(sparsity=1.0)", "from 0 and below 1"),
        ("prune(sparsity=-0.1)", "from 0 and below 1"),
        ("prune(sparsity='much')", "a number or a dict of quoted text to a number"),
        ("prune(schedule='slow')", "did you mean|gradual"),
        ("prune(structure='2:4', schedule='gradual')", "oneshot"),
        ("prune(structure='2:4', sparsity=0.7)", "sparsity=0.5"),
        ("prune(structure='2:4', sparsity=0.9)", "sparsity=0.5"),
        ("prune(ramp=0.0)", "ramp"),
    ],
)
def test_bad_options(net: nn.Module, recipe: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        edit(net, recipe)


def test_two_of_four(net: nn.Module) -> None:
    outcome = edit(net, "prune(structure='2:4')")
    assert ("prune: conv1", "its 3 inputs are not fours") in outcome.kept
    for change in outcome.changed:
        weight = outcome.model.get_submodule(change.name.removeprefix("prune: ")).weight
        assert ((weight.movedim(1, -1).reshape(-1, 4) != 0).sum(1) == 2).all()


def test_fit_drives_the_schedule_and_keeps_only_settled_weights() -> None:
    source = load_data("digits")
    net = create("lenet_300_100(size=8)", num_classes=10, in_channels=1, seed=0)
    pruned = edit(net, "prune(sparsity=0.95, schedule='gradual', ramp=0.5, group=1e-5)").model
    done = fit(
        pruned,
        source,
        TrainConfig(epochs=24, batch_size=64, precision="fp32", memory_format="nchw", optimizer="adam", lr=5e-3, augment="none"),
    )
    assert settled(done.model)
    plain = bake(done.model)
    zeros = sum(int((w == 0).sum()) for w in weights(plain).values())
    assert zeros / sum(w.numel() for w in weights(plain).values()) == pytest.approx(0.95, abs=0.001)
    best = max(row["val_accuracy"] for row in done.history if row["epoch"] > 12.1)
    assert done.best_accuracy == best
    assert best > 0.5


def test_channels_are_cut_from_a_pruned_net_and_the_zeros_stay() -> None:
    net = create("lenet_300_100(size=8)", num_classes=10, in_channels=1, seed=0).eval()
    with torch.no_grad():
        for layer, dead in ((net[1], slice(100, 300)), (net[3], slice(60, 100))):
            layer.weight[dead] *= 1e-3
            layer.bias[dead] = 0
    pruned = edit(net, "prune(sparsity=0.7)").model
    x = torch.randn(4, 1, 8, 8)
    cut = edit(pruned, "prune_channels(ratio=0.5, round_to=1)", example=x).model
    assert cut[1].out_features < 300
    zeros = {name: weight == 0 for name, weight in weights(cut).items()}
    assert any(bool(mask.any()) for mask in zeros.values())
    optimizer = torch.optim.SGD(cut.parameters(), lr=0.1)
    cut.train()(x).square().sum().backward()
    optimizer.step()
    assert all(torch.equal(weights(cut)[name] == 0, mask) for name, mask in zeros.items())
    with pytest.raises(UsageError, match="comes before that"):
        edit(net, "share(bits=3) | prune_channels", example=x)


def test_a_ramp_over_the_whole_training_ends_with_it() -> None:
    net = create("lenet_300_100(size=8)", num_classes=10, in_channels=1, seed=0)
    pruned = edit(net, "prune(sparsity=0.5, scope='layer', schedule='gradual', ramp=1.0)").model
    done = fit(pruned, load_data("digits"), TrainConfig(steps=7, precision="fp32", memory_format="nchw"))
    for weight in weights(bake(done.model)).values():
        assert (weight == 0).sum() == weight.numel() - round(weight.numel() * 0.5)
