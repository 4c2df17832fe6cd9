"""Count an ONNX file: MACs of its convolutions and matrix products, and its parameters, float or quantised.

Shapes come from onnx's shape inference with every unknown input dimension (the batch) set to 1. A weight stored as integers
behind a DequantizeLinear counts like the float it stands for. Scales, zero points, running statistics, shapes and single
constants are not parameters.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, NodeProto, TensorProto, shape_inference

from ..errors import UsageError

Shape = tuple[int, ...]
Formula = Callable[[list[Shape], Shape], int]

INTEGERS = (TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4, TensorProto.INT16, TensorProto.INT32)
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)


def _conv(x: int, weight: int) -> Formula:
    return lambda shapes, out: prod(out) * prod(shapes[weight][1:])


def _transposed(shapes: list[Shape], out: Shape) -> int:
    return prod(shapes[0]) * prod(shapes[1][1:])


def _matmul(x: int) -> Formula:
    return lambda shapes, out: prod(out) * shapes[x][-1]


MACS: dict[str, Formula] = {
    "Conv": _conv(0, 1),
    "FusedConv": _conv(0, 1),
    "ConvInteger": _conv(0, 1),
    "QLinearConv": _conv(0, 3),
    "ConvTranspose": _transposed,
    "MatMul": _matmul(0),
    "FusedMatMul": _matmul(0),
    "MatMulInteger": _matmul(0),
    "QLinearMatMul": _matmul(0),
    "DynamicQuantizeMatMul": _matmul(0),
}
WEIGHTS = {"Conv": (1, 2), "FusedConv": (1, 2), "ConvInteger": (1,), "QLinearConv": (3, 8), "ConvTranspose": (1, 2),
           "Gemm": (1, 2), "MatMul": (0, 1), "FusedMatMul": (0, 1), "MatMulInteger": (0, 1), "QLinearMatMul": (0, 3),
           "DynamicQuantizeMatMul": (1,), "QGemm": (3, 6)}  # fmt: skip
SETTINGS = {
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "BatchNormalization": (3, 4),
    "Resize": (1, 2, 3),
    "Clip": (1, 2),
}
UNKNOWN = frozenset((
    "LSTM", "GRU", "RNN", "Einsum", "Attention", "MultiHeadAttention", "QAttention", "GroupQueryAttention", "NhwcConv",
    "DeformConv", "NhwcFusedConv", "QGemm", "FusedGemm", "MatMulNBits", "MatMulIntegerToFloat", "Det", "STFT", "DFT",
    "If", "Loop", "Scan",
))  # fmt: skip


@dataclass(frozen=True)
class Node:
    """One node that holds parameters or multiplies: shapes at batch 1."""

    name: str
    kind: str
    input: Shape | None
    output: Shape | None
    params: int
    macs: int


@dataclass(frozen=True)
class OnnxProfile:
    """What a file computes and holds; `uncounted` maps operators without a formula (or without known shapes) to their number."""

    file: str
    size_bytes: int
    input: Shape
    rows: tuple[Node, ...]
    params: int
    macs: int
    uncounted: tuple[dict[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def count_onnx(path: str | Path) -> tuple[int, int]:
    """(MACs, parameters) of an ONNX file at batch 1. Raises UsageError for a file that is not ONNX."""
    profile = profile_onnx(path)
    return profile.macs, profile.params


def profile_onnx(path: str | Path) -> OnnxProfile:
    """Rows, totals and what could not be counted. Raises UsageError for a file that is not ONNX."""
    path = Path(path)
    try:
        model = onnx.load(str(path), load_external_data=False)
        known = {item.name for item in model.graph.initializer}
        feed = [item for item in model.graph.input if item.name not in known]
        if not feed or not model.graph.node:
            raise UsageError(f"{path} is not an ONNX model: it has no inputs or no nodes")
        shapes = _shapes(model)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    except UsageError:
        raise
    except (DecodeError, shape_inference.InferenceError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is not an ONNX model ({type(error).__name__})") from error
    rows, uncounted = _rows(model, shapes)
    return OnnxProfile(
        str(path),
        path.stat().st_size,
        shapes[feed[0].name],
        tuple(rows),
        sum(row.params for row in rows),
        sum(row.macs for row in rows),
        tuple({"what": "operator", "name": name, "calls": calls} for name, calls in sorted(uncounted.items())),
    )


def _shapes(model: ModelProto) -> dict[str, Shape]:
    """Every known shape by tensor name, the batch being 1."""
    for item in model.graph.input:
        for dim in item.type.tensor_type.shape.dim:
            if dim.dim_value == 0:
                dim.Clear()
                dim.dim_value = 1
    for kind in (model.graph.output, model.graph.value_info):  # what was inferred for a symbolic batch would win otherwise
        del kind[:]
    inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    shapes: dict[str, Shape] = {item.name: tuple(item.dims) for item in inferred.initializer}
    for item in (*inferred.input, *inferred.value_info):
        dims = item.type.tensor_type.shape.dim
        if item.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            shapes[item.name] = tuple(dim.dim_value for dim in dims)
    return shapes


def _rows(model: ModelProto, shapes: Mapping[str, Shape]) -> tuple[list[Node], Counter[str]]:
    initializers = {item.name: item for item in model.graph.initializer}
    behind = _aliases(model)
    taken: set[str] = set()
    rows: list[Node] = []
    uncounted: Counter[str] = Counter()
    for node in model.graph.node:
        known = [shapes.get(name, ()) for name in node.input]
        out = shapes.get(node.output[0])
        macs = 0
        if node.op_type in UNKNOWN:
            uncounted[node.op_type] += 1
        elif node.op_type == "Gemm" or node.op_type in MACS:
            sized = out is not None and all(shapes.get(node.input[i]) is not None for i in _factors(node))
            if sized and out is not None:
                macs = _gemm(node, known, out) if node.op_type == "Gemm" else MACS[node.op_type](known, out)
            else:
                uncounted[node.op_type] += 1
        params = 0
        for i, name in enumerate(node.input):
            held = behind.get(name, name)
            if held in initializers and held not in taken and _is_parameter(initializers[held], node, i, name != held):
                taken.add(held)
                params += prod(initializers[held].dims)
        if macs or params:
            rows.append(Node(node.name or node.output[0], node.op_type, shapes.get(node.input[0]), out, params, macs))
    return rows, uncounted


def _factors(node: NodeProto) -> tuple[int, ...]:
    """The inputs whose shapes the formula reads."""
    return {"QLinearConv": (0, 3), "QLinearMatMul": (0, 3)}.get(node.op_type, (0, 1))


def _gemm(node: NodeProto, shapes: list[Shape], out: Shape) -> int:
    turned = next((attribute.i for attribute in node.attribute if attribute.name == "transA"), 0)
    return prod(out) * shapes[0][0 if turned else -1]


def _aliases(model: ModelProto) -> dict[str, str]:
    """Tensor -> initializer it is a dequantised, cast or reshaped copy of."""
    held = {item.name for item in model.graph.initializer}
    alias: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type in ("DequantizeLinear", "QuantizeLinear", "Transpose", "Reshape", "Cast", "Identity"):
            source = alias.get(node.input[0], node.input[0])
            if source in held:
                alias[node.output[0]] = source
    return alias


def _is_parameter(tensor: TensorProto, node: NodeProto, position: int, through: bool) -> bool:
    """A weight operand; or a float array that any other operator takes (affine of a norm, PReLU), which is not a setting."""
    if position in WEIGHTS.get(node.op_type, ()):
        return tensor.data_type in FLOATS or tensor.data_type in INTEGERS
    if node.op_type in ("DequantizeLinear", "QuantizeLinear", "Transpose", "Reshape", "Cast", "Identity"):
        return False  # counted where the copy is used
    return tensor.data_type in FLOATS and prod(tensor.dims) > 1 and position not in SETTINGS.get(node.op_type, ())
