"""Receptive field: how many input pixels one output position can see, followed along the tensors, not the module order.

A window of kernel k, stride s and dilation d on a map whose neighbours lie `jump` input pixels apart:

    size += (k - 1) * d * jump,    jump *= s

Joins (add, cat, mul) take the largest size and the finest jump. What sees the whole map (global pools, flattened linear
layers, attention) adds (positions - 1) * jump. The size is the theoretical one: it may exceed the image, as padding is seen too.
Normalisation and softmax are taken as pointwise. Token mixing by a plain matrix over a transposed map is not recognised.
Source: Araujo, Norris, Sim 2019, Computing Receptive Fields of Convolutional Neural Networks, https://distill.pub/2019/computing-receptive-fields
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, prod
from typing import Any

from torch import Tensor

from .operators import ATTENTION, Window, window


@dataclass(frozen=True)
class Field:
    """The receptive field of a tensor, one number per spatial axis.

    `size` and `jump` are in input pixels; `jump` is None once the map has been pooled away. `grid` is the map (H, W).
    `scales` says whether the map grows when the input does (false after global or adaptive pooling).
    """

    size: tuple[float, ...]
    jump: tuple[float, ...] | None
    grid: tuple[int, ...]
    scales: bool = True

    @classmethod
    def of_input(cls, shape: Sequence[int]) -> "Field":
        """Each pixel of the network's input [B, C, *grid] sees itself."""
        axes = len(shape) - 2
        return cls((1.0,) * axes, (1.0,) * axes, tuple(shape[2:]))


def join(fields: Sequence[Field]) -> Field | None:
    """Largest size, finest jump, and the map of the operand with most positions; None when nothing comes from the input."""
    if not fields:
        return None
    axes = max(len(field.size) for field in fields)
    fields = [field for field in fields if len(field.size) == axes]
    if len(fields) == 1:
        return fields[0]
    jumps = [field.jump for field in fields if field.jump is not None]
    return Field(
        tuple(max(sizes) for sizes in zip(*(field.size for field in fields), strict=True)),
        tuple(min(steps) for steps in zip(*jumps, strict=True)) if jumps else None,
        max((field.grid for field in fields), key=prod),
        any(field.scales for field in fields),
    )


def slide(field: Field, by: Window, grid: tuple[int, ...]) -> Field:
    """Slide a window: the recursion above. A transposed window has ceil(k / s) taps per output and divides the jump."""
    jump = field.jump or (0.0,) * len(field.size)
    reach = [(k - 1) * d + 1 for k, d in zip(by.kernel, by.dilation, strict=True)]
    if by.transposed:
        reach = [ceil(r / s) for r, s in zip(reach, by.stride, strict=True)]
    size = tuple(r + (k - 1) * j for r, k, j in zip(field.size, reach, jump, strict=True))
    if field.jump is None:
        return replace(field, size=size, grid=grid)
    step = tuple(j / s if by.transposed else j * s for j, s in zip(jump, by.stride, strict=True))
    return replace(field, size=size, jump=step, grid=grid)


def see_all(field: Field, axes: Sequence[int] | None = None, *, collapse: bool = True) -> Field:
    """See every position along `axes` (default: all); `collapse` pools them away, attention keeps them."""
    axes = range(len(field.size)) if axes is None else axes
    jump = field.jump or (0.0,) * len(field.size)
    size = tuple(
        r + (g - 1) * j if i in axes else r for i, (r, g, j) in enumerate(zip(field.size, field.grid, jump, strict=True))
    )
    if not collapse:
        return replace(field, size=size)
    grid = tuple(1 if i in axes else g for i, g in enumerate(field.grid))
    gone = prod(grid) == 1
    return Field(size, None if gone else field.jump, grid, field.scales and not gone)


def _resize(field: Field, grid: tuple[int, ...], taps: int) -> Field:
    """Interpolation reads `taps` neighbours and changes the jump by old / new size."""
    if field.jump is None:
        return replace(field, grid=grid)
    size = tuple(r + (taps - 1) * j if g != n else r for r, j, g, n in zip(field.size, field.jump, field.grid, grid, strict=True))
    jump = tuple(j * g / n for j, g, n in zip(field.jump, field.grid, grid, strict=True))
    return Field(size, jump, grid, field.scales)


def _adaptive(field: Field, grid: tuple[int, ...]) -> Field:
    """Adaptive pooling to `grid`: bins of about old / new positions; the map no longer follows the input."""
    if prod(grid) == 1:
        return see_all(field)
    stride = tuple(max(g // n, 1) for g, n in zip(field.grid, grid, strict=True))
    kernel = tuple(ceil(g / n) for g, n in zip(field.grid, grid, strict=True))
    return replace(slide(field, Window(kernel, stride, (1,) * len(kernel)), grid), scales=False)


def _reduce(field: Field, x: Tensor, out: Tensor, args: Sequence[Any], kwargs: dict[str, Any]) -> Field:
    """mean, sum, amax ... over spatial axes: by axis on an NCHW map, else by how many elements went into one."""
    dims = args[1] if len(args) > 1 else kwargs.get("dim")
    axes = len(field.size)
    if isinstance(dims, list | tuple | int) and x.dim() == axes + 2 and tuple(x.shape[2:]) == field.grid:
        listed = [d % x.dim() for d in ([dims] if isinstance(dims, int) else dims)] or list(range(x.dim()))
        spatial = [d - 2 for d in listed if d >= 2]
        return see_all(field, spatial) if spatial else field
    merged = x.numel() // max(out.numel(), 1)
    return see_all(field) if merged >= prod(field.grid) > 1 and merged % prod(field.grid) == 0 else field


GLOBAL_KERNEL = 4  # a pool over a whole map of 4x4 or more stands for global pooling; 2x2 and 3x3 are steps on the way
_TAPS = {"nearest": 1, "linear": 2, "bilinear": 2, "trilinear": 2, "bicubic": 4}
REDUCTIONS = frozenset(
    ("mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean", "std_mean", "logsumexp", "prod", "median", "norm",
     "linalg_vector_norm")
)  # fmt: skip


def advance(
    name: str, args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, fields: Sequence[Field | None], batch: int
) -> Field | None:
    """The field of `out` from those of the tensor arguments, in the order of `fields` (None: a weight or a constant)."""
    known = [field for field in fields if field is not None]
    field = join(known)
    if field is None:
        return None
    axes = len(field.size)
    grid = tuple(out.shape[2:])
    if len(grid) == axes + 1 and grid[0] == 1:
        grid = grid[1:]  # torch pools [B, C, L] as [B, C, 1, L]
    if name in ATTENTION or (name in ("bmm", "baddbmm", "mm") and len(known) > 1):
        return see_all(field, collapse=False)
    if name in ("mm", "addmm", "_addmm_activation", "linear"):
        left = args[1] if name.endswith(("addmm", "activation")) else args[0]
        # Rows = images: all positions are contracted at once. More rows than images: positions ride along as rows.
        return see_all(field) if left.dim() == 2 and left.shape[0] == batch and prod(field.grid) > 1 else field
    if len(grid) != axes:
        return _reduce(field, args[0], out, args, kwargs) if name in REDUCTIONS and isinstance(args[0], Tensor) else field
    by = window(name, args, kwargs)
    if by is not None and len(by.kernel) >= axes:
        by = replace(by, kernel=by.kernel[-axes:], stride=by.stride[-axes:], dilation=by.dilation[-axes:])
        pooled = not name.endswith("convolution") and by.kernel == field.grid and min(by.kernel) >= GLOBAL_KERNEL
        return see_all(field) if pooled else slide(field, by, grid)
    if "adaptive" in name:
        return _adaptive(field, grid)
    if "upsample" in name:
        taps = next((n for mode, n in _TAPS.items() if f"_{mode}" in name), 1)
        return _resize(field, grid, taps)
    if name == "pixel_shuffle":
        return _resize(field, grid, 1)
    if name == "pixel_unshuffle":
        block = (int(args[1]),) * axes
        return slide(field, Window(block, block, (1,) * axes), grid)
    if name == "slice" and field.jump is not None and len(args) > 4 and args[1] >= 2:
        jump = tuple(j * args[4] if i == args[1] - 2 else j for i, j in enumerate(field.jump))
        return replace(field, jump=jump, grid=grid)
    if name in REDUCTIONS and isinstance(args[0], Tensor):
        return _reduce(field, args[0], out, args, kwargs)
    if name == "constant_pad_nd" or name.endswith(("_pad2d", "_pad1d", "_pad3d")) or name == "slice":
        return replace(field, grid=grid)
    return field
