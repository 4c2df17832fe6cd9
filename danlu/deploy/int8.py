"""Quantise an exported file to int8, statically: onnxruntime's QDQ form with ranges from real images.

    activations  uint8   q = round(x / scale) + zero,   scale = (max - min) / 255   over the calibration images
    weights      int8    q = round(w / scale_c),        scale_c = max |w_c| / 127   per output channel c
    biases       float32 in the file; onnxruntime turns them into int32 of scale_x * scale_c when it opens it

Why so (latency as a ratio to the fp32 file, batch 1, one thread of an x86 with VNNI, onnxruntime 1.32, interleaved;
LeNet / ResNet-20 / MobileNet 0.5 on 32x32):

- Every operator with an int8 kernel is quantised, pools, sums, concatenations and reshapes too: 0.51 / 0.47 / 0.81. With
  only convolutions and linear layers 0.66 / 0.54 / 1.25: every hop between int8 and float is a pass over the map.
- uint8 activations: with int8 ones onnxruntime leaves 12 of the 21 convolutions of ResNet-20 in float, 0.52 / 1.26 / 0.82.
- A BatchNorm that no convolution precedes runs as a depthwise 1x1 convolution: 0.67 instead of 0.77 for a DenseNet.
- Minimum and maximum over the images: on trained LeNet, ResNet and MobileNet no worse than entropy or percentiles, and
  a 99.9 percentile costs MobileNet seven times the error of the logits.
- One scale per output channel costs 4 bytes a channel and hardly any time; one per tensor gives up to 1.6 times the error.
- Names of one or two characters, biases stored once, equal constants shared: ResNet-20 316 KB -> 286 KB, at a quarter of
  its width 53 KB -> 27 KB. Zero points stay, even where all are 0: older versions of onnxruntime fail without them.

Very narrow nets (ResNet-20 at a quarter: 1.3), and nets with Swish or HardSwish, are slower in int8: measure, and keep
what is measured better. Source: Jacob et al. 2018, https://arxiv.org/abs/1712.05877.
"""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from ..errors import UsageError
from ..files import write_bytes
from .graph import norms_to_convs, pool_means, shorten, strip
from .runtime import load_graph

# The operators that onnxruntime runs on the CPU without leaving int8.
INT8 = ("Add", "AveragePool", "Clip", "Concat", "Conv", "Flatten", "Gather", "Gemm", "GlobalAveragePool", "LeakyRelu", "MatMul",
        "MaxPool", "Mul", "Pad", "Relu", "Reshape", "Resize", "Sigmoid", "Slice", "Split", "Squeeze", "Transpose",
        "Unsqueeze")  # fmt: skip
BRIDGES = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class Int8Report:
    """What became of a quantised file: how many operators run in int8, and which stay in float and why."""

    path: Path
    quantized: int
    kept: list[tuple[str, str]]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        kept = [{"node": node, "reason": reason} for node, reason in self.kept]
        return {"file": str(self.path), "quantized": self.quantized, "kept": kept}


def quantize_int8(
    source: str | Path, target: str | Path, calibration: Iterable[np.ndarray], *, reduce_range: bool = False
) -> Path:
    """Write the int8 form of the fp32 file `source` to `target`, with its metadata, and return the path.

    `calibration` gives batches of images as the network sees them, float32 [B, C, H, W] normalised; a few hundred
    training images are plenty. `int8_report(target)` says what was quantised.

    `reduce_range` gives weights 7 bits. An x86 without VNNI (most before 2019) adds two products of bytes in 16 bits, which
    saturate; there it is worth the 1.3 to 1.4 times larger error.

    Raises: UsageError when `source` is not an fp32 ONNX file of one input, or the batches do not fit it.
    """
    model = load_graph(source)
    if any(node.op_type in BRIDGES for node in model.graph.node):
        raise UsageError(f"{source} is quantised already; give the fp32 file")
    if len(model.graph.input) != 1:
        raise UsageError(f"{source} has {len(model.graph.input)} inputs; int8 takes files of one")
    metadata = {prop.key: prop.value for prop in model.metadata_props}
    model = prepare(model)
    with tempfile.TemporaryDirectory(prefix="danlu-int8-") as folder:
        prepared, quantised = Path(folder, "prepared.onnx"), Path(folder, "int8.onnx")
        onnx.save(model, str(prepared))
        quantize_static(
            prepared,
            quantised,
            Feed(model.graph.input[0], calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(INT8),
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        model = load_graph(quantised)
    float_biases(model)
    kept = {node.name for node in float_nodes(model)}
    for node in model.graph.node:
        if node.name not in kept:
            node.ClearField("name")  # the report needs no others
    strip(model)
    shorten(model)
    model.ClearField("metadata_props")
    onnx.helper.set_model_props(model, metadata)
    write_bytes(target, model.SerializeToString())
    return Path(target)


def prepare(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph as the quantiser likes it: folded, in operators with int8 kernels, with the shapes of all tensors."""
    import onnxscript.optimizer  # half a second that benchmarks and predictions need not wait for

    model = onnxscript.optimizer.optimize(model)
    model = onnx.shape_inference.infer_shapes(model)
    pool_means(model)
    norms_to_convs(model)
    strip(model)
    model = onnx.shape_inference.infer_shapes(model)
    add_pre_process_metadata(model)  # the quantiser warns without this mark
    return model


class Feed(CalibrationDataReader):
    """Batches under the name of the input, checked; the quantiser asks for the next until there is none."""

    def __init__(self, value: onnx.ValueInfoProto, batches: Iterable[np.ndarray]) -> None:
        self.name = value.name
        self.shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim][1:]
        self.batches: Iterator[np.ndarray] = iter(batches)
        self.count = 0

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch, or None."""
        batch = next(self.batches, None)
        if batch is None:
            if self.count == 0:
                raise UsageError("int8 needs calibration images, got none")
            return None
        if batch.dtype != np.float32 or list(batch.shape[1:]) != self.shape or len(batch) == 0:
            raise UsageError(f"calibration batches must be float32 [B, {', '.join(map(str, self.shape))}], "
                             f"got {batch.dtype} {list(batch.shape)}")  # fmt: skip
        self.count += len(batch)
        return {self.name: batch}


def float_biases(model: onnx.ModelProto) -> None:
    """Store each bias once, as float32: the quantiser's int32 with a scale and a zero point for every channel is thrice that.

    The value is int32 * scale, so that the quantiser's care for channels with tiny weights survives.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in list(model.graph.node):
        if node.op_type != "DequantizeLinear" or node.input[0] not in constants:
            continue
        stored = constants[node.input[0]]
        if stored.data_type != onnx.TensorProto.INT32:
            continue
        value = numpy_helper.to_array(stored) * numpy_helper.to_array(constants[node.input[1]]).astype(np.float64)
        model.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), node.output[0]))
        model.graph.node.remove(node)


def float_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The operators that do not stand between DequantizeLinear and QuantizeLinear: they run in float."""
    graph = model.graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    takers: dict[str, set[str]] = {output.name: {"output"} for output in graph.output}
    for node in graph.node:
        for name in node.input:
            takers.setdefault(name, set()).add(node.op_type)
    found = []
    for node in graph.node:
        if node.op_type in BRIDGES:
            continue
        reads = makers.get(node.input[0]) == "DequantizeLinear"
        writes = all(takers.get(name, set()) == {"QuantizeLinear"} for name in node.output)
        if not (reads and writes and node.op_type in INT8):
            found.append(node)
    return found


def int8_report(path: str | Path) -> Int8Report:
    """Read from a file which operators run in int8, and why the others stay in float.

    Raises: UsageError when the file is missing or is not ONNX.
    """
    model = load_graph(path)
    kept = [(node.name or node.op_type, why_float(node)) for node in float_nodes(model)]
    operators = sum(node.op_type not in BRIDGES for node in model.graph.node)
    return Int8Report(Path(path), operators - len(kept), kept)


def why_float(node: onnx.NodeProto) -> str:
    """Why a node was not quantised."""
    if node.op_type not in INT8:
        return f"onnxruntime has no int8 kernel for {node.op_type}"
    return f"the tensors around this {node.op_type} are not quantised"
