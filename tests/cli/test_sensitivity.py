"""danlu sensitivity: one layer at a time, judged on validation, with a step to paste."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from torch import nn
from typer.testing import CliRunner

from danlu import TrainConfig, create, edit, evaluate, fit, load_data, save
from danlu.cli import sensitivity as cli
from danlu.errors import UsageError
from danlu.search import sensitivity

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(cli.run)
SOURCE = load_data("digits")


@pytest.fixture(scope="module")
def net() -> nn.Module:
    """A small net that has learned something."""
    made = create("lenet_300_100(size=8, width=0.5)", num_classes=10, in_channels=1, seed=0)
    config = TrainConfig(epochs=6, optimizer="adamw", lr=3e-3, precision="fp32", memory_format="nchw")
    return fit(made, SOURCE, config).model


@pytest.fixture(scope="module")
def saved(net: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("net")
    save(net, path, input=SOURCE.input, classes=SOURCE.classes)
    return path


def linear(net: nn.Module) -> list[str]:
    return [name for name, module in net.named_modules() if isinstance(module, nn.Linear)]


def by_hand(net: nn.Module, layer: str, sparsity: float) -> float:
    """Accuracy on validation with the smallest weights of one layer set to zero, without danlu's edits."""
    import copy

    cut = copy.deepcopy(net)
    weight = cut.get_submodule(layer).weight
    with torch.no_grad():
        order = weight.abs().flatten().argsort()[: weight.numel() - round(weight.numel() * (1 - sparsity))]
        weight.view(-1)[order] = 0
    return evaluate(cut, SOURCE, split="val").accuracy


def test_each_figure_is_that_of_the_net_with_one_layer_cut(net: nn.Module) -> None:
    found = sensitivity(net, SOURCE, levels=[0.5, 0.95], max_drop=0.02)
    before = evaluate(net, SOURCE, split="val").accuracy
    assert found.accuracy == before
    assert [row.name for row in found.rows] == linear(net)
    for row in found.rows:
        for cell in row.cells:
            assert cell.accuracy == pytest.approx(by_hand(net, row.name, cell.level), abs=1e-9)
            assert cell.drop == pytest.approx(before - cell.accuracy)
        good = [c.level for c in row.cells if c.drop is not None and c.drop <= 0.02 + 1e-9]
        assert row.chosen == (max(good) if good else None)


def test_the_suggestion_can_be_pasted(net: nn.Module) -> None:
    found = sensitivity(net, SOURCE, levels=[0.5, 0.8], max_drop=0.5)
    outcome = edit(net, found.suggestion)
    for row in found.rows:
        zeros = (outcome.model.get_submodule(row.name).weight == 0).float().mean().item()
        assert zeros == pytest.approx(row.chosen, abs=0.01)
    assert sensitivity(net, SOURCE, levels=[0.99], max_drop=0.0, images=50).suggestion == "" or found.suggestion


@pytest.mark.parametrize(("name", "levels"), [("share", [4, 1]), ("low_rank", [0.99, 0.5])])
def test_other_edits_are_scanned_too(net: nn.Module, name: str, levels: list[float]) -> None:
    found = sensitivity(net, SOURCE, edit=name, levels=levels, images=100, max_drop=0.9)
    assert found.images == 100
    assert found.suggestion.startswith(name)
    outcome = edit(net, found.suggestion, example=torch.zeros(1, *SOURCE.input.shape))
    chosen = {row.name for row in found.rows if row.chosen is not None}
    assert {change.name.removeprefix(f"{name}: ") for change in outcome.changed} == chosen
    tried = {row.name: row.cells for row in found.rows}
    assert all(c.kept for cells in tried.values() for c in cells if c.accuracy is None)


def test_the_command_prints_json_and_a_table(saved: Path) -> None:
    words = [str(saved), "digits", "--levels", "0.5, 0.9", "--images", "60"]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert (result["edit"], result["option"], result["levels"], result["images"]) == ("prune", "sparsity", [0.5, 0.9], 60)
    shown = CliRunner().invoke(app, [*words, "--quiet"])
    assert not shown.stderr
    assert result["suggestion"].replace(" ", "") in shown.stdout.replace(" ", "").replace("\n", "")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--edit", "prun"], "did you mean prune"),
        (["--edit", "fold_bn"], "share"),
        (["--levels", "a,b"], "not understood"),
        (["--edit", "share", "--levels", "2.5"], "bits"),
        (["--levels", "1.5"], "below 1"),
        (["--max-drop", "2"], "max_drop"),
    ],
)
def test_wrong_usage_is_one_line(saved: Path, words: list[str], says: str) -> None:
    done = CliRunner().invoke(app, [str(saved), "digits", "--images", "20", "--quiet", *words])
    assert done.exit_code == 2, done.stderr
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_python_refuses_no_images(net: nn.Module) -> None:
    with pytest.raises(UsageError, match="images"):
        sensitivity(net, SOURCE, images=0)
