"""danlu view: numbers as JSON, lines for people, a page beside the model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from typer.testing import CliRunner

from danlu.cli import listing, show
from danlu.cli.view import run
from danlu.codec import save
from danlu.data import load_data
from danlu.views import look, views
from danlu.zoo import create


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    source = load_data("digits")
    save(create("resnet8(width=0.25)", num_classes=10, in_channels=1, seed=0), folder, input=source.input, classes=source.classes)
    return folder


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("COLUMNS", "200")
    app = typer.Typer()
    for name, command in (("view", run), ("list", listing.run), ("show", show.run)):
        app.command(name)(command)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def test_numbers_and_a_page(call: Callable[..., Any], saved: Path) -> None:
    result = call("view", "translation(shift=1)", saved, "digits", "--images", "20", "--seed", "3", "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    model = create("resnet8(width=0.25)", num_classes=10, in_channels=1, seed=0)
    source = load_data("digits", seed=3).with_input(load_data("digits").input)  # other images, normalised as the model was saved
    wanted = look("translation(shift=1)", model, source, images=20, seed=3)
    assert answer["values"]["maps"]["accuracy"] == wanted.values["maps"]["accuracy"]
    assert torch.tensor(answer["values"]["maps"]["distance"]).allclose(torch.tensor(wanted.values["maps"]["distance"]), atol=1e-4)
    assert answer["page"] == str(saved / "view-translation.html")
    page = Path(answer["page"]).read_text()
    assert "Sensitivity to translation" in page
    assert "src=" not in page.split("<script type", 1)[0]  # nothing is loaded


def test_for_people(call: Callable[..., Any], saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "here.html"
    result = call("view", "layer_drop", saved / "model.safetensors", "digits", "--split", "val", "--images", "20", "--out", out)
    assert result.exit_code == 0, result.stderr
    assert "digits, val: layer_drop" in result.stderr
    assert "without one residual branch of 3" in result.stdout
    assert result.stdout.endswith(f"Page: {out}\n")
    assert out.is_file()


def test_views_are_listed_and_shown(call: Callable[..., Any]) -> None:
    entries = json.loads(call("list", "views", "--json").stdout)["entries"]
    assert [entry["name"] for entry in entries] == views.names()
    answer = json.loads(call("show", "one_pixel", "--json").stdout)
    assert {option["name"] for option in answer["options"]} == {"pixels", "population", "generations"}
    assert "differential evolution" in answer["about"]


def test_wrong_usage(call: Callable[..., Any], saved: Path, tmp_path: Path) -> None:
    for words, says in (
        (("translate", saved, "digits"), "did you mean translation"),
        (("translation(shif=2)", saved, "digits"), "did you mean shift"),
        (("translation(shift=99)", saved, "digits"), "got step=1, shift=99"),
        (("layer_drop", saved / "model.onnx", "digits"), "give the run folder"),
        (("layer_drop", saved, "digits", "--out", tmp_path / "x.png"), "must end in .html"),
        (("layer_drop", saved, "digits", "--split", "vall"), "did you mean val"),
        (("layer_drop", tmp_path, "digits"), "is not a saved model"),
    ):
        result = call("view", *words)
        assert result.exit_code == 2, words
        assert says in result.stderr, (says, result.stderr)
        assert result.stdout == ""
