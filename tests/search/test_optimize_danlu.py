"""The main job with a .danlu file at its end, killed while it compresses and resumed; checked on the files it wrote."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import typer
from typer.testing import CliRunner

from danlu.cli import optimize as cli
from danlu.codec.unpack import unpack_model
from danlu.data import load_data
from danlu.deploy import export_onnx

WORDS = ["digits", "--format", "danlu", "--max-drop", "0.4", "--time", "50s"]


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """The command in the background."""
    line = [sys.executable, "-m", "danlu.cli.main", "optimize", *words]
    return subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """(what the resumed command printed, its run folder)."""
    folder = tmp_path_factory.mktemp("danlu")
    first = start(folder, *WORDS)
    deadline = time.monotonic() + 180
    while not any("compressing" in log.read_text() for log in folder.glob("runs/*/log.txt")):
        assert first.poll() is None, first.communicate()[1][-2000:]
        assert time.monotonic() < deadline, "the stage never began"
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    (run,) = (folder / "runs").iterdir()
    again = start(folder, "--resume", str(run), "--json")
    out, errors = again.communicate(timeout=240)
    # 3: so little time may not be enough for the accepted drop on a slow machine.
    assert again.returncode in (0, 3), errors[-2000:]
    assert "training the baseline" not in errors
    return json.loads(out), run


def test_the_danlu_file_is_what_ships(outcome: tuple[dict[str, Any], Path]) -> None:
    result, run = outcome
    assert (result["format"], result["best"]["precision"]) == ("danlu", "danlu")
    assert result["best"]["file"].endswith("model.danlu")
    assert result["best"]["size_bytes"] == (run / "model.danlu").stat().st_size
    assert result["baseline"]["size_bytes"] == (run / "baseline.onnx").stat().st_size
    assert result["speedup"]["size"] == pytest.approx(result["baseline"]["size_bytes"] / result["best"]["size_bytes"])
    assert result["best"]["size_bytes"] < result["baseline"]["size_bytes"] / 8


def test_the_accuracy_is_that_of_the_unpacked_file(outcome: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    result, run = outcome
    saved = unpack_model(run / "model.danlu")
    again = export_onnx(saved.model, tmp_path / "again.onnx", input=saved.input, classes=saved.classes)
    source = load_data("digits", seed=0).with_input(saved.input)
    x = source.test.images(np.arange(len(source.test))).numpy().astype(np.float32) / 255
    mean, std = (np.array(v, np.float32)[None, :, None, None] for v in (saved.input.mean, saved.input.std))
    answers = []
    for file in (again, run / "model.onnx"):
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        answers.append(session.run(None, {"input": (x - mean) / std})[0])
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-4)
    assert (answers[1].argmax(1) == source.test.labels).mean() == pytest.approx(result["test"]["accuracy"], abs=1e-9)


def test_the_waterfall_leads_from_the_baseline_to_the_file(outcome: tuple[dict[str, Any], Path]) -> None:
    result, _ = outcome
    rows = result["steps"]
    assert rows[0]["size_bytes"] == result["baseline"]["size_bytes"]
    assert rows[-1]["size_bytes"] == result["best"]["size_bytes"]
    if [row["name"] for row in rows][-3:] == ["sparsity", "sharing", "coding"]:
        assert rows[-3]["size_bytes"] > rows[-2]["size_bytes"] > rows[-1]["size_bytes"]
        assert rows[-2]["note"].startswith("computed")
    else:
        assert rows[-1]["name"] == "packed"


def test_nothing_is_lost_and_nothing_is_left_over(outcome: tuple[dict[str, Any], Path]) -> None:
    result, run = outcome
    assert "compress" in [stage["name"] for stage in result["stages"]]
    assert {"model.danlu", "model.onnx", "model.safetensors", "report.html", "README.md"} <= {p.name for p in run.iterdir()}
    assert not (run / "candidates").exists()
    rows = [row for row in result["candidates"] if row["precision"] == "danlu"]
    assert len({row["recipe"] for row in rows}) == len(rows)
    assert sum(row["status"] == "chosen" for row in rows) == 1
    recipe = {p.key: p.value for p in onnx.load(str(run / "model.onnx")).metadata_props}["recipe"]
    assert recipe == result["best"]["recipe"] == json.loads((run / "model.json").read_text())["recipe"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["digits", "--format", "zip"], "onnx"),
        (["digits", "--format", "danlu", "--time", "25s"], "at least 40"),
        (["digits", "--edits", "prune(sparsity=0.9) | shar(bits=5)"], "did you mean share"),
        (["digits", "--edits", "prune(sparsity=1.5)"], "below 1"),
        (["digits", "--edits", "share(bits=5, skip=['nowhere'])"], "nowhere"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_trained(tmp_path: Path, words: list[str], says: str) -> None:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(cli.run)
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "runs")])
    assert done.exit_code == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not done.stdout
    assert not (tmp_path / "runs").exists()
