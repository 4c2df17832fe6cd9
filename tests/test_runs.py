"""Run folders: numbers, locks, records."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from danlu.errors import UsageError
from danlu.runs import Run


def test_numbers_go_up_and_names_are_safe(tmp_path: Path) -> None:
    with Run.create(tmp_path, "my flowers/é") as one, Run.create(tmp_path, "..") as two:
        assert one.path.name == "0001-my-flowers"
        assert two.path.name == "0002-run"


def test_a_held_run_refuses_another_process(tmp_path: Path) -> None:
    with Run.create(tmp_path, "a") as run:
        code = f"from pathlib import Path; from danlu.runs import Run; Run(Path({str(run.path)!r}))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "UsageError" in done.stderr
        assert "is in use by process" in done.stderr
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_same_process_cannot_open_it_twice(tmp_path: Path) -> None:
    with Run.create(tmp_path, "a") as run, pytest.raises(UsageError, match="in use"):
        Run(run.path)


def test_records(tmp_path: Path) -> None:
    with Run.create(tmp_path, "a") as run:
        run.write_config({"verb": "train", "classes": ["ä", "b"]})
        run.metric(epoch=1, loss=0.5)
        run.metric(epoch=2, loss=0.25)
        run.log("hello")
    assert yaml.safe_load((run.path / "config.yaml").read_text())["classes"] == ["ä", "b"]
    assert [json.loads(row)["loss"] for row in (run.path / "metrics.jsonl").read_text().splitlines()] == [0.5, 0.25]
    assert "torch" in json.loads((run.path / "env.json").read_text())["versions"]
    assert (run.path / "log.txt").read_text().endswith("hello\n")
