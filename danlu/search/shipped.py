"""A net as the file it ships in: packed, unpacked again and exported, so that accuracy and latency are those of the file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from ..codec.entropy import entropy_bits
from ..codec.pack import pack_model
from ..codec.unpack import unpack_model
from ..data import Source
from ..data.spec import Input
from ..deploy import export_onnx, predict
from ..encodings import Levels, bake, encoded
from .measure import count

FLOATS = "fp16"  # what is not a weight of few values: norms, biases, the values of a net that is pruned and not shared
FORMATS = ("onnx", "danlu")


@dataclass(frozen=True)
class Shipped:
    """The files of one net and the accuracy of the ONNX file on validation; `danlu` is None where none was asked for."""

    onnx: Path
    danlu: Path | None
    accuracy: float
    macs: int
    params: int

    @property
    def size_bytes(self) -> int:
        """Bytes of the file that ships."""
        return (self.danlu or self.onnx).stat().st_size


def ship(net: nn.Module, stem: Path, source: Source, recipe: str, *, danlu: bool) -> Shipped:
    """Write `stem`.onnx, and with `danlu` `stem`.danlu: the ONNX file is then what the .danlu file unpacks to."""
    packed: Path | None = None
    if danlu:
        packed = stem.with_name(f"{stem.name}.danlu")
        pack(net, packed, source.input, source.classes, recipe)
        net = unpack_model(packed, trust=True).model  # this run wrote it
    onnx = export_onnx(net, stem.with_name(f"{stem.name}.onnx"), input=source.input, classes=source.classes, recipe=recipe)
    accuracy = float((predict(onnx, source.val).argmax(1) == source.val.labels).mean())
    macs, params = count(bake(net), source.input)
    return Shipped(onnx, packed, accuracy, macs, params)


def recipe_of(net: nn.Module) -> str:
    """The recipe a net carries."""
    return str(getattr(net, "danlu_recipe", ""))


def pack(net: nn.Module, file: Path, input: Input, classes: Sequence[str], recipe: str) -> int:
    """Write `net` as the .danlu file that ships; its bytes."""
    return pack_model(net, file, input=input, classes=classes, floats=FLOATS, recipe=recipe, trust=True).size_bytes


def fixed_width_bytes(net: nn.Module, packed: Path) -> int:
    """What the .danlu file of `net` would have if shared values were not entropy coded, positions as they are:

        file + sum over shared tensors of n ceil(log2 K) - H bits

    n indices of K values, those of zeros left out (they are positions), and H the order-0 entropy of the indices, which the
    coders come to within a per cent. So one thing changes from one row of the waterfall to the next.
    """
    bits = 0.0
    for levels in shared(net).values():
        counts = np.bincount(levels.indices.flatten().cpu().numpy(), minlength=levels.table.shape[1])
        if levels.zero is not None:
            counts = np.delete(counts, levels.zero)
        bits += float(counts.sum()) * width(len(counts)) - entropy_bits(counts)
    return packed.stat().st_size + math.ceil(bits / 8)


def shared(net: nn.Module) -> dict[str, Levels]:
    """The tensors that have few values, as symbols, by name."""
    found = {}
    for name, module, tensor, chain in encoded(net):
        value = module.parametrizations[tensor].original  # type: ignore[index, union-attr]
        levels = chain[-1].levels(value) if len(chain) == 1 else None
        if levels is not None:
            found[f"{name}.{tensor}".lstrip(".")] = levels
    return found


def width(symbols: int) -> int:
    """Bits of a fixed-width index among `symbols`."""
    return max(symbols - 1, 0).bit_length()
