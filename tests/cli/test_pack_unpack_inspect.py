"""danlu pack, unpack and inspect: a run becomes one file and comes back; one line for what they cannot take."""

import json
from pathlib import Path

import onnxruntime
import pytest
import torch
import typer
from torch import nn
from typer.testing import CliRunner

from danlu.cli import inspect, pack, unpack
from danlu.codec import load_saved, save
from danlu.data.spec import Input
from danlu.encodings import Codebook, encode
from danlu.zoo import create

INPUT = Input((12, 12), 1, (0.3,), (0.2,), "short_side_crop")
CLASSES = ("ant", "bee", "cat")


def invoke(verb: object, *arguments: str | Path) -> tuple[int, str, str]:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(verb.run)  # type: ignore[attr-defined]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a net of shared weights, packed."""
    net = create("resnet8(width=0.25)", num_classes=3, in_channels=1, seed=0).eval()
    for layer in (layer for layer in net.modules() if isinstance(layer, nn.Conv2d)):
        indices = torch.randint(0, 4, layer.weight.shape, generator=torch.Generator().manual_seed(0))
        encode(layer, "weight", Codebook.of(torch.tensor([[0, -0.25, 0.125, 0.25]]), indices, zero=True))
    path = tmp_path_factory.mktemp("runs") / "run"
    save(net, path, input=INPUT, classes=CLASSES)
    assert invoke(pack, path, "-q")[0] == 0
    return path


def test_pack_writes_into_the_run_and_says_what_it_saved(folder: Path) -> None:
    code, stdout, stderr = invoke(pack, folder, "--json", "-q")
    assert (code, stderr) == (0, "")
    value = json.loads(stdout)
    file = folder / "model.danlu"
    assert value["file"] == str(file)
    assert value["size_bytes"] == file.stat().st_size
    params = sum(parameter.numel() for parameter in create("resnet8(width=0.25)", num_classes=3, in_channels=1).parameters())
    assert value["fp32_bytes"] == 4 * params
    assert value["ratio"] == pytest.approx(4 * params / file.stat().st_size)
    assert value["safetensors_bytes"] == (folder / "model.safetensors").stat().st_size
    assert value["max_difference"] < 1e-5


def test_pack_for_people(folder: Path, tmp_path: Path) -> None:
    code, stdout, _ = invoke(pack, folder / "model.safetensors", "--out", tmp_path / "small.danlu", "--floats", "fp16")
    assert code == 0
    assert f"{tmp_path / 'small.danlu'}: {(tmp_path / 'small.danlu').stat().st_size:,} bytes" in stdout
    assert "x smaller than" in stdout
    assert "read back: logits differ by at most" in stdout
    assert (tmp_path / "small.danlu").stat().st_size < (folder / "model.danlu").stat().st_size


def test_unpack_gives_a_folder_that_runs(folder: Path, tmp_path: Path) -> None:
    code, stdout, stderr = invoke(unpack, folder / "model.danlu", "--out", tmp_path / "out", "--json", "-q")
    assert (code, stderr) == (0, "")
    value = json.loads(stdout)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["model.json", "model.onnx", "model.safetensors"]
    assert [Path(row["file"]).stat().st_size for row in value["files"]] == [row["size_bytes"] for row in value["files"]]
    x = torch.randn(2, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = load_saved(folder).model(x)
        torch.testing.assert_close(load_saved(tmp_path / "out").model(x), wanted)
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "model.onnx"), providers=["CPUExecutionProvider"])
    torch.testing.assert_close(torch.from_numpy(session.run(None, {"input": x.numpy()})[0]), wanted, rtol=1e-4, atol=1e-4)
    assert load_saved(tmp_path / "out").classes == CLASSES
    code, stdout, _ = invoke(unpack, folder / "model.danlu", "--out", tmp_path / "out")
    assert (code, "model.onnx: " in stdout) == (0, True)


def test_inspect_shows_every_tensor_and_every_byte(folder: Path) -> None:
    code, stdout, stderr = invoke(inspect, folder / "model.danlu", "--json")
    assert (code, stderr) == (0, "")
    value = json.loads(stdout)
    names = list(create("resnet8(width=0.25)", num_classes=3, in_channels=1).state_dict())
    assert [row["name"] for row in value["tensors"]] == names
    assert value["header_bytes"] + sum(row["bytes"] for row in value["tensors"]) == pytest.approx(value["size_bytes"])
    for row in value["tensors"]:
        if row["weights"] > 500 and row["plan"] == "indices":
            assert 1.9 < row["bits_a_weight"] < 2.2  # four values, equally likely
            assert 0.24 < row["zeros"] / row["weights"] < 0.27 or row["weights"] < 2000
    code, stdout, _ = invoke(inspect, folder / "model.danlu")
    assert code == 0
    assert "bits a weight in all" in stdout


def test_wrong_usage_is_one_line(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.danlu"
    broken.write_bytes((folder / "model.danlu").read_bytes()[:-1])
    cases = [
        (pack, [folder, "--out", tmp_path / "x.zip"], 2, "--out must end in .danlu"),
        (pack, [folder, "--out", tmp_path / "x.danlu", "--floats", "int8"], 2, "fp32, fp16, bf16"),
        (pack, [tmp_path / "nothing"], 2, "is not a saved model"),
        (pack, [folder, "--device", "tpu"], 2, "tpu"),
        (unpack, [folder / "model.json"], 2, "is not a .danlu file"),
        (unpack, [broken], 1, "cut short"),
        (unpack, [folder / "model.danlu", "--out", folder / "model.json"], 2, "is not a folder"),
        (inspect, [broken], 1, "cut short"),
        (inspect, [tmp_path / "nothing.danlu"], 2, "does not exist"),
    ]
    for verb, arguments, expected, words in cases:
        code, stdout, stderr = invoke(verb, *arguments, "-q")
        assert (code, stdout) == (expected, ""), stderr
        assert words in stderr
        assert len(stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["broken.danlu"]
