"""Rewrites of hand-made ONNX graphs, judged by onnx's own reference evaluator."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from danlu.deploy.graph import norms_to_convs, pool_means, shorten, strip

X = np.random.default_rng(0).standard_normal((2, 3, 5, 4)).astype(np.float32)


def make(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], opset: int = 18, rank: int = 4) -> onnx.ModelProto:
    source = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 5, 4][:rank])
    target = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    return helper.make_model(
        helper.make_graph(nodes, "main", [source], [target], tensors),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )


def answer(model: onnx.ModelProto, x: np.ndarray = X) -> np.ndarray:
    return ReferenceEvaluator(model).run(None, {"input": x})[0]


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("axes", [[2, 3], [-1, -2], [3, -2]])
@pytest.mark.parametrize("keepdims", [0, 1, None])
@pytest.mark.parametrize("as_attribute", [False, True])
def test_mean_over_the_map_becomes_a_pool(axes: list[int], keepdims: int | None, as_attribute: bool) -> None:
    options = {} if keepdims is None else {"keepdims": keepdims}
    if as_attribute:
        model = make([helper.make_node("ReduceMean", ["input"], ["logits"], axes=axes, **options)], {}, opset=13)
    else:
        model = make([helper.make_node("ReduceMean", ["input", "axes"], ["logits"], **options)], {"axes": np.array(axes)})
    expected = answer(model)
    pool_means(model)
    assert operators(model) == (["GlobalAveragePool", "Flatten"] if keepdims == 0 else ["GlobalAveragePool"])
    assert answer(model).shape == expected.shape
    np.testing.assert_allclose(answer(model), expected, rtol=1e-6)


@pytest.mark.parametrize(("axes", "rank"), [([1, 2], 4), ([3], 4), ([1, 2, 3], 4), ([-1, -2], 3), ([0, 1], 2)])
def test_other_means_are_left(axes: list[int], rank: int) -> None:
    model = make([helper.make_node("ReduceMean", ["input", "axes"], ["logits"])], {"axes": np.array(axes)}, rank=rank)
    pool_means(model)
    assert operators(model) == ["ReduceMean"]


def test_a_mean_in_the_middle_keeps_the_order_of_nodes() -> None:
    nodes = [
        helper.make_node("Relu", ["input"], ["a"]),
        helper.make_node("ReduceMean", ["b", "axes"], ["c"], keepdims=0),
        helper.make_node("Neg", ["c"], ["logits"]),
    ]
    nodes.insert(1, helper.make_node("Abs", ["a"], ["b"]))
    model = make(nodes, {"axes": np.array([2, 3])})
    expected = answer(model)
    model = onnx.shape_inference.infer_shapes(model)
    pool_means(model)
    onnx.checker.check_model(model, full_check=True)
    assert operators(model) == ["Relu", "Abs", "GlobalAveragePool", "Flatten", "Neg"]
    np.testing.assert_allclose(answer(model), expected, rtol=1e-6)


def test_a_norm_becomes_a_depthwise_convolution() -> None:
    rng = np.random.default_rng(1)
    constants = {name: rng.uniform(0.5, 2, 3).astype(np.float32) for name in ("gamma", "beta", "mean", "var")}
    model = make([helper.make_node("BatchNormalization", ["input", *constants], ["logits"], epsilon=0.1)], constants)
    expected = answer(model)
    norms_to_convs(model)
    assert operators(model) == ["Conv"]
    np.testing.assert_allclose(answer(model), expected, rtol=1e-5, atol=1e-6)


def test_a_norm_on_vectors_is_left() -> None:
    constants = {name: np.ones(3, np.float32) for name in ("gamma", "beta", "mean", "var")}
    model = make([helper.make_node("BatchNormalization", ["input", *constants], ["logits"])], constants, rank=2)
    norms_to_convs(model)
    assert operators(model) == ["BatchNormalization"]


def test_strip_drops_unused_and_equal_constants_and_notes() -> None:
    half, other = np.full(3, 0.5, np.float32), np.full((3, 1), 0.5, np.float32)
    nodes = [
        helper.make_node("Mul", ["input", "a"], ["x"], doc_string="File lib.py line 3"),
        helper.make_node("Add", ["x", "b"], ["y"]),
        helper.make_node("Add", ["y", "c"], ["logits"]),
    ]
    model = make(nodes, {"unused": np.zeros(1000, np.float32), "a": half, "b": half, "c": other}, rank=2)
    model.doc_string = model.graph.doc_string = "notes"
    helper.set_model_props(model, {"kept": "yes"})
    model.graph.node[0].metadata_props.add(key="stack", value="File lib.py line 4")
    model.graph.value_info.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, None))
    model.opset_import.append(helper.make_opsetid("example.custom", 1))
    x = np.ones((3, 3), np.float32)
    expected = answer(model, x)
    strip(model)
    assert [tensor.name for tensor in model.graph.initializer] in (["a", "c"], ["b", "c"])  # c has the values, not the shape
    assert b"lib.py" not in model.SerializeToString()
    assert b"notes" not in model.SerializeToString()
    assert not model.graph.value_info
    assert [opset.domain for opset in model.opset_import] == [""]
    assert {prop.key: prop.value for prop in model.metadata_props} == {"kept": "yes"}
    np.testing.assert_array_equal(answer(model, x), expected)


def test_short_names_keep_inputs_and_outputs_and_are_distinct() -> None:
    count = 200
    nodes = [
        helper.make_node("Add", ["input" if i == 0 else f"layer.{i}.sum", f"layer.{i}.bias"], [f"layer.{i + 1}.sum"])
        for i in range(count)
    ]
    nodes[-1].output[0] = "logits"
    model = make(nodes, {f"layer.{i}.bias": np.float32([i]) for i in range(count)})
    expected, before = answer(model), model.ByteSize()
    shorten(model)
    assert model.graph.input[0].name == "input"
    assert model.graph.output[0].name == "logits"
    names = {name for node in model.graph.node for name in (*node.input, *node.output)}
    assert len(names) == 2 * count + 1
    assert max(len(name) for name in names - {"input", "logits"}) <= 2
    assert model.ByteSize() < 0.6 * before
    np.testing.assert_array_equal(answer(model), expected)


def test_a_graph_with_branches_keeps_its_names() -> None:
    def branch(name: str, op: str) -> onnx.GraphProto:
        inner = helper.make_node(op, ["hidden"], [name])  # reads a tensor from outside
        return helper.make_graph([inner], name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)])

    nodes = [
        helper.make_node("Relu", ["input"], ["hidden"]),
        helper.make_node("If", ["yes"], ["logits"], then_branch=branch("then", "Neg"), else_branch=branch("else", "Abs")),
    ]
    model = make(nodes, {"yes": np.array(True)})
    expected = answer(model)
    strip(model)
    shorten(model)
    np.testing.assert_array_equal(answer(model), expected)
