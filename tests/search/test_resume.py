"""A search that is killed goes on where it was; one that is told to stop says so and can be resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """The command in the background."""
    return subprocess.Popen(
        [sys.executable, "-m", "danlu.cli.main", "optimize", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(file: Path, folder: Path, pattern: str, process: subprocess.Popen[str]) -> None:
    """Until the log of the only run holds `pattern`."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"ended too early: {process.communicate()[1][-2000:]}")
        logs = list(folder.glob("runs/*/log.txt"))
        if logs and pattern in logs[0].read_text():
            return
        time.sleep(0.05)
    raise AssertionError(f"{pattern!r} never appeared")


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_interrupted_search_is_resumed(tmp_path: Path, sign: signal.Signals, code: int) -> None:
    words = ["digits", "--max-size", "1/4", "--max-drop", "0.3", "--time", "25s"]
    first = start(tmp_path, *words)
    # In the middle of the baseline's training for SIGKILL, while candidates are measured for the others.
    wait_for(tmp_path, tmp_path, "training the baseline" if sign == signal.SIGKILL else "baseline: ", first)
    time.sleep(1.0)
    os.kill(first.pid, sign)
    _, errors = first.communicate(timeout=60)
    assert first.returncode == code, errors[-2000:]
    (run,) = (tmp_path / "runs").iterdir()
    assert not (run / "result.json").exists()
    again = start(tmp_path, "--resume", str(run), "--json")
    out, errors = again.communicate(timeout=180)
    # 3: so little time may not be enough for the accepted drop; the model and the report are there all the same.
    assert again.returncode in (0, 3), errors[-2000:]
    result = json.loads(out)
    assert Path(result["run"]).name == run.name
    assert (run / "report.html").exists()


def test_a_run_in_use_is_refused(tmp_path: Path) -> None:
    first = start(tmp_path, "digits", "--time", "25s")
    try:
        wait_for(tmp_path, tmp_path, "digits", first)
        (run,) = (tmp_path / "runs").iterdir()
        second = start(tmp_path, "--resume", str(run))
        _, errors = second.communicate(timeout=60)
        assert second.returncode == 2
        assert "in use" in errors
    finally:
        first.kill()
        first.communicate()
