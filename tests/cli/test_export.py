"""danlu export: from a recipe, from a saved model, in fp32 and int8, and one line for what it cannot take."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import typer
from typer.testing import CliRunner

from danlu.cli import export
from danlu.codec import save
from danlu.data.spec import Input
from danlu.deploy import int8_report, read_metadata
from danlu.zoo import create

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(export.run)


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DANLU_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def invoke(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_recipe_is_exported_untrained(tmp_path: Path) -> None:
    out = tmp_path / "new" / "net.onnx"
    wanted = ["--input", "1,28,28", "--classes", "7", "--seed", "3"]
    code, stdout, stderr = invoke("lenet5(size=28)", *wanted, "--out", out, "--json")
    assert code == 0, stderr
    value = json.loads(stdout)
    assert (value["file"], value["size_bytes"], value["trained"]) == (str(out), out.stat().st_size, False)
    assert [check["batch"] for check in value["checks"]] == [1, 2, 7]
    assert all(check["max_difference"] <= check["tolerance"] for check in value["checks"])
    assert "int8" not in value
    assert "untrained" in stderr
    assert list(out.parent.iterdir()) == [out]
    x = np.random.default_rng(0).standard_normal((3, 1, 28, 28), dtype=np.float32)
    with torch.no_grad():
        expected = create("lenet5(size=28)", num_classes=7, in_channels=1, seed=3).eval()(torch.from_numpy(x)).numpy()
    got = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"]).run(None, {"input": x})[0]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_a_recipe_states_its_own_input_and_classes(tmp_path: Path) -> None:
    code, stdout, stderr = invoke("resnet8", "--out", tmp_path / "net.onnx", "--json", "--quiet")
    assert (code, stderr) == (0, "")
    value = json.loads(stdout)
    assert (value["input"]["channels"], value["input"]["size"], value["classes"]) == (3, [32, 32], 10)
    code, stdout, _ = invoke(
        "resnet8(num_classes=4, in_channels=1)", "--input", "1,32,32", "--out", tmp_path / "four.onnx", "--json"
    )
    assert (code, json.loads(stdout)["classes"]) == (0, 4)


def test_a_saved_model_keeps_its_classes_input_and_answers(tmp_path: Path) -> None:
    net = create("resnet8(width=0.5)", num_classes=3, in_channels=1, seed=0).eval()
    input = Input((12, 12), 1, (0.3,), (0.2,), "short_side_crop")
    save(net, tmp_path / "run", input=input, classes=("ant", "bee", "cat"))
    out = tmp_path / "net.onnx"
    code, stdout, stderr = invoke(tmp_path / "run", "--out", out, "--json")
    assert (code, stderr) == (0, "")
    assert json.loads(stdout)["trained"] is True
    metadata = read_metadata(out)
    assert (metadata["classes"], metadata["size"], metadata["mean"]) == (["ant", "bee", "cat"], [12, 12], [0.3])
    assert (metadata["resize"], metadata["recipe"]) == ("short_side_crop", "resnet8(width=0.5)")
    x = np.random.default_rng(0).standard_normal((3, 1, 12, 12), dtype=np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(x)).numpy()
    got = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"]).run(None, {"input": x})[0]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    code, _, stderr = invoke(tmp_path / "run", "--out", out, "--classes", "3")
    assert (code, "for recipes" in stderr) == (2, True)


def test_int8_is_calibrated_on_the_data(tmp_path: Path) -> None:
    out = tmp_path / "int8.onnx"
    code, stdout, stderr = invoke("resnet8(width=0.5)", "--data", "digits", "--int8", "--out", out, "--json")
    assert code == 0, stderr
    value = json.loads(stdout)
    assert value["int8"]["fp32_size_bytes"] > 2 * value["size_bytes"] == 2 * out.stat().st_size
    assert value["int8"]["quantized"] == int8_report(out).quantized > 10
    assert value["int8"]["kept"] == []
    assert len(read_metadata(out)["classes"]) == 10
    assert any(tensor.data_type == onnx.TensorProto.INT8 for tensor in onnx.load(str(out)).graph.initializer)
    assert list(tmp_path.iterdir()) == [out]
    code, stdout, _ = invoke("resnet8(width=0.5)", "--data", "digits", "--int8", "--out", out)
    assert code == 0
    assert "operators quantised" in stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet9"], "unknown model 'resnet9'; did you mean resnet8"),
        (["no/such/run"], "no/such/run is not a saved model"),
        (["lenet5", "--int8"], "--int8 needs --data"),
        (["lenet5", "--input", "1x28x28"], "write channels,height,width"),
        (["lenet5", "--input", "1,0,28"], "write channels,height,width"),
        (["lenet5", "--input", "1,28,28", "--data", "digits"], "not both"),
        (["lenet5", "--data", "no/such/folder"], "no/such/folder"),
        (["math:sqrt"], "does not state its input"),
        (["lenet5", "--device", "tpu"], "tpu"),
    ],
)
def test_wrong_usage_is_one_line_and_nothing_is_written(arguments: list[str], message: str, tmp_path: Path) -> None:
    code, stdout, stderr = invoke(*arguments, "--out", tmp_path / "net.onnx", "--quiet")
    assert (code, stdout) == (2, "")
    assert message in stderr
    assert len(stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_only_onnx_files_are_written(tmp_path: Path) -> None:
    code, _, stderr = invoke("lenet5", "--out", tmp_path / "net.pt")
    assert (code, stderr) == (2, f"danlu: --out must end in .onnx, got {tmp_path / 'net.pt'}\n")
