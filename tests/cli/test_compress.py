"""danlu compress: edits on a trained run, fine-tuned, exported, every step measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from danlu import create, save
from danlu.codec import load_saved
from danlu.data import load_data


def danlu(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "danlu.cli.main", *words], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    source = load_data("digits")
    save(create("resnet8 | fit_input(size=8)", num_classes=10, in_channels=1, seed=0), tmp_path / "run", input=source.input,
         classes=source.classes)  # fmt: skip
    return tmp_path / "run"


def test_every_step_is_measured_and_the_result_loads(saved: Path, tmp_path: Path) -> None:
    before = {p: p.read_bytes() for p in saved.iterdir()}
    done = danlu(
        "compress",
        str(saved),
        "digits",
        "--edits",
        "prune_channels(ratio=0.5) | fold_bn",
        "--epochs",
        "1",
        "--json",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    names = [step["name"] for step in result["steps"]]
    assert names == ["before", "prune_channels(ratio=0.5)", "fold_bn", "fine-tuned with distillation", "int8"]
    sizes = {step["name"]: step["size_bytes"] for step in result["steps"]}
    assert sizes["prune_channels(ratio=0.5)"] < sizes["before"]
    assert sizes["int8"] < sizes["fold_bn"]
    assert (tmp_path / result["file"]).stat().st_size in (sizes["int8"], sizes["fine-tuned with distillation"])
    again = load_saved(tmp_path / result["run"])
    assert again.recipe == "resnet8 | fit_input(size=8) | prune_channels(ratio=0.5) | fold_bn"
    assert {p: p.read_bytes() for p in saved.iterdir()} == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--edits", "prune_chanels(ratio=0.5)"], "prune_channels"),
        (["--edits", "fold_bn", "--time", "5m", "--epochs", "1"], "not both"),
        (["--edits", "fold_bn", "--time", "soon"], "soon"),
    ],
)
def test_wrong_usage(saved: Path, tmp_path: Path, words: list[str], says: str) -> None:
    done = danlu("compress", str(saved), "digits", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert not done.stdout
    assert not (tmp_path / "runs").exists()
