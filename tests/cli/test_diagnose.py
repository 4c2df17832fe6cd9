"""danlu diagnose: one JSON object, a table, a plot, and wrong usage in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from danlu.cli import diagnose
from danlu.codec import save
from danlu.data import load_data
from danlu.zoo import create

SMALL = ("resnet8(width=0.25)", "digits", "--images", 8)


@pytest.fixture
def danlu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(diagnose.run)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def test_it_compares_initialisations(danlu: Callable[..., Any]) -> None:
    inits = ["own", "he", "uniform(limit=0.1)", "normal(std=0.01, mean=0)", "normal(std=1e30)"]
    done = danlu(*SMALL, "--init", ",".join(inits), "--json", "--out", "plot.html")
    assert done.exit_code == 0, done.stderr
    value = json.loads(done.stdout)
    assert [one["init"] for one in value["inits"]] == inits
    assert value["best"] in inits[:4]
    assert [row["name"] for row in value["inits"][0]["layers"]][::7] == ["conv1", "fc"]
    assert value["inits"][4]["words"][0].startswith("the numbers overflow in")
    assert None in [row["outputs"] for row in value["inits"][4]["layers"]]
    assert Path(value["plot"]).read_text().startswith("<!doctype html>")
    again = danlu(*SMALL, "--init", "he", "--json")
    assert json.loads(again.stdout)["inits"][0] == value["inits"][1]


def test_a_table_and_words_for_people(danlu: Callable[..., Any]) -> None:
    done = danlu(*SMALL, "--init", "he,zero")
    assert done.exit_code == 0, done.stderr
    assert "layer3.0.conv2" in done.stdout
    assert "he: nothing stands out." in done.stdout
    assert "zero: all weights are one number in conv1, layer1.0.conv1, layer1.0.conv2 and 5 more layers" in done.stdout
    assert "Best of these: he" in done.stdout


def test_weights_and_what_takes_time_speak_on_stderr(danlu: Callable[..., Any], tmp_path: Path) -> None:
    source = load_data("digits")
    net = create("resnet8(width=0.25)", num_classes=10, in_channels=1, seed=5)
    net.conv1.weight.data.mul_(100)
    save(net, tmp_path / "net", input=source.input, classes=source.classes)
    words = (*SMALL, "--init", "own,autoencoder(steps=1)", "--json", "--weights", tmp_path / "net" / "model.safetensors")
    done = danlu(*words)
    assert done.exit_code == 0, done.stderr
    assert "weights: " in done.stderr
    assert "autoencoder: layer 7 of 8" in done.stderr
    own = json.loads(done.stdout)["inits"][0]["layers"][0]
    assert own["weight_std"] == pytest.approx(float(net.conv1.weight.detach().std(correction=0)), rel=1e-5)
    assert danlu(*words, "-q").stderr == ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--init", "hee"), "did you mean he"), (("--init", "normal(std=-1)"), "std must be above 0"),
        (("--init", "he,"), "takes names"),
        (("--init", "normal(std=1"), "closing"), (("--out", "plot.png"), "must end in .html"), (("--size", "x"), "size"),
        (("--weights", "no.pth"), "there is no such file"), (("--device", "tpu9"), "not available"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line(words: tuple[str, ...], says: str, danlu: Callable[..., Any]) -> None:
    done = danlu(*SMALL, *words)
    assert done.exit_code == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(Path().iterdir())
