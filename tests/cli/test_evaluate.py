"""danlu evaluate: a saved model and its exported file get the same scores."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from danlu.cli.evaluate import run
from danlu.codec import save
from danlu.data import load_data
from danlu.train import TrainConfig, fit
from danlu.zoo import create


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    source = load_data("digits")
    net = create("resnet8(width=0.25)", num_classes=10, in_channels=1, seed=0)
    config = TrainConfig(steps=50, batch_size=64, lr=0.1, precision="fp32", memory_format="nchw")
    model = fit(net, source, config).model
    save(model, folder, input=source.input, classes=source.classes)
    save(model, folder / "model.onnx", input=source.input, classes=source.classes)
    return folder


@pytest.fixture
def evaluate(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("COLUMNS", "200")
    app = typer.Typer()
    app.command()(run)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def test_torch_and_onnx_agree(evaluate: Callable[..., Any], trained: Path) -> None:
    answers = []
    for model in (trained, trained / "model.safetensors", trained / "model.onnx"):
        result = evaluate(model, "digits", "--json")
        assert result.exit_code == 0, result.stderr
        answers.append(json.loads(result.stdout))
    assert answers[0]["n"] == 269
    assert answers[0]["accuracy"] > 0.5
    for other in answers[1:]:
        assert other["confusion"] == answers[0]["confusion"]
        assert other["loss"] == pytest.approx(answers[0]["loss"], rel=1e-4)
        assert other["recipe"] == answers[0]["recipe"]
    low, high = answers[0]["interval"]
    assert low < answers[0]["accuracy"] < high


def test_other_split_for_people(evaluate: Callable[..., Any], trained: Path) -> None:
    result = evaluate(trained, "digits", "--split", "val")
    assert result.exit_code == 0
    assert "digits, val: 269 images" in result.stderr
    assert "top-5 accuracy" in result.stdout
    assert "hardest classes: " in result.stdout


def test_models_and_crops_together(evaluate: Callable[..., Any], trained: Path) -> None:
    result = evaluate(trained, trained / "model.onnx", "digits", "--crops", "10", "--scale", "1.25", "--threads", "1", "--json")
    assert result.exit_code == 0, result.stderr
    assert "mirror image" in result.stderr  # a mirrored 2 is no 2
    answer = json.loads(result.stdout)
    assert (answer["crops"], answer["image"], answer["input"], answer["n"]) == (10, [10, 10], [8, 8], 269)
    names = [row["name"] for row in answer["rows"]]
    assert names == [str(trained), answer["models"][1], *(f"{m}, 10 crops at scale 1.25" for m in answer["models"]),
                     "all 2, 10 crops at scale 1.25"]  # fmt: skip
    alone, file, _, _, both = answer["rows"]
    assert alone["accuracy"] == file["accuracy"] == json.loads(evaluate(trained, "digits", "--json").stdout)["accuracy"]
    assert both["accuracy"] == answer["accuracy"]
    assert both["difference"][0] == pytest.approx(both["accuracy"] - alone["accuracy"])
    assert both["times"] > 1
    shown = evaluate(trained, "digits", "--scale", "1.25", "-q")
    assert shown.exit_code == 0
    assert "1 crop at scale 1.25" in shown.stdout
    assert "Gain and times are over the first line" in shown.stdout


def test_wrong_usage(evaluate: Callable[..., Any], trained: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(12):
            Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(tmp_path / "photos" / label / f"{i}.png")
    for words, says in (
        ((trained, "digits", "--split", "tst"), "did you mean test"),
        ((tmp_path / "none", "digits"), "is not a saved model"),
        ((tmp_path / "none.onnx", "digits"), "does not exist"),
        ((trained, tmp_path / "photos"), "knows the classes"),
        ((trained / "model.onnx", tmp_path / "photos"), "knows the classes"),
        ((trained, trained, tmp_path / "photos"), "knows the classes"),
        ((trained, "digits", "--crops", "7"), "the nearest are"),
        ((trained, "digits", "--crops", "9", "--scale", "1"), "not all different"),
        ((), "Missing argument"),
        (("digits",), "say which model to judge: digits is neither a run folder nor a .safetensors"),
    ):
        result = evaluate(*words)
        assert result.exit_code == 2, words
        assert says in result.stderr, (says, result.stderr)
        assert result.stdout == ""


def test_runs_alone_are_judged_on_what_they_learned_from(evaluate: Callable[..., Any], trained: Path, tmp_path: Path) -> None:
    for name, text in (("a", "seed: 3"), ("b", "config: {seed: 3}"), ("other", "seed: 4")):
        shutil.copytree(trained, tmp_path / name)
        (tmp_path / name / "config.yaml").write_text(f"data: digits\n{text}\n")
    both = evaluate(tmp_path / "a", tmp_path / "b", "--json")
    assert both.exit_code == 0, both.stderr
    assert "images: digits, split as in training (seed 3)" in both.stderr
    named = json.loads(evaluate(tmp_path / "a", tmp_path / "b", "digits", "--seed", "3", "--json").stdout)
    assert json.loads(both.stdout)["confusion"] == named["confusion"]
    alone = evaluate(tmp_path / "a", "--json")
    assert alone.exit_code == 0, alone.stderr
    assert json.loads(alone.stdout) == json.loads(evaluate(tmp_path / "a", "digits", "--seed", "3", "--json").stdout)
    differ = evaluate(tmp_path / "a", tmp_path / "other")
    assert differ.exit_code == 2
    assert "with seed 3" in differ.stderr
    assert "with seed 4" in differ.stderr
    silent = evaluate(tmp_path / "a", trained / "model.onnx")
    assert silent.exit_code == 2
    assert "does not say which images it learned from; name them last" in silent.stderr
