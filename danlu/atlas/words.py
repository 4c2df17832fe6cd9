"""A layer in a few words, as a diagram has room for: what it is, and what is special about it."""

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

NORMS = {
    "BatchNorm": "batch norm", "GroupNorm": "group norm", "LayerNorm": "layer norm", "InstanceNorm": "instance norm",
    "LocalResponse": "LRN",
}  # fmt: skip


def describe(module: nn.Module) -> tuple[str, str, str]:
    """(kind, title, note) of a layer: ("conv", "3×3 conv 64", "stride 2")."""
    if isinstance(module, _ConvNd):
        word = "deconv" if isinstance(module, _ConvTransposeNd) else "conv"
        depthwise = 1 < module.groups == module.in_channels
        notes = [f"stride {times(module.stride)}"] if max(module.stride) > 1 else []
        notes += ["depthwise" if depthwise else f"{module.groups} groups"] if module.groups > 1 else []
        notes += [f"dilation {times(module.dilation)}"] if max(module.dilation) > 1 else []
        return "conv", f"{times(module.kernel_size, square=True)} {word} {module.out_channels}", ", ".join(notes)
    if isinstance(module, nn.Linear):
        return "linear", f"linear {module.out_features}", ""
    name = type(module).__name__
    if isinstance(module, _NormBase | nn.GroupNorm | nn.LayerNorm | nn.LocalResponseNorm):
        return "norm", next((words for part, words in NORMS.items() if part in name), name), ""
    source = type(module).__module__
    if source == "torch.nn.modules.pooling":
        return _pool(module, name)
    if source == "torch.nn.modules.activation" and not isinstance(module, nn.MultiheadAttention):
        return "act", name, ""
    if source == "torch.nn.modules.dropout":
        return "drop", f"dropout {getattr(module, 'p', 0):g}", ""
    if source == "torch.nn.modules.flatten":
        return "shape", "flatten" if name == "Flatten" else "reshape", ""
    return "other", name, ""


def _pool(module: Any, name: str) -> tuple[str, str, str]:
    word = "max" if "Max" in name else "Lp" if "LP" in name else "mean"
    if name.startswith("Adaptive"):
        size = module.output_size
        whole = size == 1 or (isinstance(size, tuple) and all(n == 1 for n in size))
        return "pool", f"global {word}" if whole else f"{word} to {times(size, square=True)}", ""
    kernel = getattr(module, "kernel_size", None)
    stride = getattr(module, "stride", None)
    if kernel is None:
        return "pool", name, ""
    note = f"stride {times(stride)}" if stride not in (None, 1, (1, 1)) else ""
    return "pool", f"{word} pool {times(kernel, square=True)}", note


def times(value: Any, *, square: bool = False) -> str:
    """Sizes as people write them: "3×3"; 2 for (2, 2), or "2×2" with `square`."""
    sides = tuple(value) if isinstance(value, tuple | list) else (value, value) if square else (value,)
    if not square and len(set(sides)) == 1:
        sides = sides[:1]
    return "×".join(str(side) for side in sides)
