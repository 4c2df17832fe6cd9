"""Encoded and restructured nets come back as they were stored: same outputs, same encodings, ready to train on."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from danlu.codec import load, save
from danlu.data.spec import Input
from danlu.edits import edit
from danlu.edits.blueprint import blueprint, build, rebuild
from danlu.encodings import encoded
from danlu.errors import UsageError
from danlu.zoo import create

INPUT = Input((32, 32), 3, (0.5,) * 3, (0.5,) * 3)
CLASSES = [str(i) for i in range(10)]
CHAINS = [
    "prune(sparsity=0.9)",
    "prune(structure='2:4')",
    "prune(sparsity=0.8) | share(bits=4)",
    "share(bits=4, rate=0.05, biases=2)",
    "share(bits=3, per='channel')",
    "binarize(scale='channel')",
    "quantize_weights(bits=4)",
    "prune(sparsity=0.5) | quantize_weights(bits=4)",
    "fold_bn | low_rank(ratio=0.5)",
    "low_rank(rank=4) | prune(sparsity=0.5) | share(bits=3)",
    "slim(l1=0.001)",
]


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return create("resnet8", num_classes=10, seed=0).eval()


@pytest.mark.parametrize("chain", CHAINS)
def test_round_trip(net: nn.Module, chain: str, tmp_path: Path) -> None:
    model = edit(net, chain, example=torch.zeros(1, 3, 32, 32)).model.eval()
    save(model, tmp_path, input=INPUT, classes=CLASSES)
    again = load(tmp_path)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model(x), again(x))
    assert again.danlu_recipe == model.danlu_recipe
    old = [(name, tensor, [type(p) for p in chain]) for name, _, tensor, chain in encoded(model)]
    assert old == [(name, tensor, [type(p) for p in chain]) for name, _, tensor, chain in encoded(again)]
    again.train()(x).square().sum().backward()


def test_a_merged_net_round_trips(tmp_path: Path) -> None:
    net = create("googlenet_lrn(width=0.125) | fit_input(size=32)", num_classes=10, seed=0).eval()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    merged = edit(net, "merge_branches(init='copy') | merge_streamline(init='copy')", example=x, batches=lambda: iter([(x, x)]))
    save(merged.model.eval(), tmp_path, input=INPUT, classes=CLASSES)
    assert torch.equal(merged.model(x), load(tmp_path)(x))


def test_an_unsettled_schedule_is_not_stored(net: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="schedule"):
        save(edit(net, "prune(schedule='gradual')").model, tmp_path, input=INPUT, classes=CLASSES)


def test_a_foreign_encoding_is_refused(net: nn.Module, tmp_path: Path) -> None:
    save(edit(net, "prune").model, tmp_path, input=INPUT, classes=CLASSES)
    file = tmp_path / "model.json"
    about = json.loads(file.read_text())
    about["encodings"]["conv1.weight"]["chain"][0]["kind"] = "Maskk"
    file.write_text(json.dumps(about))
    with pytest.raises(UsageError, match="did you mean Mask"):
        load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [10**6, 10**6]}, {"shape": ["x"]}, {"shape": None}, {"chain": None}, {"chain": [{"kind": "Mask"}]},
        {"chain": []},
        {"chain": [{"kind": "MovingCodebook", "options": {"size": 10**12}}]}, {"chain": [{"kind": ["Mask"], "options": {}}]},
    ],
)  # fmt: skip
def test_a_bad_encoding_is_one_error_and_takes_no_memory(net: nn.Module, change: dict[str, object], tmp_path: Path) -> None:
    save(edit(net, "prune").model, tmp_path, input=INPUT, classes=CLASSES)
    file = tmp_path / "model.json"
    about = json.loads(file.read_text())
    about["encodings"]["conv1.weight"] |= change
    file.write_text(json.dumps(about))
    with pytest.raises(UsageError, match="encoding"):
        load(tmp_path)


def test_a_stored_penalty_goes_on_in_any_loop(net: nn.Module, tmp_path: Path) -> None:
    save(edit(net, "slim(l1=0.5)").model, tmp_path, input=INPUT, classes=CLASSES)
    again = load(tmp_path).train()
    norm = next(m for m in again.modules() if isinstance(m, nn.BatchNorm2d))
    norm.weight.sum().backward()
    assert torch.equal(norm.parametrizations.weight.original.grad, torch.full_like(norm.weight, 1.5))


def test_a_blueprint_holds_only_what_differs(net: nn.Module) -> None:
    changed = edit(net, "low_rank(rank={'layer1.0.conv1': 4})", example=torch.zeros(1, 3, 32, 32)).model
    found = blueprint(changed, net)
    assert list(found) == ["layer1.0.conv1"]
    assert json.loads(json.dumps(found)) == found
    again = rebuild(net, found)
    assert str(again) == str(changed)
    assert blueprint(net, net) == {}


def test_a_blueprint_of_unknown_code_is_refused(net: nn.Module) -> None:
    class Mine(nn.Module):
        pass

    changed = edit(net, "fold_bn").model
    changed.conv1 = Mine()
    with pytest.raises(UsageError, match="Mine"):
        blueprint(changed, net)


@pytest.mark.parametrize(
    "bad",
    [
        {"type": "system"}, {"type": "Conv2d", "args": {"in_channels": "x"}}, {"type": "Conv2d", "args": {"nonsense": 1}},
        {"type": ["Conv2d"]}, {"type": "Sequential", "children": [1]}, "Conv2d",
        {"type": "Sequential", "children": {"a.b": {"type": "ReLU"}}},
    ],
)  # fmt: skip
def test_a_bad_description_is_one_error(bad: object) -> None:
    with pytest.raises(UsageError):
        build(bad)
