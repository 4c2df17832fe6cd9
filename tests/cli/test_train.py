"""danlu train and danlu lr-find: run folders, resuming, interruptions, wrong usage."""

import contextlib
import inspect
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import torch
import typer
import yaml
from typer.testing import CliRunner

from danlu.cli import lr_find, train
from danlu.codec import load_saved
from danlu.data import load_data
from danlu.train import TrainConfig, evaluate

FAST = ("--precision", "fp32", "--memory-format", "channels_last")


@pytest.fixture
def danlu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    app = typer.Typer()
    app.command("train")(train.run)
    app.command("lr-find")(lr_find.run)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def test_a_run_folder_and_its_extension(danlu: Callable[..., Any]) -> None:
    first = danlu("train", "resnet8(width=0.25)", "digits", "--epochs", 1, *FAST, "--json")
    assert first.exit_code == 0, first.stderr
    answer = json.loads(first.stdout)
    folder = Path(answer["run"])
    assert folder == Path("runs/0001-digits")
    assert answer["epochs"] == 1
    assert "epoch 1" in first.stderr
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names >= {
        "config.yaml", "env.json", "metrics.jsonl", "log.txt", "model.json", "model.safetensors", "checkpoints/last.safetensors",
        "checkpoints/best.safetensors",
    }  # fmt: skip
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["recipe"] == "resnet8(width=0.25)"
    assert TrainConfig.from_json(config["config"]).epochs == 1
    rows = [json.loads(text) for text in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["val_accuracy"] == answer["history"][0]["val_accuracy"]

    saved = load_saved(folder)
    scores = evaluate(saved.model, load_data("digits"), split="val")
    assert scores.accuracy == pytest.approx(answer["val_accuracy"])

    more = danlu("train", "--resume", folder, "--epochs", 3, "--json", "--quiet")
    assert more.exit_code == 0, more.stderr
    assert more.stderr == ""
    answer = json.loads(more.stdout)
    assert [row["epoch"] for row in answer["history"]] == [1, 2, 3]
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 3
    assert yaml.safe_load((folder / "config.yaml").read_text())["config"]["epochs"] == 3

    other = danlu("train", "lenet5(size=16)", "digits", "--resume", folder, "--epochs", 4)
    assert other.exit_code == 2
    assert "--resume cannot change it" in other.stderr


def test_teacher_and_weights(danlu: Callable[..., Any]) -> None:
    small = ("train", "resnet8(width=0.25)", "digits", "--steps", 3, *FAST, "--json")
    first = json.loads(danlu(*small).stdout)
    again = danlu(*small, "--teacher", first["run"], "--weights", Path(first["run"], "model.safetensors"), "--size", "16")
    assert again.exit_code == 0, again.stderr
    assert "weights: " in again.stderr
    assert json.loads(again.stdout)["run"].endswith("0002-digits")
    assert yaml.safe_load(Path("runs/0002-digits/config.yaml").read_text())["teacher"] == first["run"]
    deeper = ("train", "resnet14(width=0.25)", "digits", "--steps", 1, *FAST, "--json", "--weights", first["file"])
    refused = danlu(*deeper)
    assert refused.exit_code == 2
    assert "--weights-partial, loads what fits" in refused.stderr
    partial = json.loads(danlu(*deeper, "--weights-partial").stdout)["weights"]
    assert len(partial["matched"]) == len(json.loads(again.stdout)["weights"]["matched"])
    assert "layer1.1.conv1.weight" in partial["missing"]
    assert danlu(*small, "--weights-partial").exit_code == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "say which network and which images"),
        (("resnet8", "digits"), "say how long, with --epochs, --time or --steps"),
        (("resnet9", "digits", "--epochs", 1), "did you mean"),
        (("resnet8", "digits", "--epochs", 1, "--time", "5m"), "exactly one of epochs, seconds and steps"),
        (("resnet8", "digits", "--epochs", 1, "--lr", "-3", "--schedule", "cosin"), "2 training settings are wrong"),
        (("resnet8", "digits", "--epochs", 1, "--milestones", "a"), "milestones 'a' not understood"),
        (("resnet8", "digits", "--time", "soon"), "time 'soon' not understood"),
        (("resnet8", "digits", "--epochs", 1, "--teacher", "nowhere"), "nowhere is not a saved model"),
        (("--resume", "nowhere"), "nowhere is not the folder of a training"),
        (("resnet8", "digits", "--epochs", 1, "--device", "cuda:99"), "device 'cuda:99' is not available"),
    ],
)
def test_wrong_usage_is_one_line_and_leaves_nothing(danlu: Callable[..., Any], words: tuple, says: str) -> None:
    result = danlu("train", *words)
    assert result.exit_code == 2
    assert says in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""
    assert not Path("runs").exists()


def test_every_setting_is_an_option_with_its_default_shown() -> None:
    defaults = TrainConfig(epochs=1)
    options = {
        name: hint.__metadata__[0] for name, hint in get_type_hints(train.run, include_extras=True).items() if name != "return"
    }
    for field in fields(TrainConfig):
        if field.name == "seconds":
            assert "time" in options
            continue
        assert field.name in options, field.name
        shown, value = options[field.name].show_default, getattr(defaults, field.name)
        if field.name in ("epochs", "steps"):
            continue
        if field.name == "lr":
            assert value is None
        elif field.name == "milestones":
            assert shown == ",".join(map(str, value))
        elif field.name == "rates":
            assert (shown, value) == ("1", {})
        elif value == "":
            assert shown in ("none", "the net's own")
        elif field.name == "nesterov":
            assert shown == "nesterov"
            assert value is True
        elif isinstance(value, float):
            assert float(shown) == pytest.approx(value, rel=1e-3), field.name
        else:
            assert shown == str(value), field.name
        assert inspect.signature(train.run).parameters[field.name].default is None  # left out means: as TrainConfig has it


START = """
import sys, typer
from danlu.cli import train
app = typer.Typer()
app.command()(train.run)
app()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_interrupted_then_resumed(danlu: Callable[..., Any], tmp_path: Path, number: signal.Signals, code: int) -> None:
    words = ["resnet8(width=0.25)", "digits", "--steps", "4000", *FAST]
    process = subprocess.Popen(
        [sys.executable, "-c", START, *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stderr is not None
    for text in process.stderr:
        if "epoch" in text and "step" in text:
            process.send_signal(number)
            break
    rest = process.stderr.read()
    process.stderr.close()
    assert process.wait() == code, rest
    found = re.search(r"danlu: training was interrupted at step ([\d,]+) of 4,000; its state is in runs/0001-digits", rest)
    assert found, rest
    assert "Traceback" not in rest
    at = int(found[1].replace(",", ""))
    result = danlu("train", "--resume", "runs/0001-digits", "--steps", at + 1)
    assert result.exit_code == 0, result.stderr
    assert f"resumed at step {at:,} of {at + 1:,}" in result.stderr


def test_lr_find(danlu: Callable[..., Any]) -> None:
    with contextlib.closing(Path("plot.html").open("w")):
        pass
    words = ("lr-find", "resnet8(width=0.25)", "digits", "--steps", 40, "--low", 1e-4, "--batch-size", 64, "--out", "plot.html")
    before = torch.random.get_rng_state()
    result = danlu(*words, "--json")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["lower"] <= answer["suggestion"] <= answer["upper"]
    assert Path("plot.html").stat().st_size > 1_000_000
    assert danlu("lr-find", "resnet8", "digits", "--out", "plot.png").exit_code == 2
    people = danlu(*words[:-2])
    assert "suggestion" in people.stdout
    assert "--schedule 'triangular(low=" in people.stdout
    assert not Path("runs").exists()
