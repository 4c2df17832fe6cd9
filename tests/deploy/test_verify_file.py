"""The comparison of a file with its network catches what it is there to catch."""

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from danlu.data.spec import Input
from danlu.deploy import Check, export_onnx, verify
from danlu.errors import DanluError, UsageError

INPUT = Input((8, 8), 1, (0.5,), (0.5,))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Dropout(), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    path = tmp_path_factory.mktemp("verify") / "net.onnx"
    return net, export_onnx(net, path, input=INPUT, classes=["a", "b", "c"], check=False)


def damage(path: Path, target: Path, change: float) -> Path:
    """The file with one bias changed."""
    model = onnx.load(str(path))
    bias = next(tensor for tensor in model.graph.initializer if list(tensor.dims) == [3])
    value = numpy_helper.to_array(bias).copy()
    value[1] += change
    bias.CopyFrom(numpy_helper.from_array(value, bias.name))
    onnx.save(model, str(target))
    return target


def test_a_good_file_gives_one_check_a_batch(pair: tuple[nn.Module, Path]) -> None:
    net, path = pair
    net.train()
    checks = verify(net, path, INPUT)
    assert [check.batch for check in checks] == [1, 2, 7]
    assert all(isinstance(check, Check) and 0 <= check.max_difference <= check.tolerance < 1e-3 for check in checks)
    assert all(module.training for module in net.modules())
    assert checks[0].to_json() == {"batch": 1, "max_difference": checks[0].max_difference, "tolerance": checks[0].tolerance}


@pytest.mark.parametrize("change", [0.01, -1e3, float("nan"), float("inf")])
def test_another_weight_is_found(pair: tuple[nn.Module, Path], change: float, tmp_path: Path) -> None:
    net, path = pair
    with pytest.raises(DanluError, match=r"differs from torch by .* at batch 2"):
        verify(net, damage(path, tmp_path / "bad.onnx", change), INPUT, batches=(2, 3))


def test_the_difference_is_the_largest_over_images_and_logits(pair: tuple[nn.Module, Path], tmp_path: Path) -> None:
    net, path = pair
    with pytest.raises(DanluError, match=r"by 0\.25 at batch 1"):
        verify(net, damage(path, tmp_path / "bad.onnx", 0.25), INPUT)


def test_a_net_that_gives_nan_is_told_apart_from_a_bad_file(pair: tuple[nn.Module, Path]) -> None:
    net = copy.deepcopy(pair[0])
    with torch.no_grad():
        net[5].bias[0] = float("nan")
    with pytest.raises(DanluError, match="the network itself gives NaN"):
        verify(net, pair[1], INPUT)


def test_a_file_that_is_not_onnx_is_bad_input(pair: tuple[nn.Module, Path], tmp_path: Path) -> None:
    for name, content in {"text.onnx": b"hello", "half.onnx": pair[1].read_bytes()[:200]}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError, match=name):
            verify(pair[0], tmp_path / name, INPUT)


def test_a_net_without_a_free_batch_is_found(pair: tuple[nn.Module, Path], tmp_path: Path) -> None:
    net, path = pair
    model = onnx.load(str(path))
    flatten = next(node for node in model.graph.node if node.op_type in ("Flatten", "Reshape"))
    shape = numpy_helper.from_array(np.array([1, 4]), "fixed")
    model.graph.initializer.append(shape)
    flatten.CopyFrom(onnx.helper.make_node("Reshape", [flatten.input[0], "fixed"], list(flatten.output)))
    onnx.save(model, str(tmp_path / "one.onnx"))
    verify(net, tmp_path / "one.onnx", INPUT, batches=(1,))
    with pytest.raises(DanluError, match=r"one\.onnx.* batch 2"):
        verify(net, tmp_path / "one.onnx", INPUT)
