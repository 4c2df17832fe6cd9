"""se: where it goes, that an open gate changes nothing, how it starts, and that it is put in once."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from danlu.edits import edit
from danlu.edits.se import se
from danlu.errors import UsageError
from danlu.nn import CBAM, SqueezeExcitation
from danlu.zoo import create

NETS = {
    "resnet20": [f"layer{stage}.{block}.bn2" for stage in (1, 2, 3) for block in range(3)],
    "resnet50(width=0.25)": [f"layer{i + 1}.{block}.bn3" for i, count in enumerate((3, 4, 6, 3)) for block in range(count)],
    "allconv6(width=0.25)": ["3", "5", "7", "9"],  # behind the ReLUs, but for the stem's
    "squeezenet1_1(width=0.25)": [f"features.{i}" for i in (3, 4, 6, 7, 9, 10, 11, 12)],  # the fires
}


def gates(model: nn.Module) -> list[SqueezeExcitation]:
    return [layer for layer in model.modules() if isinstance(layer, SqueezeExcitation)]


@pytest.mark.parametrize("name", NETS)
def test_the_places(name: str) -> None:
    with torch.device("meta"):
        net = create(name, num_classes=10)
    outcome = se(net, reduction=8)
    assert [change.name for change in outcome.changed] == NETS[name]
    assert [gate.reduction for gate in gates(outcome.model)] == [8] * len(NETS[name])
    assert all(change.price is not None and change.price.output == 0 for change in outcome.changed)


def test_open_gates_change_nothing() -> None:
    net = create("resnet20(width=0.5)", num_classes=10, seed=0).eval()
    model = edit(net, "se").model
    with torch.no_grad():
        for gate in gates(model):
            gate.excite.weight.zero_()
            gate.excite.bias.fill_(1e4)
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(model(x), net(x))


def test_gates_start_half_open_with_norms_and_nearly_open_without() -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 3, 32, 32)
    for name, low, high in (("resnet20", 0.3, 0.7), ("allconv6(width=0.25) | fit_input(size=32)", 0.9, 1.0)):
        model = edit(create(name, num_classes=10, seed=0), "se").model.train()
        for gate in gates(model):
            gate.gate.register_forward_hook(lambda gate, _args, out: setattr(gate, "seen", out))
        model(x)
        for gate in gates(model):
            assert low < gate.gate.seen.mean() < high
            assert gate.gate.seen.std() > 1e-4, "images and channels differ"


def test_it_is_put_in_once_and_lies_beside_others() -> None:
    for name in ("seresnet18(width=0.25)", "resnet20 | se", "squeezenet1_1(width=0.25) | se", "allconv6 | se | cbam"):
        with torch.device("meta"):
            outcome = se(create(name, num_classes=10))
        assert not outcome.changed
        assert "it has a SqueezeExcitation already" in {reason for _, reason in outcome.kept}
    model = edit(create("resnet20"), "cbam | se").model
    assert [type(part).__name__ for part in model.layer1[0].bn2[1]] == ["CBAM", "SqueezeExcitation"]
    assert not edit(model, "cbam | se").changed
    assert sum(isinstance(layer, CBAM) for layer in model.modules()) == len(gates(model)) == 9


def test_reasons_to_keep(make_net: Callable[[str], nn.Module]) -> None:
    kept = dict(se(make_net("residual")).kept)
    assert kept["1"] == kept["2"] == "no layer ends its residual branch, the forward itself does"
    assert dict(se(create("resnet20"), skip=["layer1", "layer2.0.bn2"]).kept) == dict.fromkeys(
        ["layer1.0.bn2", "layer1.1.bn2", "layer1.2.bn2", "layer2.0.bn2"], "named in skip"
    )
    one = nn.Sequential(nn.Conv1d(3, 8, 3), nn.ReLU(), nn.Conv1d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    assert dict(se(one).kept) == {"3": "it gives no map [C, H, W], or its part of the net does not run alone"}
    with torch.device("meta"):
        assert dict(se(create("squeezenet1_1")).kept) == {"classifier.1": "it gives the scores of the classes"}


def test_an_exit_keeps_its_place() -> None:
    net = create("resnet20(width=0.5) | add_exits(at=['layer2.1'])", num_classes=10, seed=0).eval()
    outcome = se(net)
    x = torch.randn(2, 3, 32, 32)
    assert outcome.model.exits(x)[0].shape == (2, 10)
    assert len(outcome.changed) == 9


def test_frozen_layers_stay_frozen() -> None:
    net = create("resnet20", num_classes=10).train()
    net.layer1[0].bn2.eval()
    net.layer1[0].bn2.weight.requires_grad_(False)
    model = se(net).model
    assert [part.training for part in model.layer1[0].bn2] == [False, False]
    assert model.layer1[0].bn2.training is False
    assert model.layer1[0].training
    assert not model.layer1[0].bn2[0].weight.requires_grad
    assert all(p.requires_grad for p in model.layer1[0].bn2[1].parameters())


def test_a_pruned_net_with_attention_is_rebuilt_from_its_file(tmp_path) -> None:
    from danlu.codec.pack import pack_model
    from danlu.codec.unpack import unpack_model
    from danlu.data.spec import Input

    x = torch.randn(4, 3, 32, 32)
    net = create("resnet8 | se | cbam | non_local(stages=[2])", num_classes=10, seed=0).eval()
    outcome = edit(net, "prune_channels(ratio=0.3, round_to=1)", example=x)
    assert outcome.params[1] < outcome.params[0]
    form = Input((32, 32), 3, (0.5,) * 3, (0.5,) * 3)
    pack_model(outcome.model, tmp_path / "net.danlu", input=form, classes=[str(i) for i in range(10)])
    torch.testing.assert_close(unpack_model(tmp_path / "net.danlu").model(x), outcome.model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reduction", [0, -16, 2.5])
def test_usage(reduction: object) -> None:
    with pytest.raises(UsageError, match="reduction"):
        se(nn.Sequential(), reduction=reduction)  # type: ignore[arg-type]
