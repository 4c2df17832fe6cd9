"""Saving and loading: the recipe and the tensors rebuild the model, damage and foreign files are refused."""

import json
from pathlib import Path

import pytest
import torch

from danlu import create, edit, load, save
from danlu.codec import load_saved
from danlu.data.spec import Input
from danlu.errors import DanluError, UsageError

INPUT = Input((16, 16), 3, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
CLASSES = ("a", "b", "c")


def trained(recipe: str = "resnet8") -> torch.nn.Module:
    """A net with statistics that are not the initial ones."""
    net = create(recipe, num_classes=3, in_channels=3, seed=1).train()
    with torch.no_grad():
        net(torch.randn(8, 3, 16, 16))
    return net.eval()


@pytest.mark.parametrize(
    "steps", ["", "fold_bn", "prune_channels(ratio=0.5)", "prune_channels(ratio=0.3) | fold_bn", 'swap_activation(to="silu")']
)
def test_round_trip_gives_the_same_outputs(tmp_path: Path, steps: str) -> None:
    net, x = trained(), torch.randn(2, 3, 16, 16)
    if steps:
        net = edit(net, steps, example=x).model.eval()
    save(net, tmp_path, input=INPUT, classes=CLASSES)
    saved = load_saved(tmp_path)
    assert saved.input == INPUT
    assert saved.classes == CLASSES
    assert not saved.model.training
    with torch.no_grad():
        torch.testing.assert_close(saved.model(x), net(x))
    assert saved.model.danlu_recipe == net.danlu_recipe == saved.recipe


def test_a_single_file_has_its_json_beside_it(tmp_path: Path) -> None:
    net = trained()
    path = save(net, tmp_path / "net.safetensors", input=INPUT, classes=CLASSES)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.json", "net.safetensors"]
    for name in (path, tmp_path / "net.json"):
        assert load(name).danlu_recipe == "resnet8"


def test_damage_is_seen(tmp_path: Path) -> None:
    save(trained(), tmp_path, input=INPUT, classes=CLASSES)
    file = tmp_path / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(DanluError, match="SHA-256"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 99}, "format 99"),
        ({"recipe": 5}, "not the description"),
        ({"input": {}}, "not the description"),
        ({"recipe": "resnte8"}, "resnet8"),
    ],
)
def test_a_foreign_description_is_one_clear_error(tmp_path: Path, change: dict, words: str) -> None:
    save(trained(), tmp_path, input=INPUT, classes=CLASSES)
    file = tmp_path / "model.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(UsageError, match=words):
        load(tmp_path)


def test_code_named_by_a_file_is_not_run_unless_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mynet.py").write_text(
        "from torch import nn\ndef build(num_classes=3):\n    return nn.Sequential(nn.Flatten(), nn.Linear(768, num_classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    net = create("mynet:build", num_classes=3)
    save(net, tmp_path / "run", input=INPUT, classes=CLASSES)
    with pytest.raises(UsageError, match="trust"):
        load(tmp_path / "run")
    x = torch.randn(1, 3, 16, 16)
    torch.testing.assert_close(load(tmp_path / "run", trust=True)(x), net(x))


def test_what_cannot_be_saved_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no recipe"):
        save(torch.nn.Linear(2, 2), tmp_path, input=INPUT, classes=CLASSES)
    with pytest.raises(UsageError, match=r"\.pt"):
        save(trained(), tmp_path / "model.pt", input=INPUT, classes=CLASSES)
    with pytest.raises(UsageError, match="is missing"):
        load(tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == []
