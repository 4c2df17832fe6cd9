"""The main job, end to end on the built-in digits: what it promises is checked from outside, on the files it wrote."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from danlu.data import load_data
from danlu.errors import UsageError
from danlu.search import Budget, optimize


def danlu(*words: str, cwd: Path, expect: int) -> subprocess.CompletedProcess[str]:
    """Run the command line; the exit code must be the expected one."""
    done = subprocess.run([sys.executable, "-m", "danlu.cli.main", *words], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stderr[-2000:]
    return done


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    """One run of the command, shared by the tests below."""
    folder = tmp_path_factory.mktemp("optimize")
    done = danlu("optimize", "digits", "--max-size", "1/4", "--max-drop", "0.2", "--time", "40s", "--json", cwd=folder, expect=0)
    return json.loads(done.stdout), folder


def logits_of(file: Path) -> np.ndarray:
    """Logits on the test split by onnxruntime and the file's own metadata, without danlu's inference code."""
    about = {p.key: p.value for p in onnx.load(str(file)).metadata_props}
    test = load_data("digits", seed=0).test
    x = test.images(np.arange(len(test))).numpy().astype(np.float32) / 255
    mean, std = (np.array(json.loads(about[k]), np.float32)[None, :, None, None] for k in ("mean", "std"))
    assert json.loads(about["classes"]) == [str(i) for i in range(10)]
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(None, {"input": ((x - mean) / std).astype(np.float32)})[0]


def test_the_reported_numbers_are_those_of_the_files(outcome: tuple[dict, Path]) -> None:
    result, folder = outcome
    labels = load_data("digits", seed=0).test.labels
    for key in ("baseline", "best"):
        file = folder / result[key]["file"]
        assert file.stat().st_size == result[key]["size_bytes"]
        if load_data("digits").input.size == tuple(
            json.loads({p.key: p.value for p in onnx.load(str(file)).metadata_props}["size"])
        ):
            assert (logits_of(file).argmax(1) == labels).mean() == pytest.approx(result[key]["accuracy"], abs=1e-6)
    test = result["test"]
    assert test["difference"] == pytest.approx(test["accuracy"] - test["baseline_accuracy"])
    assert test["interval"][0] <= test["difference"] <= test["interval"][1]


def test_the_budget_is_kept(outcome: tuple[dict, Path]) -> None:
    result, _ = outcome
    assert result["budget"]["met"]
    assert result["best"]["size_bytes"] <= result["baseline"]["size_bytes"] / 4
    assert result["baseline"]["accuracy"] > 0.8


def test_the_stages_add_up_to_the_time_reported(outcome: tuple[dict, Path]) -> None:
    result, _ = outcome
    stages = {row["name"]: row["seconds"] for row in result["stages"]}
    assert set(stages) == {"baseline", "measure candidates", "successive halving", "train finalists", "choose and confirm"}
    assert 0.5 * result["seconds"] < sum(stages.values()) <= result["seconds"]


def test_the_run_folder_holds_everything_and_nothing_half_done(outcome: tuple[dict, Path]) -> None:
    result, folder = outcome
    run = folder / result["run"]
    names = {p.name for p in run.iterdir()}
    wanted = {"config.yaml", "env.json", "log.txt", "model.onnx", "model.safetensors", "model.json", "report.html", "README.md"}
    wanted |= {"baseline.onnx", "result.json", "study.log"}
    assert wanted <= names
    assert "candidates" not in names
    assert not list(run.rglob("*.tmp"))


def test_candidates_were_measured_before_training(outcome: tuple[dict, Path]) -> None:
    result, _ = outcome
    rows = result["candidates"]
    assert {row["precision"] for row in rows} == {"fp32", "int8"}
    assert all(row["latency_ms"] > 0 and row["size_bytes"] > 0 for row in rows)
    assert all(not row["rungs"] for row in rows if row["status"] == "infeasible")
    assert [row for row in rows if row["status"] == "chosen"]


def test_a_finished_run_is_not_resumed(outcome: tuple[dict, Path]) -> None:
    result, folder = outcome
    done = danlu("optimize", "--resume", str(folder / result["run"]), cwd=folder, expect=2)
    assert "is finished" in done.stderr


def test_an_impossible_budget_gives_the_closest_model_and_exit_3(tmp_path: Path) -> None:
    done = danlu("optimize", "digits", "--max-size", "300B", "--time", "25s", "--json", cwd=tmp_path, expect=3)
    result = json.loads(done.stdout)
    assert not result["budget"]["met"]
    assert "size" in result["budget"]["in_the_way"]
    assert (tmp_path / result["best"]["file"]).stat().st_size < result["baseline"]["size_bytes"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["digits", "--time", "soon"], "time 'soon'"),
        (["digits", "--time", "3s"], "at least 20"),
        (["digits", "--max-size", "5 parsecs"], "size '5 parsecs'"),
        (["digits", "--model", "resnte18"], "did you mean resnet18"),
        (["digits", "--weights", "w.pth"], "give model as well"),
        (["nowhere/"], "nowhere"),
        (["--resume", "nowhere"], "not a run folder"),
        ([], "danlu optimize photos/"),
        (["digits", "--device", "cuda:7"], "cuda:7"),
        (["digits", "--size", "big"], "size 'big'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(tmp_path: Path, words: list[str], says: str) -> None:
    done = danlu("optimize", *words, cwd=tmp_path, expect=2)
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not done.stdout
    assert not list(tmp_path.rglob("*.onnx"))


def test_python_refuses_what_the_command_line_refuses() -> None:
    with pytest.raises(UsageError, match="at least 20"):
        optimize("digits", Budget(), time=1)
