"""danlu bench: its JSON, its table, and one line for what it cannot take."""

import json
from pathlib import Path

import pytest
import typer
from torch import nn
from typer.testing import CliRunner

from danlu.cli import bench
from danlu.data.spec import Input
from danlu.deploy import export_onnx

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(bench.run)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("bench")
    input = Input((8, 8), 1, (0.5,), (0.5,))
    paths = []
    for name, width in (("one", 4), ("two", 16)):
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, 2))
        paths.append(str(export_onnx(net, folder / f"{name}.onnx", input=input, classes=["a", "b"], check=False)))
    return paths


def test_json_is_one_object_on_stdout(files: list[str]) -> None:
    result = CliRunner().invoke(app, [*files, "--json", "--repeats", "12", "--warmup", "1"])
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert set(value) == {"files", "threads", "repeats", "machine"}
    assert (value["threads"], value["repeats"]) == (1, 12)
    assert [row["file"] for row in value["files"]] == files
    assert [row["size_bytes"] for row in value["files"]] == [Path(file).stat().st_size for file in files]
    for row in value["files"]:
        assert 0 < row["p10_ms"] <= row["median_ms"] <= row["p90_ms"]
    assert value["files"][0]["ratio"] == 1
    assert value["files"][1]["ratio"] > 0
    assert set(value["machine"]) == {"processor", "cores", "system", "onnxruntime"}
    assert "rounds: 12" in result.stderr


def test_the_time_limit_ends_it_early(files: list[str]) -> None:
    result = CliRunner().invoke(app, [files[0], "--json", "--repeats", "100000000", "--time", "20ms", "--quiet"])
    assert 5 <= json.loads(result.stdout)["repeats"] < 100000000
    assert result.stderr == ""


def test_people_get_a_table(files: list[str]) -> None:
    result = CliRunner().invoke(app, [files[0], "--repeats", "5"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "one.onnx" in result.stdout
    assert "1.000" in result.stdout
    assert "onnxruntime" in result.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "net.onnx does not exist"),
        (b"", "net.onnx is not an ONNX file"),
        (b"\x00not a net", "net.onnx is not an ONNX file"),
    ],
)
def test_files_it_cannot_take_are_one_line(content: bytes | None, message: str, files: list[str], tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    if content is not None:
        path.write_bytes(content)
    result = CliRunner().invoke(app, [files[0], str(path), "--quiet", "--json"])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "cuda"], "use cpu"),
        (["--time", "soon"], "write it like 20m"),
        (["--threads", "0"], "equal to 1"),
        (["--repeats", "0"], "equal to 1"),
    ],
)
def test_wrong_usage_exits_2(options: list[str], message: str, files: list[str]) -> None:
    result = CliRunner().invoke(app, [files[0], *options])
    assert result.exit_code == 2
    assert message in result.stderr
