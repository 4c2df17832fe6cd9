"""int8 files: what is in them is recomputed by hand, and what onnxruntime makes of them is read from its optimised graph."""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.data.spec import Input
from danlu.deploy import Int8Report, export_onnx, int8_report, quantize_int8
from danlu.errors import UsageError

INPUT = Input((16, 16), 3, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
CLASSES = ["ant", "bee", "cat", "dog"]


class Block(nn.Module):
    """Separable convolution with a sum, then a concatenation, and a norm that no convolution precedes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depth = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.point = nn.Conv2d(width, width, 1)
        self.side = nn.Conv2d(width, width, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(2 * width)

    def forward(self, x: Tensor) -> Tensor:
        y = x + self.point(F.relu(self.bn1(self.depth(x))))
        return F.relu(self.bn2(torch.cat([y, F.relu6(self.side(x))], 1)))


def make(activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), activation(), nn.MaxPool2d(2), Block(12),
        nn.Conv2d(24, 32, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, len(CLASSES)),
    )  # fmt: skip
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.3, 1)
    return net


def images(count: int, seed: int) -> np.ndarray:
    """Smooth blobs of different brightness, so that the answers differ. Shape: float32 [count, 3, 16, 16]."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.normal(rng.normal(0, 2, (count, 3, 1, 1)), 1, (count, 3, 4, 4)).astype(np.float32))
    return F.interpolate(coarse, (16, 16), mode="bilinear").numpy()


def run(path: Path, x: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(["logits"], {"input": x})[0]


def export(net: nn.Module, folder: Path, input: Input = INPUT) -> Path:
    return export_onnx(net, folder / "fp32.onnx", input=input, classes=CLASSES, recipe="net | fold_bn", check=False)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The fp32 file and its int8 form."""
    folder = tmp_path_factory.mktemp("int8")
    fp32 = export(make(), folder)
    return fp32, quantize_int8(fp32, folder / "int8.onnx", [images(32, seed) for seed in range(4)])


def test_answers_stay_close(pair: tuple[Path, Path]) -> None:
    x = images(200, 99)
    expected, got = run(pair[0], x), run(pair[1], x)
    assert np.sqrt(np.mean((got - expected) ** 2)) < 0.05 * expected.std()
    assert np.mean(got.argmax(1) == expected.argmax(1)) > 0.95
    assert not np.array_equal(got, expected)


def test_any_batch_gives_the_same_answers(pair: tuple[Path, Path]) -> None:
    x = images(7, 5)
    together = run(pair[1], x)
    np.testing.assert_allclose(
        np.concatenate([run(pair[1], x[:1]), run(pair[1], x[1:3]), run(pair[1], x[3:])]), together, atol=1e-5
    )


def test_onnxruntime_never_leaves_int8(pair: tuple[Path, Path], tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3  # it warns that the dump is for this processor only
    onnxruntime.InferenceSession(str(pair[1]), options, providers=["CPUExecutionProvider"])
    operators = Counter(node.op_type for node in onnx.load(str(tmp_path / "optimised.onnx")).graph.node)
    assert operators == {
        "QuantizeLinear": 1, "Transpose": 2, "QLinearConv": 6, "NhwcMaxPool": 1, "QLinearAdd": 1, "QLinearConcat": 1,
        "QLinearGlobalAveragePool": 1, "Reshape": 1, "QGemm": 1, "DequantizeLinear": 1,
    }  # fmt: skip
    assert int8_report(pair[1]) == Int8Report(pair[1], 12, [])


def test_weights_are_stored_once_in_eight_bits(pair: tuple[Path, Path]) -> None:
    fp32, int8 = (onnx.load(str(path)) for path in pair)

    def stored(model: onnx.ModelProto, *kinds: int) -> int:
        return sum(numpy_helper.to_array(tensor).size for tensor in model.graph.initializer if tensor.data_type in kinds)

    matrices = sum(numpy_helper.to_array(t).size for t in fp32.graph.initializer if len(t.dims) > 1) + 24  # the norm's scales
    assert matrices <= stored(int8, TensorType.INT8) <= matrices + 150  # and zero points
    assert stored(int8, TensorType.INT32) == 0
    channels = 12 + 12 + 12 + 12 + 24 + 32 + 4
    assert stored(int8, TensorType.FLOAT) <= 2 * channels + 30  # a bias and a scale a channel, a scale an activation
    assert not any(node.op_type == "BatchNormalization" for node in int8.graph.node)
    assert not int8.graph.value_info
    assert pair[1].stat().st_size < matrices + 4 * stored(int8, TensorType.FLOAT) + 7000
    names = {name for node in int8.graph.node for name in (*node.input, *node.output)} - {"input", "logits"}
    assert max(len(name) for name in names) <= 2
    onnx.checker.check_model(int8)


class TensorType:
    FLOAT, INT8, INT32 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT8, onnx.TensorProto.INT32


def test_metadata_is_carried_over(pair: tuple[Path, Path]) -> None:
    before, after = ({prop.key: prop.value for prop in onnx.load(str(path)).metadata_props} for path in pair)
    assert after == before
    assert set(after) == {"classes", "mean", "std", "size", "resize", "recipe", "danlu"}


def test_a_linear_layer_is_quantised_by_the_formula(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(12, 4)
    with torch.no_grad():
        layer.weight *= torch.tensor([0.1, 1, 5, 20]).view(4, 1)
    fp32 = export(nn.Sequential(nn.Flatten(), layer), tmp_path, Input((2, 2), 3, (0.5,) * 3, (0.25,) * 3))
    x = np.random.default_rng(0).normal(0.3, 1, (64, 3, 2, 2)).astype(np.float32)
    path = quantize_int8(fp32, tmp_path / "int8.onnx", [x[:40], x[40:]])

    weight = layer.weight.detach().numpy()
    scale = np.abs(weight).max(1, keepdims=True) / 127
    rounded = np.round(weight / scale)
    stored = {
        tuple(t.dims): numpy_helper.to_array(t) for t in onnx.load(str(path)).graph.initializer if t.data_type == TensorType.INT8
    }
    np.testing.assert_array_equal(next(value for shape, value in stored.items() if len(shape) == 2).reshape(4, 12), rounded)

    step = (x.max() - x.min()) / 255
    zero = np.round(-x.min() / step)
    seen = (np.clip(np.round(x / step) + zero, 0, 255) - zero) * step
    exact = seen.reshape(64, 12) @ (rounded * scale).T + layer.bias.detach().numpy()
    output_step = (lambda y: (max(y.max(), 0) - min(y.min(), 0)) / 255)(run(fp32, x))
    assert np.abs(run(path, x) - exact).max() <= 0.51 * output_step + 1e-4  # the logits are rounded to 256 levels as well


def test_reduced_range_keeps_weights_within_seven_bits(pair: tuple[Path, Path], tmp_path: Path) -> None:
    path = quantize_int8(pair[0], tmp_path / "seven.onnx", [images(32, 0)], reduce_range=True)

    def largest(file: Path) -> int:
        tensors = onnx.load(str(file)).graph.initializer
        return max(int(np.abs(numpy_helper.to_array(t).astype(int)).max()) for t in tensors if t.data_type == TensorType.INT8)

    assert largest(path) == 64
    assert largest(pair[1]) == 127
    x = images(100, 9)
    assert np.mean(run(path, x).argmax(1) == run(pair[0], x).argmax(1)) > 0.9


def test_channels_with_hardly_any_weight_keep_their_bias(tmp_path: Path) -> None:
    """Weight decay shrinks dead channels to 1e-20; a bias in steps of scale_x * scale_w would overflow 32 bits."""
    net = make()
    with torch.no_grad():
        net[5].weight[3] *= 1e-20
        net[5].bias[3] = 0.7
        net[5].weight[4] = 0
        net[5].bias[4] = 0.4
        net[9].weight[:, 3:5] = 3
    fp32 = export(net, tmp_path)
    x = images(64, 1)
    expected = run(fp32, x)
    got = run(quantize_int8(fp32, tmp_path / "int8.onnx", [x]), x)
    assert np.abs(got - expected).max() < 0.4  # losing one of the biases would cost 2.1 or 1.2


def test_operators_left_in_float_are_listed_with_the_reason(tmp_path: Path) -> None:
    net = make(nn.PReLU)
    net[6] = nn.Hardswish()
    path = quantize_int8(export(net, tmp_path), tmp_path / "int8.onnx", [images(16, 0)])
    report = int8_report(path)
    assert report.kept == [
        ("2", "onnxruntime has no int8 kernel for PRelu"),
        ("3", "the tensors around this MaxPool are not quantised"),
        ("6", "onnxruntime has no int8 kernel for HardSwish"),
    ]
    assert report.quantized == 11
    shown = report.to_json()
    assert (shown["file"], shown["quantized"]) == (str(path), 11)
    assert shown["kept"][0] == {"node": "2", "reason": "onnxruntime has no int8 kernel for PRelu"}


def test_an_fp32_file_is_all_float(pair: tuple[Path, Path]) -> None:
    report = int8_report(pair[0])
    assert report.quantized == 0
    assert len(report.kept) == len(onnx.load(str(pair[0])).graph.node)
    assert ("0", "the tensors around this Conv are not quantised") in report.kept


def test_an_operator_that_writes_float_runs_in_float(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info
    nodes = [
        onnx.helper.make_node("QuantizeLinear", ["input", "scale", "zero"], ["q"]),
        onnx.helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        onnx.helper.make_node("Relu", ["d"], ["logits"], name="act"),
    ]
    tensors = [numpy_helper.from_array(np.float32(0.1), "scale"), numpy_helper.from_array(np.uint8(128), "zero")]
    graph = onnx.helper.make_graph(nodes, "main", [value("input", 1, [1, 4])], [value("logits", 1, [1, 4])], tensors)
    onnx.save(onnx.helper.make_model(graph), str(tmp_path / "net.onnx"))
    assert int8_report(tmp_path / "net.onnx").kept == [("act", "the tensors around this Relu are not quantised")]


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "needs calibration images, got none"),
        ([np.zeros((4, 3, 16, 15), np.float32)], r"float32 \[B, 3, 16, 16\], got float32 \[4, 3, 16, 15\]"),
        ([np.zeros((4, 3, 16, 16))], "got float64"),
        ([np.zeros((0, 3, 16, 16), np.float32)], r"\[0, 3, 16, 16\]"),
    ],
)
def test_bad_calibration_is_refused_and_nothing_written(
    pair: tuple[Path, Path], batches: list[np.ndarray], message: str, tmp_path: Path
) -> None:
    target = tmp_path / "int8.onnx"
    target.write_bytes(b"old")
    with pytest.raises(UsageError, match=message):
        quantize_int8(pair[0], target, iter(batches))
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_bad_sources_are_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="quantised already"):
        quantize_int8(pair[1], tmp_path / "twice.onnx", [images(4, 0)])
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(UsageError, match=r"text\.onnx is not an ONNX file"):
        quantize_int8(tmp_path / "text.onnx", tmp_path / "out.onnx", [images(4, 0)])
    assert not (tmp_path / "out.onnx").exists()


def test_quantising_is_silent_and_leaves_nothing_behind(
    pair: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    here, temporary, out = (tmp_path / name for name in ("here", "temporary", "out"))
    for folder in (here, temporary, out):
        folder.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    quantize_int8(pair[0], out / "int8.onnx", (images(8, seed) for seed in range(2)))
    assert [list(folder.iterdir()) for folder in (here, temporary)] == [[], []]
    assert list(out.iterdir()) == [out / "int8.onnx"]
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelname != "DEBUG"]


def test_the_same_images_give_the_same_file(pair: tuple[Path, Path], tmp_path: Path) -> None:
    again = quantize_int8(pair[0], tmp_path / "again.onnx", [images(32, seed) for seed in range(4)])
    assert again.read_bytes() == pair[1].read_bytes()
