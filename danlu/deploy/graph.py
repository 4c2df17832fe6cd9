"""Rewrite an ONNX graph in place: the same function in fewer bytes, and in operators that runtimes are fast at.

Exporters and quantisers leave stack traces, shapes of every tensor and copies of constants behind; for a small network
they outweigh the weights.
"""

import ast
import string
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import numpy_helper

SCOPES = "pkg.torch.onnx.name_scopes"  # the exporter's property: ["", "layer1", "layer1.0", "conv2d_3"]
SMALL = 65_536  # bytes: larger constants are not searched for equal ones
DIGITS = string.digits + string.ascii_letters


def name_by_module(model: onnx.ModelProto) -> None:
    """Name every node after the module it came from (`layer1.0.conv1`), where the exporter says so."""
    taken: set[str] = set()
    for node in model.graph.node:
        scopes = next((ast.literal_eval(prop.value) for prop in node.metadata_props if prop.key == SCOPES), None)
        if scopes is None or len(scopes) < 2:
            continue
        name = scopes[-2] or scopes[-1]
        if name in taken:
            name = f"{name}/{scopes[-1]}"
        while name in taken:
            name += "_"
        taken.add(name)
        node.name = name


def pool_means(model: onnx.ModelProto) -> None:
    """Write a mean over height and width as GlobalAveragePool, which has an int8 kernel; ReduceMean has none.

    Needs the shapes of the tensors (`value_info`): the mean must be over the last two axes of four.
    """
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in (*model.graph.value_info, *model.graph.input)}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = list(model.graph.node)
    for place in reversed(range(len(nodes))):
        node = nodes[place]
        if node.op_type != "ReduceMean" or ranks.get(node.input[0]) != 4:
            continue
        options = {attribute.name: attribute for attribute in node.attribute}
        if "axes" in options:
            axes = list(options["axes"].ints)
        elif len(node.input) > 1 and node.input[1] in constants:
            axes = numpy_helper.to_array(constants[node.input[1]]).tolist()
        else:
            continue
        if sorted(axis % 4 for axis in axes) != [2, 3]:
            continue
        keeps = "keepdims" not in options or options["keepdims"].i == 1
        output = node.output[0]
        result = output if keeps else f"{output}_pooled"
        node.CopyFrom(onnx.helper.make_node("GlobalAveragePool", [node.input[0]], [result], name=node.name))
        if not keeps:
            flat = onnx.helper.make_node("Flatten", [result], [output], name=f"{node.name}/flatten")
            model.graph.node.insert(place + 1, flat)


def norms_to_convs(model: onnx.ModelProto) -> None:
    """Write a BatchNorm on maps as a depthwise 1x1 convolution, which has an int8 kernel.

    y = x * s + (beta - mean * s),   s = gamma / sqrt(var + epsilon)

    Exporting folds the norms that follow a convolution; those that come before one (pre-activation nets) are left.
    """
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in (*model.graph.value_info, *model.graph.input)}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "BatchNormalization" or ranks.get(node.input[0]) != 4 or len(node.output) != 1:
            continue
        if not all(name in constants for name in node.input[1:]):
            continue
        gamma, beta, mean, var = (numpy_helper.to_array(constants[name]).astype(np.float64) for name in node.input[1:])
        epsilon = next((attribute.f for attribute in node.attribute if attribute.name == "epsilon"), 1e-5)
        scale = gamma / np.sqrt(var + epsilon)
        tensors = {"weight": scale.reshape(-1, 1, 1, 1), "bias": beta - mean * scale}
        names = [f"{node.output[0]}_{key}" for key in tensors]
        for name, value in zip(names, tensors.values(), strict=True):
            model.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
        inputs, outputs = [node.input[0], *names], list(node.output)
        node.CopyFrom(onnx.helper.make_node("Conv", inputs, outputs, name=node.name, group=len(scale), kernel_shape=[1, 1]))


def strip(model: onnx.ModelProto) -> None:
    """Remove what no runtime reads: documentation, exporter's notes, shapes of inner tensors, unused and repeated constants."""
    graph = model.graph
    model.ClearField("doc_string")
    for field in ("doc_string", "metadata_props", "value_info", "quantization_annotation"):
        graph.ClearField(field)
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    nodes = list(walk(graph))
    outputs = {output.name for output in graph.output}
    used = outputs.union(*(node.input for node in nodes))
    seen: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    same: dict[str, str] = {}
    # Backwards and in place: the constants may be gigabytes, and a copy of them would be as many again.
    for place in reversed(range(len(graph.initializer))):
        tensor = graph.initializer[place]
        if tensor.name not in used:
            del graph.initializer[place]
        elif tensor.ByteSize() <= SMALL:
            value = numpy_helper.to_array(tensor)
            original = seen.setdefault((tensor.data_type, value.shape, value.tobytes()), tensor.name)
            if original != tensor.name and tensor.name not in outputs:
                same[tensor.name] = original
                del graph.initializer[place]
    for node in nodes:
        node.input[:] = [same.get(name, name) for name in node.input]
    domains = {"", *(node.domain for node in nodes), *(function.domain for function in model.functions)}
    opsets = [opset for opset in model.opset_import if opset.domain in domains]
    model.ClearField("opset_import")
    model.opset_import.extend(opsets)


def shorten(model: onnx.ModelProto) -> None:
    """Give inner tensors names of one to three characters; inputs and outputs keep theirs.

    A graph with branches (If, Loop) is left alone: names inside them may hide names outside.
    """
    graph = model.graph
    if sum(1 for _ in walk(graph)) != len(graph.node):
        return
    fixed = ["", *(value.name for value in (*graph.input, *graph.output))]
    names = dict(zip(fixed, fixed, strict=True))
    fresh = (name for name in _short_names() if name not in fixed)

    def short(name: str) -> str:
        if name not in names:
            names[name] = next(fresh)
        return names[name]

    for node in graph.node:
        node.input[:] = [short(name) for name in node.input]
        node.output[:] = [short(name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name = short(tensor.name)


def walk(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node, those inside the branches of If and Loop too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *((attribute.g,) if attribute.HasField("g") else ())):
                yield from walk(inner)


def _short_names() -> Iterator[str]:
    count = 0
    while True:
        name, rest = DIGITS[count % 62], count // 62
        while rest:
            name, rest = name + DIGITS[rest % 62], rest // 62
        yield name
        count += 1
