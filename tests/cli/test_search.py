"""danlu search: one JSON object, a table for people, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from danlu.cli import search as cli
from danlu.search import activations
from danlu.search.activations import Trial

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(cli.run)
WORDS = ["activations", "digits", "--net", "lenet_300_100(size=8, width=0.1)", "--trials", "2", "--finals", "1", "--seeds", "1"]


@pytest.fixture(autouse=True)
def _no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(self: Any, activation: str, shown: str, seed: int) -> Trial:
        return Trial(activation, shown, seed, 0.9 if activation == "relu" else 0.8, 1.0, 0.1)

    monkeypatch.setattr(activations.Child, "train", train)


def test_the_answer_as_json_and_in_a_file(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [*WORDS, "--json", "-q", "--out", str(tmp_path / "found.json")])
    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""
    value = json.loads(done.stdout)
    assert value == json.loads((tmp_path / "found.json").read_text())
    assert value["best"] == "relu"
    assert len(value["trials"]) == 4


def test_the_table_for_people() -> None:
    done = CliRunner().invoke(app, WORDS)
    assert done.exit_code == 0, done.stderr
    assert "reference" in done.stdout
    assert 'The best: swap_activation(to="relu")' in done.stdout
    assert done.stderr.count("\n") >= 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["activation", "digits"], "unknown subject of a search 'activation'; did you mean activations"),
        ([*WORDS, "--time", "5s"], "give --time or --trials"),
        ([*WORDS, "--method", "evolve"], "unknown method 'evolve'; did you mean evolution"),
        ([*WORDS, "--out", "found.html"], "--out must end in .json"),
        (["activations", "digits", "--net", "resnet9"], "resnet9"),
    ],
)
def test_what_is_refused(words: list[str], message: str) -> None:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert message in done.stderr
