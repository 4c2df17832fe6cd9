"""Write a model as one .danlu file: `pack_model(model, "x.danlu", input=..., classes=...)`.

Encoded weights are stored as their symbols, everything else as numbers; each tensor in the smallest of the ways that
`plan.py` knows. Nothing is lost but what is asked for: `floats="fp16"` or "bf16" rounds the weights that no encoding has, and
batch norms keep what they do in eval mode, y = s x + t, not the statistics that training goes on from.
"""

import copy
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..data.spec import Input
from ..encodings import Encoding, Penalty, bake, encoded
from ..errors import DanluError, UsageError
from .container import write_file
from .header import Header, write_header
from .plan import FLOATS, Planner
from .saved import restructured
from .skeleton import places, skeleton
from .symbols import Symbolic, from_levels

TOLERANCE = 1e-6  # of symbols against the weight that the encoding computes, relative to its largest
FP32_BYTES = 4
FAST_FROM = 2**22  # weights of a net from which decoding speed counts more than the last percent of positions
TIED_FROM = 16  # weights; below, saying so costs as much as the weights


@dataclass(frozen=True)
class Packed:
    """What was written: sizes in bytes; `params` counts the parameters of the model, fp32_bytes is 4 for each of them."""

    path: Path
    size_bytes: int
    header_bytes: int
    params: int
    streams: int

    @property
    def fp32_bytes(self) -> int:
        return FP32_BYTES * self.params

    @property
    def ratio(self) -> float:
        """fp32 bytes by bytes of the file."""
        return self.fp32_bytes / self.size_bytes


def pack_model(
    model: nn.Module, path: str | Path, *, input: Input, classes: Sequence[str], floats: str = "fp32",
    recipe: str | None = None, keep_statistics: bool = False, trust: bool = True,
) -> Packed:  # fmt: skip
    """Write `model` into the file `path`, atomically; the model is untouched.

    `floats` is the type of weights that are not encoded: "fp32" keeps them exactly, in two bytes where that is exact;
    "fp16" and "bf16" round them. `keep_statistics` keeps the running mean and variance of batch norms as they are.
    Without `trust` a recipe `module:function` is refused: packing builds the net once more, to see that the file can be read,
    and a recipe may have come from elsewhere with the model.

    Raises: UsageError for a model without a recipe, one whose recipe does not rebuild it, one with a schedule that has not
    ended, and weights that are not finite; DanluError when an encoding's symbols are not its weight.
    """
    path = Path(path)
    if floats not in FLOATS:
        raise UsageError(f"floats must be one of {', '.join(FLOATS)}, got {floats!r}")
    recipe = recipe or getattr(model, "danlu_recipe", None)
    if not recipe:
        raise UsageError("this model has no recipe, so it could not be rebuilt; make it with danlu.create")
    with torch.no_grad():
        source = copy.deepcopy(model).cpu().float().eval()
        plain = bake(source)
        symbols = encodings_of(source)
        if not keep_statistics:
            fold_statistics(plain, kept={name.rpartition(".")[0] for name in symbols})
        tensors = dict(plain.state_dict())
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        about: dict[str, Any] = {"recipe": recipe, "classes": list(classes), "input": input.to_json()}
        layers = restructured(plain, recipe, len(classes), input.channels)
        about |= ({"layers": layers} if layers else {}) | ({} if floats == "fp32" else {"floats": floats})
        net = skeleton(about, shapes, channels=input.channels, trust=trust)
        planner = Planner(floats, fast=sum(math.prod(shape) for shape in shapes.values()) > FAST_FROM)
        plan_tensors(planner, {name: tensors[name] for name in places(net)}, symbols)
    streams, tables, plans = planner.finish()
    header = Header(about, [[draft.piece() for draft in stream] for stream in streams], tables, plans)
    before = write_file(path, write_header(header), [b"".join(draft.data for draft in stream) for stream in streams])
    params = sum(parameter.numel() for parameter in plain.parameters())
    return Packed(path, path.stat().st_size, before, params, len(streams))


def encodings_of(model: nn.Module) -> dict[str, tuple[nn.Module, str, list[Encoding]]]:
    """The encoded tensors whose last encoding may know their symbols, by their name in the baked net."""
    found = {}
    for name, module, tensor, chain in encoded(model):
        while chain and isinstance(chain[-1], Penalty):  # the identity, outside training
            chain.pop()
        if chain:
            found[f"{name}.{tensor}".lstrip(".")] = (module, tensor, chain)
    return found


def symbols_of(module: nn.Module, tensor: str, chain: list[Encoding], weight: Tensor, name: str) -> Symbolic | None:
    """The weight as its encoding's symbols; None when the encoding has none."""
    value = module.parametrizations[tensor].original  # type: ignore[union-attr, index]
    for part in chain[:-1]:
        value = part(value)
    levels = chain[-1].levels(value)
    if levels is None:
        return None
    symbolic = from_levels(levels)
    del levels
    got = torch.from_numpy(symbolic.weight())
    limit = TOLERANCE * float(weight.abs().max()) if weight.numel() else 0.0
    if got.shape != weight.shape or not torch.allclose(got, weight, rtol=0, atol=limit):
        raise DanluError(f"{name}: the symbols that {type(chain[-1]).__name__} gives are not the weight that it computes")
    return symbolic


def plan_tensors(planner: Planner, tensors: dict[str, Tensor], symbols: dict[str, tuple[nn.Module, str, list[Encoding]]]) -> None:
    """Plan every tensor, in the order of the state dict."""
    seen: dict[bytes, int] = {}
    for i, (name, tensor) in enumerate(tensors.items()):
        values = tensor.detach().contiguous().numpy()
        if not tensor.dtype.is_floating_point:
            planner.integers(name, values)
            continue
        if values.size >= TIED_FROM and values.min() != values.max():
            digest = hashlib.sha256(repr(values.shape).encode() + values.tobytes()).digest()
            if digest in seen:
                planner.tied(name, values.shape, seen[digest])
                continue
            seen[digest] = i
        planner.floats(name, values, symbols_of(*symbols[name], tensor, name) if name in symbols else None)


def fold_statistics(model: nn.Module, kept: set[str]) -> None:
    """Let every batch norm be y = s x + t, with a mean of 0 and a variance of 1 - eps, in place.

    s = weight / sqrt(var + eps), t = bias - s mean, computed in double precision. Norms without weights, without
    statistics, or with encoded weights (their names in `kept`) stay.
    """
    for name, norm in model.named_modules():
        if not isinstance(norm, _BatchNorm) or name in kept:
            continue
        if norm.running_mean is None or norm.running_var is None or norm.weight is None or norm.bias is None:
            continue
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        norm.bias.copy_(norm.bias.double() - scale * norm.running_mean.double())
        norm.weight.copy_(scale)
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - norm.eps)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.zero_()
