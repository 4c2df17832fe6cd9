"""Every shape rule gives what torch itself gives on meta, or declines; and keeps the compiler out."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from danlu.cost.shapes import RULES, UNARY, shape_of

aten = torch.ops.aten


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


X = (2, 6, 9, 7)
CONV = [[2, 1], [1, 0], [1, 2], False, [0, 0], 1]
CASES = {
    "convolution": (aten.convolution.default, [meta(*X), meta(4, 6, 3, 2), None, *CONV]),
    "grouped": (aten.convolution.default, [meta(*X), meta(4, 3, 3, 3), meta(4), [1, 1], [1, 1], [1, 1], False, [0, 0], 2]),
    "one-dimensional": (aten.convolution.default, [meta(2, 6, 9), meta(4, 6, 3), None, [2], [0], [2], False, [0], 1]),
    "transposed": (aten.convolution.default, [meta(*X), meta(6, 4, 3, 2), None, [2, 3], [1, 0], [1, 2], True, [1, 0], 1]),
    "transposed groups": (aten.convolution.default, [meta(*X), meta(6, 2, 2, 2), None, [2, 2], [0, 0], [1, 1], True, [0, 0], 3]),
    "max pool": (aten.max_pool2d_with_indices.default, [meta(*X), [3, 3], [2, 2], [1, 1]]),
    "max pool bare": (aten.max_pool2d_with_indices.default, [meta(*X), [3, 2]]),
    "max pool ceil": (aten.max_pool2d_with_indices.default, [meta(*X), [3, 3], [2, 2], [0, 0], [1, 1], True]),
    "max pool ceil beyond": (aten.max_pool2d_with_indices.default, [meta(1, 1, 4, 5), [1, 1], [2, 2], [0, 0], [1, 1], True]),
    "max pool dilated": (aten.max_pool2d_with_indices.default, [meta(*X), [2, 2], [1, 1], [0, 0], [2, 2]]),
    "average pool": (aten.avg_pool2d.default, [meta(*X), [2, 3]]),
    "average pool ceil": (aten.avg_pool2d.default, [meta(*X), [2, 2], [2, 2], [0, 0], True]),
    "batch norm": (aten.native_batch_norm.default, [meta(*X), meta(6), meta(6), meta(6), meta(6), False, 0.1, 1e-5]),
    "batch norm eval": (
        aten._native_batch_norm_legit_no_training.default, [meta(*X), meta(6), meta(6), meta(6), meta(6), 0.1, 1e-5],
    ),
    "add": (aten.add.Tensor, [meta(*X), meta(*X)]),
    "add bias": (aten.add.Tensor, [meta(*X), meta(6, 1, 1)]),
    "gate": (aten.mul.Tensor, [meta(2, 6, 1, 1), meta(*X)]),
    "number": (aten.div.Tensor, [meta(*X), 6.0]),
    "mean": (aten.mean.dim, [meta(*X), [-1, -2], True]),
    "mean flat": (aten.mean.dim, [meta(*X), [2, 3]]),
    "addmm": (aten.addmm.default, [meta(5), meta(3, 4), meta(4, 5)]),
    "mm": (aten.mm.default, [meta(3, 4), meta(4, 5)]),
    "cat": (aten.cat.default, [[meta(2, 3, 4), meta(2, 5, 4)], 1]),
    "cat last": (aten.cat.default, [[meta(2, 3), meta(2, 3)], -1]),
    "adaptive": (aten._adaptive_avg_pool2d.default, [meta(*X), [3, 2]]),
    **{name: (getattr(aten, name).default, [meta(*X)]) for name in UNARY},
}  # fmt: skip


def facts(value: object) -> list[tuple[object, ...]]:
    tensors = value if isinstance(value, tuple | list) else [value]
    return [(tuple(t.shape), t.stride(), t.dtype, t.device) for t in tensors]


@pytest.mark.parametrize("case", CASES)
def test_rule_agrees_with_torch(case: str) -> None:
    func, args = CASES[case]
    got = shape_of(func, args, {})
    assert got is not None
    assert facts(got) == facts(func(*args))


def test_every_rule_is_tried() -> None:
    tried = {func.name() for func, _ in CASES.values()}
    in_place = {name for name in RULES if name.partition(".")[0].endswith("_")}
    assert set(RULES) - in_place == (tried - in_place) | {"aten::sub.Tensor"}


@pytest.mark.parametrize("name", [*(f"{n}_.default" for n in UNARY), "add_.Tensor", "sub_.Tensor", "mul_.Tensor", "div_.Tensor"])
def test_in_place_operators_return_their_argument(name: str) -> None:
    packet, _, overload = name.partition(".")
    func = getattr(getattr(aten, packet), overload)
    x = meta(*X)
    args = [x, meta(*X)] if overload == "Tensor" else [x]
    assert shape_of(func, args, {}) is x


@pytest.mark.parametrize(
    ("func", "args"),
    [
        (aten.convolution.default, [meta(2, 5, 9, 7), meta(4, 6, 3, 2), None, *CONV]),  # 5 channels for 6
        (aten.convolution.default, [meta(2, 6, 1, 1), meta(4, 6, 3, 2), None, *CONV]),  # the kernel does not fit
        (aten.convolution.default, [meta(*X).to(memory_format=torch.channels_last), meta(4, 6, 3, 2), None, *CONV]),
        (aten.native_batch_norm.default, [meta(*X), meta(6), meta(6), meta(6), meta(6), True, 0.1, 1e-5]),  # training
        (aten.native_batch_norm.default, [meta(*X), meta(5), meta(5), meta(5), meta(5), False, 0.1, 1e-5]),
        (aten.add.Tensor, [meta(*X), meta(2, 6, 9, 6)]),
        (aten.add.Tensor, [meta(*X), meta(*X, dtype=torch.float64)]),
        (aten.add.Tensor, [meta(6, 1), meta(1, 7)]),
        (aten.addmm.default, [meta(5), meta(3, 4), meta(3, 5)]),
        (aten.mm.default, [meta(3, 4), meta(3, 5)]),
        (aten.cat.default, [[meta(2, 3), meta(3, 3)], 1]),
        (aten.relu.default, [meta(4, 5).t()]),
        (aten.relu.default, [meta(4, dtype=torch.int64)]),
        (aten.cumsum.default, [meta(4), 0]),
    ],
)
def test_what_is_not_plain_is_left_to_torch(func, args) -> None:
    assert shape_of(func, args, {}) is None


def test_counting_a_cnn_does_not_load_the_compiler() -> None:
    code = """
import sys
from torch import nn
from danlu.cost import profile
net = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(True), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, groups=8),
                    nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
assert profile(net, (3, 32, 32)).macs == 8 * 256 * 27 + 8 * 36 * 9 + 32
print([name for name in ("sympy", "torch._dynamo") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
