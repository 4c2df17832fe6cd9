"""Share weights: each is replaced by one of 2^bits centroids, which are then trained; pruned weights stay exactly zero.

    weight = table[index],   table: the k-means centroids of the layer's (non-zero) weights

With a rate the index is chosen for distortion + rate * code length, anew as the weights behind it are trained: see
`danlu.encodings.MovingCodebook`.

Source: Han et al. 2015, Deep Compression, https://arxiv.org/abs/1510.00149; the rate: Choi et al. 2016,
https://arxiv.org/abs/1612.01543. Card: share.md
"""

from collections.abc import Callable, Collection, Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from ..encodings import Codebook, Encoding, Mask, MovingCodebook
from ..errors import UsageError, unknown
from ._bits import choose_bits
from ._check import check_choice
from ._encode import TRANSPOSED, chain_of, encode_layers
from ._kmeans import Init, kmeans, nearest
from ._registry import edits
from .prune import weights
from .surgery import Keep, Outcome, is_skipped

Batches = Callable[[], Iterator[tuple[Tensor, Tensor]]]
Per = Literal["layer", "channel"]
MOST_BITS = 12


@edits(
    exact=False, needs=("weights", "batches"), needs_if={"batches": {"bits": "auto"}}, reduces=("size",),
    paper="arxiv:1510.00149",
)  # fmt: skip
def share(
    model: nn.Module,
    *,
    bits: int | Literal["auto"] | dict[str, int] = 5,
    init: Init = "linear",
    per: Per = "layer",
    rate: float = 0.0,
    moving: bool = False,
    biases: int = 0,
    tolerance: float = 0.01,
    skip: Collection[str] = (),
    batches: Batches | None = None,
) -> Outcome:
    """Share the weights of convolutions and linear layers; the result is fine-tuned by any training loop.

    `bits`: 2^bits values a layer, zero among them where weights were pruned; a number, one for each layer by name, or "auto":
    as few for each layer, at most 8, as keep the mean KL divergence from the present outputs on the first 4 of `batches`
    within `tolerance` nats for the whole net. `init` of k-means, and `per` "channel" (a table for each output), as in the
    paper.

    With `rate` 0 and `moving` False the indices stay, and the centroids are what is trained. `moving` keeps the real weights
    behind: they are trained straight through, and take the nearest centroid anew. A `rate` > 0 is moving, with the code
    length in the choice; zero is then a value everywhere, and a pruned weight stays pruned. 0.01 to 0.1 are sensible.

    `biases` > 0 shares the biases of the same layers with 2^biases values.

    Raises: UsageError for bits out of 1..12, or options out of range.
    """
    check_choice("init", init, Init)
    check_choice("per", per, Per)
    if rate < 0 or not 0 <= biases <= MOST_BITS or tolerance <= 0:
        raise UsageError(f"share: rate >= 0, 0 <= biases <= 12, tolerance > 0, got {rate}, {biases}, {tolerance}")
    check_bits(model, bits)
    if bits == "auto":
        if batches is None:
            raise UsageError('share(bits="auto") needs batches: a callable that gives an iterator of (x, y)')
        free = [name for name in weights(model) if not is_skipped(name, skip)]
        bits = choose_bits(model, free, batches, tolerance, lambda weight, b: quantised(weight, b, init))
    widths: dict[str, int] = bits if isinstance(bits, dict) else dict.fromkeys(weights(model), bits)

    def decide(name: str, layer: nn.Module, weight: Tensor) -> list[Encoding] | Keep:
        others = [part for part in chain_of(layer, "weight") if not isinstance(part, Mask | Codebook | MovingCodebook)]
        if others:
            return Keep(f"its weight is encoded by {type(others[0]).__name__} already")
        if name not in widths:
            return Keep("no bits are given for it")
        groups = weight.shape[int(isinstance(layer, TRANSPOSED))] if per == "channel" else 1
        if groups * 2 ** widths[name] >= weight.numel():
            return Keep(f"{groups * 2 ** widths[name]} shared values for {weight.numel()} weights would save nothing")
        axis = int(isinstance(layer, TRANSPOSED))
        return [codebook(weight, widths[name], init, groups, axis, rate, moving or rate > 0)]

    outcome = encode_layers(model, decide, skip)
    if biases:
        changed = {change.name for change in outcome.changed}

        def decide_bias(name: str, layer: nn.Module, bias: Tensor) -> list[Encoding] | Keep:
            if name not in changed or 2**biases >= bias.numel():
                return Keep(f"{bias.numel()} biases are no more than {2**biases} shared values")
            return [codebook(bias, biases, "density", 1, 0, 0.0, moving or rate > 0)]

        more = encode_layers(outcome.model, decide_bias, skip, tensor="bias")
        left = [(name, reason) for name, reason in more.kept if name in changed]
        outcome = Outcome(more.model, [*outcome.changed, *more.changed], [*outcome.kept, *left], outcome.params)
    return outcome


def check_bits(model: nn.Module, bits: int | str | dict[str, int]) -> None:
    """Raise UsageError for bits out of range or for layers that are not there."""
    found = weights(model)
    for name, value in (bits if isinstance(bits, dict) else {"bits": bits}).items():
        if isinstance(bits, dict) and name not in found:
            raise unknown("layer with a weight", name, found)
        if value == "auto" and not isinstance(bits, dict):
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_BITS:
            raise UsageError(f'share: bits are whole numbers from 1 to {MOST_BITS}, or "auto", got {name}={value!r}')


def codebook(weight: Tensor, bits: int, init: Init, groups: int, axis: int, rate: float, moving: bool) -> Encoding:
    """The encoding of a weight with 2^bits values; index 0 is zero where there are zeros, or where a rate may want them."""
    pruned = bool((weight == 0).any())
    zero = pruned or rate > 0
    rows = weight.movedim(axis, 0).reshape(groups, -1).float().cpu()
    table, indices = clustered(rows, bits, init, zero)
    shape = weight.movedim(axis, 0).shape
    placed = indices.view(shape).movedim(0, axis).contiguous()
    if moving:
        return MovingCodebook.of(table, placed, zero=zero, rate=rate, held=pruned, axis=axis)
    return Codebook.of(table, placed, zero=zero, axis=axis)


def clustered(rows: Tensor, bits: int, init: Init, zero: bool) -> tuple[Tensor, Tensor]:
    """(table [rows, 2^bits], indices [rows, n]); with `zero` entry 0 is zero, and the zeros of the rows have it."""
    if not zero:
        table = kmeans(rows, 2**bits, init)
        return table, nearest(rows, table)
    pruned = rows == 0
    values = rows.masked_fill(pruned, torch.nan)
    table = kmeans(values, 2**bits - 1, init)
    indices = (nearest(rows, table) + 1).masked_fill(pruned, 0)
    return torch.cat([torch.zeros(len(rows), 1), table], dim=1), indices


def quantised(weight: Tensor, bits: int, init: Init) -> tuple[Tensor, Tensor]:
    """(the shared weight, its indices) for one table, as `choose_bits` tries it."""
    rows = weight.reshape(1, -1).float().cpu()
    table, indices = clustered(rows, bits, init, bool((weight == 0).any()))
    return table.half().float().gather(1, indices).view(weight.shape).to(weight), indices.view(weight.shape)
