"""danlu compress: edits on a trained run, fine-tuned, exported, every step measured."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from torch import nn
from typer.testing import CliRunner

from danlu import create, save
from danlu.cli import compress
from danlu.codec import load_saved
from danlu.data import load_data
from danlu.edits import parse

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(compress.run)


@pytest.fixture
def danlu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """`danlu(words...)`: the verb in this process, in the temporary folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, words)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    source = load_data("digits")
    save(create("resnet8 | fit_input(size=8)", num_classes=10, in_channels=1, seed=0), tmp_path / "run", input=source.input,
         classes=source.classes)  # fmt: skip
    return tmp_path / "run"


@pytest.fixture
def mlp(tmp_path: Path) -> Path:
    source = load_data("digits")
    save(create("lenet_300_100(size=8)", num_classes=10, in_channels=1, seed=0), tmp_path / "mlp", input=source.input,
         classes=source.classes)  # fmt: skip
    return tmp_path / "mlp"


def test_every_step_is_measured_and_the_result_loads(saved: Path, tmp_path: Path, danlu: Callable[..., Any]) -> None:
    before = {p: p.read_bytes() for p in saved.iterdir()}
    done = danlu(str(saved), "digits", "--edits", "prune_channels(ratio=0.5) | fold_bn", "--epochs", "1", "--json")
    assert done.exit_code == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    names = [step["name"] for step in result["steps"]]
    # Folding norms is exact: nothing is lost that would have to be learned again.
    assert names == ["before", "prune_channels(ratio=0.5)", "prune_channels(ratio=0.5), fine-tuned", "fold_bn", "int8"]
    sizes = {step["name"]: step["size_bytes"] for step in result["steps"]}
    assert sizes["prune_channels(ratio=0.5)"] < sizes["before"]
    assert sizes["int8"] < sizes["fold_bn"]
    assert (tmp_path / result["file"]).stat().st_size in (sizes["int8"], sizes["fold_bn"])
    assert (tmp_path / result["danlu"]).stat().st_size == result["steps"][-2]["danlu_bytes"] < sizes["fold_bn"]
    again = load_saved(tmp_path / result["run"])
    assert again.recipe == "resnet8 | fit_input(size=8) | prune_channels(ratio=0.5) | fold_bn"
    assert {p: p.read_bytes() for p in saved.iterdir()} == before


def test_pruned_and_shared_weights_end_in_a_small_file(mlp: Path, tmp_path: Path, danlu: Callable[..., Any]) -> None:
    chain = "prune(sparsity=0.9, schedule='gradual') | share(bits=4)"
    done = danlu(str(mlp), "digits", "--edits", chain, "--epochs", "2", "--no-int8", "--json")
    assert done.exit_code == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    first, second = (str(call) for call in parse(chain))
    # A gradual step has done nothing before it is trained, so there is nothing to measure.
    assert [step["name"] for step in result["steps"]] == ["before", f"{first}, fine-tuned", second, f"{second}, fine-tuned"]
    packed = [step["danlu_bytes"] for step in result["steps"]]
    assert packed[0] > 4 * packed[1] > 6 * packed[2]
    assert (tmp_path / result["danlu"]).stat().st_size == packed[-1]
    # Zeros take their place in an ONNX file: it stays as it was.
    assert all(step["size_bytes"] == pytest.approx(result["steps"][0]["size_bytes"], rel=0.01) for step in result["steps"])
    net = load_saved(tmp_path / result["run"]).model
    weights = [m.weight for m in net.modules() if isinstance(m, nn.Linear)]
    assert sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights) == pytest.approx(0.9, abs=0.01)
    assert not (tmp_path / result["run"] / "steps").exists()
    again = danlu(str(mlp), "digits", "--edits", chain, "--resume", result["run"])
    assert again.exit_code == 2
    assert "is finished" in again.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--edits", "prune_chanels(ratio=0.5)"], "prune_channels"),
        (["--edits", "fold_bn", "--time", "5m", "--epochs", "1"], "not both"),
        (["--edits", "fold_bn", "--time", "soon"], "soon"),
        (["--edits", "prune(sparsity=0.5, schedule='gradual')", "--epochs", "0"], "give it time or epochs"),
        (["--edits", "share(bits=40)"], "from 1 to"),
        (["--edits", "fold_bn", "--resume", "nowhere"], "not a run of compress"),
    ],
)
def test_wrong_usage(saved: Path, tmp_path: Path, danlu: Callable[..., Any], words: list[str], says: str) -> None:
    done = danlu(str(saved), "digits", *words)
    assert done.exit_code == 2
    assert says in done.stderr
    assert not done.stdout
    assert not (tmp_path / "runs").exists()
