"""Export a net with early exits so that it really stops at the exit: one ONNX file with If nodes, or one file per segment.

    segment 1 -> logits 1 -> If(entropy < threshold 1)   then logits 1
                                                         else segment 2 -> logits 2 -> If(...) ...

The net is exported once with the logits of every exit as outputs; segment i is what the logits of exit i need and no exit before
it did. So the cut follows the data, whatever the net's code looks like. Inside the branch of an If the maps of the segments
before it are seen as they are, and a branch that is not taken costs nothing.

A batch leaves at an exit when all its images are sure there; past it, an image keeps the answer of the first exit it was sure at.
So the file gives at every batch size what torch gives; at batch 1 it is as fast as the image is easy.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from ..data.spec import Input
from ..edits.fold_bn import fold_bn
from ..errors import DanluError, UsageError
from ..files import replacing
from ..nn.early_exit import EarlyExit
from .graph import name_by_module, pool_means, strip
from .metadata import make_metadata
from .onnx import check_answer, first_line, prepare
from .quiet import no_collection, quiet_export
from .runtime import load_graph, session
from .verify import verify

THRESHOLD = "exit_threshold"  # metadata of a segment: nats, below which its logits are the answer


@dataclass
class Segment:
    """What exit i computes beyond the exits before it. `takes` are tensors of earlier segments, `gives` those later ones need."""

    nodes: list[onnx.NodeProto]
    constants: list[onnx.TensorProto]
    takes: list[str]
    gives: list[str]
    logits: str


@dataclass(frozen=True)
class Cut:
    """An exported net in segments.

    `types` has the type of every tensor that crosses a cut; `thresholds`, in nats, are those of all exits but the last.
    """

    segments: list[Segment]
    thresholds: list[float]
    types: dict[str, onnx.ValueInfoProto]
    opsets: list[onnx.OperatorSetIdProto]
    ir_version: int


class _Every(nn.Module):
    """Gives the logits of every exit."""

    def __init__(self, model: EarlyExit) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model.exits(x))


def export_exits(
    model: nn.Module, path: str | Path, *, input: Input, classes: Sequence[str], recipe: str = "", check: bool = True
) -> Path:
    """Write `model` as one ONNX file with an If node behind each exit, and return the path; `model` is untouched.

    Outputs: logits [B, K], and exit, int64 [1]: which exit the batch left at, from 0.

    Raises: UsageError for a net without exits, or of another input; DanluError when the exporter cannot trace it, or when
    onnxruntime answers otherwise than torch.
    """
    path = Path(path)
    plain = with_exits(prepare(model))
    check_answer(plain, input, classes)
    cut = cut_exits(plain, input)
    graph = _level(cut, 0, set())
    proto = helper.make_model(graph, opset_imports=cut.opsets, ir_version=cut.ir_version, producer_name="danlu")
    helper.set_model_props(proto, make_metadata(input, classes, recipe))
    with replacing(path) as temp:
        temp.write_bytes(proto.SerializeToString())
        if check:
            verify(plain, temp, input)
    return path


def export_segments(
    model: nn.Module, folder: str | Path, *, input: Input, classes: Sequence[str], recipe: str = ""
) -> list[Path]:
    """Write one ONNX file per exit into `folder`, exit_1.onnx and so on, for `ExitRunner`; `model` is untouched.

    File i takes the tensors of the files before it that it needs, and gives its logits and the tensors that later ones need.
    Raises: as `export_exits`, but onnxruntime is not asked.
    """
    plain = with_exits(prepare(model))
    check_answer(plain, input, classes)
    cut = cut_exits(plain, input)
    paths = []
    for i, segment in enumerate(cut.segments):
        nodes = [*segment.nodes, helper.make_node("Identity", [segment.logits], ["logits"])]
        outputs = [_logits(len(classes)), *(cut.types[name] for name in segment.gives)]
        graph = helper.make_graph(nodes, f"exit_{i + 1}", [cut.types[name] for name in segment.takes], outputs, segment.constants)
        proto = helper.make_model(graph, opset_imports=cut.opsets, ir_version=cut.ir_version, producer_name="danlu")
        threshold = cut.thresholds[i] if i < len(cut.thresholds) else math.inf
        helper.set_model_props(proto, make_metadata(input, classes, recipe) | {THRESHOLD: repr(threshold)})
        paths.append(Path(folder) / f"exit_{i + 1}.onnx")
        with replacing(paths[-1]) as temp:
            temp.write_bytes(proto.SerializeToString())
    return paths


class ExitRunner:
    """Runs the files of `export_segments`, one image at a time, until one is sure.

    Raises: UsageError for files that are missing, foreign or not those of one net in order.
    """

    def __init__(self, paths: Sequence[str | Path], *, threads: int = 1) -> None:
        if not paths:
            raise UsageError("nothing to run; name the files that export_segments wrote")
        self.thresholds = [_threshold(path) for path in paths]
        self.sessions = [session(path, threads=threads) for path in paths]
        self.takes = [[value.name for value in running.get_inputs()] for running in self.sessions]
        self.gives = [[value.name for value in running.get_outputs()] for running in self.sessions]
        known = {"input"}
        for path, takes, gives in zip(paths, self.takes, self.gives, strict=True):
            missing = [name for name in takes if name not in known]
            if missing:
                raise UsageError(f"{path} takes {missing}, which no file before it gives; name all files in order")
            known.update(gives)

    def run(self, x: np.ndarray) -> tuple[np.ndarray, int]:
        """(logits [1, K], the exit it left at, from 0) of one image. Shape: float32 [1, C, H, W].

        Raises: UsageError for more than one image.
        """
        if len(x) != 1:
            raise UsageError(f"an ExitRunner takes one image at a time, got {len(x)}")
        values = {"input": x}
        for i, running in enumerate(self.sessions):
            outputs = running.run(self.gives[i], {name: values[name] for name in self.takes[i]})
            if i == len(self.sessions) - 1 or nats(outputs[0])[0] < self.thresholds[i]:
                break
            values.update(zip(self.gives[i], outputs, strict=True))
        return outputs[0], i


def nats(logits: np.ndarray) -> np.ndarray:
    """Entropy of softmax(logits) in nats. Shape: [..., K] -> [...]."""
    shifted = logits - logits.max(-1, keepdims=True)
    weights = np.exp(shifted)
    total = weights.sum(-1)
    return np.asarray(np.log(total) - (weights * shifted).sum(-1) / total)


def with_exits(model: nn.Module) -> EarlyExit:
    """`model` as what it must be. Raises: UsageError for a net without exits."""
    if not isinstance(model, EarlyExit):
        raise UsageError(f"this {type(model).__name__} has no exits; edit(model, 'add_exits(at=1)') adds them, fit trains them")
    return model


def cut_exits(plain: EarlyExit, input: Input) -> Cut:
    """Export the logits of every exit, and sort the nodes into segments. `plain` is a net as `prepare` gives it."""
    exits = len(plain.places) + 1
    answers = [f"exit_{i}" for i in range(exits)]
    proto = _convert(_Every(with_exits(fold_bn(plain).model)).eval(), input, answers)
    name_by_module(proto)
    pool_means(proto)
    known = onnx.shape_inference.infer_shapes(proto).graph
    types = {value.name: value for value in (*known.value_info, *known.input, *known.output)}
    strip(proto)
    graph = proto.graph
    drop_unit_pools(graph)
    maker = {name: i for i, node in enumerate(graph.node) for name in node.output}
    owner: dict[int, int] = {}  # node -> segment
    for i, answer in enumerate(answers):
        todo = [answer]
        while todo:
            place = maker.get(todo.pop())
            if place is not None and place not in owner:
                owner[place] = i
                todo += graph.node[place].input
    reads: list[set[str]] = [set() for _ in answers]
    for place, i in owner.items():
        reads[i].update(graph.node[place].input)
    made = {name: owner[place] for name, place in maker.items() if place in owner} | {"input": -1}
    segments = []
    for i, answer in enumerate(answers):
        takes = sorted(name for name in reads[i] if name in made and made[name] < i)
        gives = sorted({name for later in reads[i + 1 :] for name in later if made.get(name) == i})
        nodes = [node for place, node in enumerate(graph.node) if owner.get(place) == i]
        mine = [tensor for tensor in graph.initializer if tensor.name in reads[i]]
        segments.append(Segment(nodes, mine, takes, gives, answer))
    crossing = {name for segment in segments for name in (*segment.takes, *segment.gives)}
    lost = crossing - set(types)
    if lost:
        raise DanluError(f"the exporter gives no shape for {sorted(lost)}, which cross an exit")
    classes = math.log(types[answers[-1]].type.tensor_type.shape.dim[1].dim_value)
    thresholds = [float(threshold) * classes for threshold in plain.thresholds]
    kept = {name: _free_batch(types[name]) for name in (*crossing, *answers, "input")}
    return Cut(segments, thresholds, kept, list(proto.opset_import), proto.ir_version)


def drop_unit_pools(graph: onnx.GraphProto) -> None:
    """Remove max pools over single pixels, which a grid as fine as its map is; what they give is read from what they take."""
    same: dict[str, str] = {}
    for node in list(graph.node):
        node.input[:] = [same.get(name, name) for name in node.input]
        options = {attribute.name: list(attribute.ints) for attribute in node.attribute}
        unit = node.op_type == "MaxPool" and set(options["kernel_shape"]) == {1} == set(options.get("strides", [1]))
        if unit and not any(options.get("pads", [])):
            same[node.output[0]] = node.input[0]
            graph.node.remove(node)


def _level(cut: Cut, i: int, outside: set[str]) -> onnx.GraphProto:
    """The graph from segment i on; `outside` names the constants that the graphs around it hold."""
    segment, last = cut.segments[i], i == len(cut.segments) - 1
    outputs = [f"logits_{i}", f"left_{i}"] if i else ["logits", "exit"]
    nodes = list(segment.nodes)
    constants = [tensor for tensor in segment.constants if tensor.name not in outside]
    if last:
        nodes += [helper.make_node("Identity", [segment.logits], outputs[:1]), _index(i, outputs[1])]
    else:
        z, at = segment.logits, f"{segment.logits}/"
        constants += [
            helper.make_tensor(f"{at}axis", TensorProto.INT64, [1], [1]),
            helper.make_tensor(f"{at}sure", TensorProto.FLOAT, [], [-cut.thresholds[i]]),
        ]
        # sum p log p against minus the threshold; the smallest of the batch decides for all of it
        nodes += [
            helper.make_node("Softmax", [z], [f"{at}p"], axis=1),
            helper.make_node("LogSoftmax", [z], [f"{at}log p"], axis=1),
            helper.make_node("Mul", [f"{at}p", f"{at}log p"], [f"{at}p log p"]),
            helper.make_node("ReduceSum", [f"{at}p log p", f"{at}axis"], [f"{at}order"], keepdims=1),
            helper.make_node("ReduceMin", [f"{at}order"], [f"{at}least"], keepdims=0),
            helper.make_node("Greater", [f"{at}least", f"{at}sure"], [f"{at}leave"]),
        ]
        leave = helper.make_graph(
            [helper.make_node("Identity", [z], [f"{at}answer"]), _index(i, f"{at}left")], f"leave_{i}", [],
            [_shaped(f"{at}answer", segment.logits, cut), _number(f"{at}left")],
        )  # fmt: skip
        onward = _level(cut, i + 1, outside | {tensor.name for tensor in constants})
        deeper, left = (output.name for output in onward.output)
        onward.node.append(helper.make_node("Greater", [f"{at}order", f"{at}sure"], [f"{at}mask"]))
        onward.node.append(helper.make_node("Where", [f"{at}mask", z, deeper], [f"{at}joined"]))
        del onward.output[:]
        onward.output.extend([_shaped(f"{at}joined", segment.logits, cut), _number(left)])
        nodes.append(helper.make_node("If", [f"{at}leave"], outputs, f"exit {i + 1}", then_branch=leave, else_branch=onward))
    takes = [cut.types["input"]] if i == 0 else []
    gives = [_shaped(outputs[0], segment.logits, cut), _number(outputs[1])]
    return helper.make_graph(nodes, "danlu" if i == 0 else f"go_on_{i}", takes, gives, constants)


def _index(i: int, name: str) -> onnx.NodeProto:
    """A node that gives the number of an exit, int64 [1]."""
    return helper.make_node("Constant", [], [name], value=helper.make_tensor("", TensorProto.INT64, [1], [i]))


def _number(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.INT64, [1])


def _logits(classes: int, name: str = "logits") -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", classes])


def _shaped(name: str, like: str, cut: Cut) -> onnx.ValueInfoProto:
    return _logits(cut.types[like].type.tensor_type.shape.dim[1].dim_value, name)


def _free_batch(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    """The same tensor with the first dimension called batch."""
    new = onnx.ValueInfoProto()
    new.CopyFrom(value)
    new.ClearField("doc_string")
    new.ClearField("metadata_props")
    new.type.tensor_type.shape.dim[0].dim_param = "batch"
    return new


def _convert(model: nn.Module, input: Input, outputs: list[str]) -> onnx.ModelProto:
    """The graph of `model` as torch's exporter gives it, with several outputs."""
    example = torch.zeros(2, *input.shape)  # batch 2: torch.export takes a 1 for a constant
    try:
        with quiet_export(), no_collection(), torch.no_grad():
            program = torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False)
            exported = torch.onnx.export(
                program, dynamo=True, input_names=["input"], output_names=outputs, optimize=True, verbose=False
            )
    except RuntimeError as error:  # every error of torch.export and torch.onnx is one
        raise DanluError(f"torch cannot export this net with its exits to ONNX: {first_line(error)}") from error
    if exported is None:
        raise DanluError("torch gave no ONNX program for this net with its exits")
    return exported.model_proto


def _threshold(path: str | Path) -> float:
    """The threshold in a segment's metadata, in nats."""
    stored = {prop.key: prop.value for prop in load_graph(path).metadata_props}
    try:
        return float(stored[THRESHOLD])
    except (KeyError, ValueError) as error:
        raise UsageError(f"{path} is not a segment of a net with exits; danlu exits --segments writes them") from error
