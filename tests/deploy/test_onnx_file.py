"""Exported files: what they compute, what they say of themselves, how few bytes they take, and that nothing else changes."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from danlu import __version__
from danlu.data.spec import Input
from danlu.deploy import export_onnx
from danlu.deploy.quiet import quiet_export
from danlu.errors import DanluError, UsageError

INPUT = Input((16, 16), 3, (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616), "short_side_crop")
CLASSES = ["ant", "bee", "猫", "d/e", 'f "g"']


class Residual(nn.Module):
    def __init__(self, width: int, stride: int = 1) -> None:
        super().__init__()
        out = width * stride
        self.conv1 = nn.Conv2d(width, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.short = (
            nn.Sequential(nn.Conv2d(width, out, 1, stride, bias=False), nn.BatchNorm2d(out)) if stride > 1 else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.short(x))


class Dense(nn.Module):
    """Pre-activation: the norm comes before the convolution, so it cannot be folded."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(width)
        self.conv = nn.Conv2d(width, growth, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(F.relu(self.bn(x)))], 1)


class Head(nn.Module):
    """A mean over the map by torch.mean, and a view with the batch in it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.mean((2, 3)).view(x.shape[0], -1))


def residual() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), Residual(8), Residual(8, 2),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, len(CLASSES)))  # fmt: skip


def separable() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU6(),
                         nn.Conv2d(12, 12, 3, 1, 1, groups=12, bias=False), nn.BatchNorm2d(12), nn.Hardswish(),
                         nn.Conv2d(12, 24, 1, groups=3, bias=False), nn.BatchNorm2d(24), nn.SiLU(), Head(24))  # fmt: skip


def dense() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2), Dense(8, 4), Dense(12, 4), nn.AvgPool2d(2), Head(16))


NETS = {"residual": residual, "separable": separable, "dense": dense}


def lively(make: Callable[[], nn.Module]) -> nn.Module:
    """A net whose norms have statistics of their own."""
    torch.manual_seed(0)
    net = make()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    return net


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[nn.Module, Path]]:
    folder = tmp_path_factory.mktemp("exported")
    made = {}
    for name, make in NETS.items():
        net = lively(make)
        made[name] = (net, export_onnx(net, folder / f"{name}.onnx", input=INPUT, classes=CLASSES, recipe=f"{name}(width=8)"))
    return made


@pytest.mark.parametrize("name", NETS)
def test_answers_equal_torch_at_any_batch(exported: dict[str, tuple[nn.Module, Path]], name: str) -> None:
    net, path = exported[name]
    running = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    net.eval()
    for batch in (1, 2, 5, 7, 64):
        images = torch.randn(batch, 3, 16, 16, generator=torch.Generator().manual_seed(batch))
        with torch.no_grad():
            expected = net(images).numpy()
        np.testing.assert_allclose(running.run(["logits"], {"input": images.numpy()})[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETS)
def test_names_shapes_and_validity(exported: dict[str, tuple[nn.Module, Path]], name: str) -> None:
    model = onnx.load(str(exported[name][1]))
    onnx.checker.check_model(model, full_check=True)

    def dims(value: onnx.ValueInfoProto) -> list[str | int]:
        return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]

    assert [(value.name, dims(value)) for value in model.graph.input] == [("input", ["batch", 3, 16, 16])]
    assert [(value.name, dims(value)) for value in model.graph.output] == [("logits", ["batch", len(CLASSES)])]
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_norms_are_folded_where_a_convolution_precedes_them(exported: dict[str, tuple[nn.Module, Path]]) -> None:
    def operators(name: str) -> Counter[str]:
        return Counter(node.op_type for node in onnx.load(str(exported[name][1])).graph.node)

    assert operators("residual") == {"Conv": 6, "Relu": 5, "Add": 2, "GlobalAveragePool": 1, "Reshape": 1, "Gemm": 1}
    assert operators("separable")["BatchNormalization"] == 0
    assert operators("dense")["BatchNormalization"] == 2
    assert operators("dense")["GlobalAveragePool"] == 1  # x.mean((2, 3))


def test_metadata_says_how_to_feed_it(exported: dict[str, tuple[nn.Module, Path]]) -> None:
    stored = {prop.key: prop.value for prop in onnx.load(str(exported["dense"][1])).metadata_props}
    assert json.loads(stored["classes"]) == CLASSES
    assert json.loads(stored["mean"]) == list(INPUT.mean)
    assert json.loads(stored["std"]) == list(INPUT.std)
    assert json.loads(stored["size"]) == [16, 16]
    assert (stored["resize"], stored["recipe"], stored["danlu"]) == ("short_side_crop", "dense(width=8)", __version__)


@pytest.mark.parametrize("name", NETS)
def test_little_beside_the_weights(exported: dict[str, tuple[nn.Module, Path]], name: str) -> None:
    path = exported[name][1]
    model = onnx.load(str(path))
    weights = sum(onnx.numpy_helper.to_array(tensor).nbytes for tensor in model.graph.initializer)
    parts = len(model.graph.node) + len(model.graph.initializer)
    assert path.stat().st_size < weights + 80 * parts + 700  # names, shapes and attributes; the metadata
    assert b".py" not in path.read_bytes()  # no stack traces
    assert not model.graph.value_info


def test_nodes_are_named_after_modules(exported: dict[str, tuple[nn.Module, Path]]) -> None:
    nodes = onnx.load(str(exported["residual"][1])).graph.node
    names = [node.name for node in nodes]
    assert {"0", "3.conv1", "3.conv2", "4.short.0", "7"} <= set(names)
    assert len(set(names)) == len(names)


def test_smaller_than_the_plain_export(exported: dict[str, tuple[nn.Module, Path]], tmp_path: Path) -> None:
    net, path = exported["residual"]
    plain = tmp_path / "plain.onnx"
    with quiet_export():
        torch.onnx.export(net.eval(), (torch.zeros(2, 3, 16, 16),), str(plain), dynamo=True, verbose=False, external_data=False)
    assert path.stat().st_size < 0.6 * plain.stat().st_size


def test_the_model_is_untouched(tmp_path: Path) -> None:
    net = lively(residual).train()
    net[3].eval()
    flags = [module.training for module in net.modules()]
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    export_onnx(net, tmp_path / "net.onnx", input=INPUT, classes=CLASSES)
    assert [module.training for module in net.modules()] == flags
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())


class Mask(nn.Module):
    def __init__(self, keep: Tensor) -> None:
        super().__init__()
        self.register_buffer("keep", keep)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.keep


def test_parametrised_weights_become_plain(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), Head(8))
    parametrize.register_parametrization(net[0], "weight", Mask(torch.rand(8, 3, 3, 3) < 0.5))
    path = export_onnx(net, tmp_path / "masked.onnx", input=INPUT, classes=CLASSES)
    assert parametrize.is_parametrized(net[0])
    weights = [onnx.numpy_helper.to_array(t) for t in onnx.load(str(path)).graph.initializer if list(t.dims) == [8, 3, 3, 3]]
    assert len(weights) == 1
    np.testing.assert_array_equal(weights[0] == 0, ~net[0].parametrizations.weight[0].keep.numpy())
    assert {node.op_type for node in onnx.load(str(path)).graph.node} == {
        "Conv",
        "Relu",
        "GlobalAveragePool",
        "Flatten",
        "Reshape",
        "Gemm",
    }


def test_half_precision_models_are_written_in_float32(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(768, len(CLASSES))).to(torch.bfloat16)
    path = export_onnx(net, tmp_path / "half.onnx", input=INPUT, classes=CLASSES)
    assert {tensor.data_type for tensor in onnx.load(str(path)).graph.initializer} <= {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.INT64,
    }
    assert net[1].weight.dtype == torch.bfloat16


class Moody(nn.Module):
    """Answers otherwise each time: the exported file cannot agree with it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(768, len(CLASSES))
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.linear(x.flatten(1)) + self.calls


def test_a_file_that_disagrees_never_replaces_a_good_one(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"the good one")
    with pytest.raises(DanluError, match=r"differs from torch by .* at batch 1"):
        export_onnx(Moody(), path, input=INPUT, classes=CLASSES)
    assert path.read_bytes() == b"the good one"
    assert list(tmp_path.iterdir()) == [path]
    export_onnx(Moody(), path, input=INPUT, classes=CLASSES, check=False)
    assert path.read_bytes() != b"the good one"


class Two(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class ByValue(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(768, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1)) if x.sum() > 0 else self.linear(-x.flatten(1))


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Sequential(nn.Conv2d(1, 4, 3), Head(4)), r"does not take images of \[C, H, W\] = \[3, 16, 16\]"),
        (nn.Sequential(nn.Flatten(), nn.Linear(768, 9)), r"must give \[2, 5\] logits for 2 images and 5 classes, got \[2, 9\]"),
        (Two(), "got tuple"),
    ],
)
def test_nets_that_do_not_fit_are_refused(net: nn.Module, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        export_onnx(net, tmp_path / "net.onnx", input=INPUT, classes=CLASSES)
    assert not list(tmp_path.iterdir())


def test_a_net_that_cannot_be_traced_is_one_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DanluError, match=r"torch cannot export this ByValue to ONNX: .*data-dependent") as caught:
        export_onnx(ByValue(), tmp_path / "net.onnx", input=INPUT, classes=CLASSES)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_exporting_is_silent(tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    export_onnx(nn.Sequential(nn.Conv2d(3, 4, 3), Head(4)), tmp_path / "net.onnx", input=INPUT, classes=CLASSES)
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelname != "DEBUG"]
