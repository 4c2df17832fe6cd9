"""Output shapes of the operators CNNs are made of, so that counting one does not load torch's compiler.

Torch derives the shapes of meta tensors with its symbolic-shape machinery, whose first use imports sympy and torch._dynamo
(about a second); the arithmetic for a plain case is one line. Every rule answers only the plain case (contiguous or equally
strided, one floating type) and returns None for the rest, which then goes to torch. Tests hold each rule to torch's own answer.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from .operators import window

Rule = Callable[[Sequence[Any], dict[str, Any]], Any]


def _plain(*tensors: Any) -> bool:
    """Contiguous floating meta tensors of one type."""
    return all(isinstance(t, Tensor) and t.is_meta and t.is_contiguous() and t.is_floating_point() for t in tensors) and (
        len({t.dtype for t in tensors}) == 1
    )


def _convolution(args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
    x, weight = args[:2]
    stride, padding, dilation, transposed, extra, groups = args[3:9]
    axes = weight.dim() - 2
    lists = (stride, padding, dilation, extra)
    if not _plain(x, weight) or x.dim() != axes + 2 or any(len(item) != axes for item in lists):
        return None
    if x.shape[1] != (weight.shape[0] if transposed else weight.shape[1] * groups):
        return None
    grid = []
    for n, k, s, p, d, e in zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, extra, strict=True):
        grid.append((n - 1) * s - 2 * p + d * (k - 1) + e + 1 if transposed else (n + 2 * p - d * (k - 1) - 1) // s + 1)
    if min(grid) < 1:
        return None
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    return x.new_empty((x.shape[0], channels, *grid))


def _pool(name: str) -> Rule:
    """out = floor or ceil((n + 2p - d(k - 1) - 1) / s) + 1; a last window that starts beyond the map is dropped."""

    def rule(args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        x = args[0]
        by = window(name, args, kwargs)
        padding = args[3] if len(args) > 3 else [0]
        ceil = args[5 if name.startswith("max") else 4] if len(args) > (5 if name.startswith("max") else 4) else False
        if not _plain(x) or x.dim() != 4 or by is None or kwargs:
            return None
        padding = list(padding) * (2 if len(padding) == 1 else 1)
        grid = []
        for n, k, s, d, p in zip(x.shape[2:], by.kernel, by.stride, by.dilation, padding, strict=True):
            size = (n + 2 * p - d * (k - 1) - 1 + (s - 1 if ceil else 0)) // s + 1
            if ceil and (size - 1) * s >= n + p:
                size -= 1
            grid.append(size)
        if min(grid) < 1:
            return None
        shape = (*x.shape[:2], *grid)
        return (x.new_empty(shape), x.new_empty(shape, dtype=torch.int64)) if name.startswith("max") else x.new_empty(shape)

    return rule


def _batch_norm(args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    x = args[0]
    if not _plain(x) or any(isinstance(t, Tensor) and t.shape != (x.shape[1],) for t in args[1:5]):
        return None
    return x.new_empty(x.shape), x.new_empty((x.shape[1],)), x.new_empty((x.shape[1],))


def _native_batch_norm(args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    return None if args[5] else _batch_norm(args, kwargs)


def _unary(args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
    return args[0].new_empty(args[0].shape) if _plain(args[0]) and not any(isinstance(a, Tensor) for a in args[1:]) else None


def _binary(args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
    x, y = args[:2]
    if isinstance(y, int | float):
        return _unary(args[:1], kwargs)
    if not _plain(x, y):
        return None
    for big, small in ((x, y), (y, x)):
        if big.dim() >= small.dim() and all(
            s in (1, b) for s, b in zip(reversed(small.shape), reversed(big.shape), strict=False)
        ):
            return big.new_empty(big.shape)
    return None


def _mean(args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
    x, dims = args[:2]
    if not _plain(x) or not dims or kwargs:
        return None
    gone = {d % x.dim() for d in dims}
    keep = len(args) > 2 and args[2]
    return x.new_empty([1 if i in gone else n for i, n in enumerate(x.shape) if keep or i not in gone])


def _addmm(args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
    bias, left, right = args[:3]
    if kwargs or bias.shape not in ((right.shape[1],), (left.shape[0], right.shape[1])) or bias.dtype != left.dtype:
        return None
    return _mm(args[1:3], kwargs)


def _mm(args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
    left, right = args[:2]
    fits = left.is_meta and right.is_meta and left.dtype == right.dtype and left.shape[1] == right.shape[0]
    return left.new_empty((left.shape[0], right.shape[1])) if fits else None


def _cat(args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
    parts = args[0]
    dim = args[1] if len(args) > 1 else kwargs.get("dim", 0)
    if not _plain(*parts) or len({t.dim() for t in parts}) != 1:
        return None
    shape = list(parts[0].shape)
    dim %= len(shape)
    if any(t.shape[i] != n for t in parts for i, n in enumerate(shape) if i != dim):
        return None
    shape[dim] = sum(t.shape[dim] for t in parts)
    return parts[0].new_empty(shape)


def _adaptive(args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
    x, size = args[:2]
    return x.new_empty((*x.shape[:2], *size)) if _plain(x) and x.dim() == 4 and len(size) == 2 and prod(size) else None


def _in_place(args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
    x, *others = args
    same = all(not isinstance(y, Tensor) or (_plain(x, y) and y.shape == x.shape) for y in others)
    return x if _plain(x) and same else None


UNARY = ("relu", "silu", "hardswish", "hardsigmoid", "sigmoid", "tanh", "gelu", "hardtanh", "leaky_relu", "elu", "mish")

RULES: dict[str, Rule] = {
    "aten::convolution": _convolution,
    "aten::max_pool2d_with_indices": _pool("max_pool2d_with_indices"),
    "aten::avg_pool2d": _pool("avg_pool2d"),
    "aten::_native_batch_norm_legit_no_training": _batch_norm,
    "aten::native_batch_norm": _native_batch_norm,
    "aten::add.Tensor": _binary,
    "aten::sub.Tensor": _binary,
    "aten::mul.Tensor": _binary,
    "aten::div.Tensor": _binary,
    "aten::mean.dim": _mean,
    "aten::addmm": _addmm,
    "aten::mm": _mm,
    "aten::cat": _cat,
    "aten::_adaptive_avg_pool2d": _adaptive,
    **{f"aten::{name}": _unary for name in UNARY},
    **{f"aten::{name}_": _in_place for name in UNARY},
    **{f"aten::{name}_.Tensor": _in_place for name in ("add", "sub", "mul", "div")},
}


def shape_of(func: torch._ops.OpOverload, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """What `func` would return on meta tensors, or None where torch has to say."""
    rule = RULES.get(func.name())
    return rule(args, kwargs) if rule is not None else None
