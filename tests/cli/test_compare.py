"""danlu compare: the answer, a killed comparison that goes on, wrong usage."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from danlu.cli import compare

NET = "resnet8(width=0.25)"
FAST = ("--set", "precision=fp32", "--set", "memory_format=nchw", "--set", "batch_size=64")


@pytest.fixture
def danlu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    app = typer.Typer()
    app.command("compare")(compare.run)
    app.command("other")(lambda: None)
    return lambda *words: CliRunner().invoke(app, ["compare", *map(str, words)], catch_exceptions=False)


def test_people_and_programs_get_an_answer(danlu: Callable[..., Any]) -> None:
    words = (
        NET,
        "digits",
        "--vary",
        "schedule=step(period=0.3),poly",
        "--vary",
        "lr=0.05,1e30",
        "--seeds",
        1,
        "--steps",
        20,
        *FAST,
    )
    first = danlu(*words)
    assert first.exit_code == 0, first.stderr
    assert "run 4 of 4: schedule=poly, lr=1e+30, seed 0" in first.stderr
    lines = first.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.rstrip().endswith("failed") for line in lines) == 2
    text = " ".join(first.stdout.split())
    assert "Failed: schedule=step(period=0.3), lr=1e+30 and 1 more; the loss is not a finite number" in text
    assert "One seed: what another seed would change is not known" in text
    assert Path("runs/0001-digits/report.html").is_file()

    again = danlu("--resume", "runs/0001-digits", "--test", "--json", "--quiet")
    assert again.exit_code == 0, again.stderr
    assert again.stderr == ""
    answer = json.loads(again.stdout)
    assert answer["rows"][0]["state"] == "best"
    assert answer["vary"] == {"schedule": ["step(period=0.3)", "poly"], "lr": [0.05, 1e30]}
    assert answer["test"]["n"] == answer["images"]["test"]
    assert answer["report"] == "runs/0001-digits/report.html"


def test_nothing_that_works_is_a_failure_with_a_report(danlu: Callable[..., Any]) -> None:
    result = danlu(NET, "digits", "--vary", "optimizer=sgd,adam", "--set", "lr=1e30", "--seeds", 1, "--steps", 20, *FAST)
    assert result.exit_code == 1
    assert "None of the combinations could be trained" in result.stdout
    assert Path("runs/0001-digits/report.html").is_file()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "say which network and which images"),
        (("a", "b", "c"), "say which network and which images"),
        ((NET, "digits", "--epochs", 1), "say what varies"),
        ((NET, "digits", "--vary", "lr=1,2"), "exactly one of epochs, steps and time, got none"),
        ((NET, "digits", "--vary", "optimiser=sgd", "--epochs", 1), "did you mean optimizer"),
        ((NET, "digits", "--vary", "lr=1,2", "--set", "batch_size=1,2", "--steps", 1), "--set batch_size takes one value, got 2"),
        ((NET, "digits", "--vary", "lr=0.1,0.2", "--time", "5s"), "the grid is too large for 5 s"),
        ((NET, "nowhere", "--vary", "momentum=0.9,2", "--epochs", 1), "momentum=2: a training setting is wrong"),
        ((NET, "nowhere", "--vary", "momentum=0.9,0.5", "--epochs", 1), "nowhere"),
        ((NET, "digits", "--vary", "lr=1,2", "--epochs", 1, "--device", "cuda:99"), "device 'cuda:99' is not available"),
        (("--resume", "nowhere"), "nowhere is not the folder of a comparison"),
        (("--resume", "nowhere", "--vary", "lr=1"), "give no --vary beside it"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line_and_leaves_nothing(danlu: Callable[..., Any], words: tuple[Any, ...], says: str) -> None:
    result = danlu(*words)
    assert result.exit_code == 2
    assert says in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not Path("runs").exists()


def test_a_killed_comparison_goes_on(danlu: Callable[..., Any], tmp_path: Path) -> None:
    words = [NET, "digits", "--vary", "optimizer=sgd,adam", "--seeds", "1", "--epochs", "12", *FAST]
    command = [sys.executable, "-m", "danlu.cli.main", "compare", *words]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("run 2 of 2"):
            break
    last = tmp_path / "runs/0001-digits/cells/001/seed-0/checkpoints/last.safetensors"
    end = time.monotonic() + 60
    while not last.is_file() and time.monotonic() < end:
        time.sleep(0.01)
    process.kill()
    process.stderr.close()
    process.wait()
    run = Path("runs/0001-digits")
    assert not (run / "result.json").exists()
    kept = (run / "cells/000/seed-0/run.json").stat().st_mtime_ns
    result = danlu("--resume", run, "--json")
    assert result.exit_code == 0, result.stderr
    assert (run / "cells/000/seed-0/run.json").stat().st_mtime_ns == kept
    assert {len(row["accuracies"]) for row in json.loads(result.stdout)["rows"]} == {1}
    assert "resumed at step" in (run / "log.txt").read_text()
