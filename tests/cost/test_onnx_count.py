"""ONNX files against closed forms, as float, with quantised operators, and as QDQ; and against the same net in torch."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from danlu.cost import count_onnx, profile, profile_onnx
from danlu.errors import UsageError

CONV = 8 * 36 * 27  # 8 maps of 6x6, kernel 3x3 over 3 channels
GEMM = 8 * 4


def save(path: Path, nodes: list, weights: dict[str, np.ndarray], output: str = "logits", batch: str | int = "batch") -> Path:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def head() -> list:
    return [
        helper.make_node("GlobalAveragePool", ["map"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "fc", "fc_bias"], ["logits"], transB=1),
    ]


def random(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 9, shape).astype(dtype)


FC = {"fc": random(4, 8), "fc_bias": random(4)}


@pytest.mark.parametrize("batch", ["batch", 1, None])
def test_float_file(tmp_path: Path, batch: str | int | None) -> None:
    nodes = [
        helper.make_node("Conv", ["input", "w", "b"], ["conv"], kernel_shape=[3, 3]),
        helper.make_node("BatchNormalization", ["conv", "scale", "shift", "mean_", "var"], ["norm"]),
        helper.make_node("Clip", ["norm", "low", "high"], ["map"]),
        *head(),
    ]
    norm = {name: random(8) for name in ("scale", "shift", "mean_", "var")}
    limits = {"low": np.float32(0), "high": np.float32(6)}
    path = save(tmp_path / "a.onnx", nodes, {"w": random(8, 3, 3, 3), "b": random(8), **norm, **limits, **FC}, batch=batch)
    assert count_onnx(path) == (CONV + GEMM, 8 * 27 + 8 + 16 + 4 * 8 + 4)
    result = profile_onnx(path)
    assert result.input == (1, 3, 8, 8)
    assert result.size_bytes == path.stat().st_size
    assert not result.uncounted
    assert [(row.kind, row.macs) for row in result.rows] == [("Conv", CONV), ("BatchNormalization", 0), ("Gemm", GEMM)]


def test_strides_groups_and_transposed(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["conv"], strides=[2, 2], pads=[1, 1, 1, 1]),  # 3 -> 6 channels, 8 -> 4
        helper.make_node("Conv", ["conv", "deep"], ["deep_out"], group=6, pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["deep_out", "up"], ["logits"], strides=[2, 2]),  # 6 -> 2 channels, 4 -> 8
    ]
    path = save(tmp_path / "a.onnx", nodes, {"w": random(6, 3, 3, 3), "deep": random(6, 1, 3, 3), "up": random(6, 2, 2, 2)})
    assert count_onnx(path) == (6 * 16 * 27 + 6 * 16 * 9 + 6 * 16 * 2 * 4, 162 + 54 + 48)


def test_matmul_of_two_tensors_counts_and_holds_nothing(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["input"], ["turned"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["input", "turned"], ["product"]),
        helper.make_node("MatMul", ["product", "w"], ["logits"]),
    ]
    assert count_onnx(save(tmp_path / "a.onnx", nodes, {"w": random(8, 5)})) == (3 * 8 * 8 * 8 + 3 * 8 * 5 * 8, 40)


def test_qdq_weights_count_like_floats(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["x"]),
        helper.make_node("DequantizeLinear", ["w8", "ws", "wz"], ["w"], axis=0),
        helper.make_node("DequantizeLinear", ["b32", "ws", "bz"], ["b"], axis=0),
        helper.make_node("Conv", ["x", "w", "b"], ["map"], kernel_shape=[3, 3]),
        *head(),
    ]
    per_channel = {"ws": random(8), "wz": np.zeros(8, np.int8), "bz": np.zeros(8, np.int32)}
    activations = {"s": np.float32(0.1), "z": np.uint8(3)}
    weights = {"w8": random(8, 3, 3, 3, dtype=np.int8), "b32": random(8, dtype=np.int32)}
    path = save(tmp_path / "a.onnx", nodes, {**weights, **per_channel, **activations, **FC})
    assert count_onnx(path) == (CONV + GEMM, 8 * 27 + 8 + 36)


def test_integer_operators(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "s", "z"], ["q"]),
        helper.make_node("QLinearConv", ["q", "s", "z", "w8", "ws", "wz", "s", "z", "b32"], ["conv"], kernel_shape=[3, 3]),
        helper.make_node("ConvInteger", ["conv", "w2", "z", "wz"], ["logits"], kernel_shape=[1, 1]),
    ]
    weights = {"w8": random(8, 3, 3, 3, dtype=np.int8), "w2": random(2, 8, 1, 1, dtype=np.int8), "b32": random(8, dtype=np.int32)}
    scalars = {"s": np.float32(0.1), "z": np.uint8(3), "ws": np.float32(0.2), "wz": np.int8(0)}
    assert count_onnx(save(tmp_path / "a.onnx", nodes, {**weights, **scalars})) == (CONV + 2 * 36 * 8, 216 + 8 + 16)


def test_a_shared_weight_is_held_once(tmp_path: Path) -> None:
    nodes = [helper.make_node("Conv", ["input", "w"], ["a"]), helper.make_node("Conv", ["a", "w"], ["logits"])]
    assert count_onnx(save(tmp_path / "a.onnx", nodes, {"w": random(3, 3, 1, 1)})) == (2 * 3 * 64 * 3, 9)


def test_what_has_no_formula_is_listed(tmp_path: Path) -> None:
    nodes = [helper.make_node("Einsum", ["input", "w"], ["logits"], equation="bchw,dc->bdhw")]
    result = profile_onnx(save(tmp_path / "a.onnx", nodes, {"w": random(4, 3)}))
    assert result.uncounted == ({"what": "operator", "name": "Einsum", "calls": 1},)
    assert result.macs == 0


def test_an_exported_net_counts_like_the_net(tmp_path: Path) -> None:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 8, 3, 2, 1)
            self.deep = torch.nn.Conv2d(8, 8, 3, padding=1, groups=8)
            self.fc = torch.nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.conv(x))
            return self.fc((x + self.deep(x)).mean((2, 3)))

    model, path = Net().eval(), tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own dependencies warn
        torch.onnx.export(model, (torch.zeros(1, 3, 16, 16),), str(path), dynamo=True, verbose=False)
    counted = profile(model, (3, 16, 16))
    assert count_onnx(path) == (counted.macs, counted.params)


@pytest.mark.parametrize("content", [b"", b"not a protobuf at all", b"\x08\x01"])
def test_a_file_that_is_not_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"bad\.onnx"):
        count_onnx(path)
    with pytest.raises(UsageError, match=r"missing\.onnx cannot be read"):
        count_onnx(tmp_path / "missing.onnx")
