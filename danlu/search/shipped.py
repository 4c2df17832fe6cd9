"""A net as the file it ships in: packed, unpacked again and exported, so that accuracy and latency are those of the file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ..codec.container import Container
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
    """What the .danlu file of `net` would have without entropy coding of indices and positions: each shared tensor the least of

        n ceil(log2 K) bits                    every index at a fixed width
        n + nonzeros ceil(log2 (K - 1)) bits   a bit for each position, and the indices of those that are not zero

    in the place of its coded symbols; everything else, header and centroids included, as in the file.
    """
    with Container.open(packed) as container:
        header = container.header
    symbols = shared(net)
    plans = [plan for plan in header.tensors if plan.kind in ("indices", "sparse_indices") and plan.name in symbols]
    pieces = {piece for plan in plans for piece in (plan.symbols, plan.positions) if piece >= 0}
    coded = sum(header.pieces[piece].bytes for piece in pieces)
    return packed.stat().st_size - coded + math.ceil(sum(_fixed(symbols[plan.name]) for plan in plans) / 8)


def shared(net: nn.Module) -> dict[str, Levels]:
    """The tensors that have few values, as symbols, by name."""
    found = {}
    for name, module, tensor, chain in encoded(net):
        value = module.parametrizations[tensor].original  # type: ignore[index, union-attr]
        levels = chain[-1].levels(value) if len(chain) == 1 else None
        if levels is not None:
            found[f"{name}.{tensor}".lstrip(".")] = levels
    return found


def _fixed(levels: Levels) -> int:
    count, size = levels.indices.numel(), levels.table.shape[1]
    dense = count * width(size)
    if levels.zero is None:
        return dense
    nonzeros = int((levels.indices != levels.zero).sum())
    return min(dense, count + nonzeros * width(size - 1))


def width(symbols: int) -> int:
    """Bits of a fixed-width index among `symbols`."""
    return max(symbols - 1, 0).bit_length()
