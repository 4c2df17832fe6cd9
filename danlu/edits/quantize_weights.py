"""Quantise weights to integers of a few bits times a scale: the simple baseline, and DSConv's blocks.

    uniform   weight[c, ...] = scale[c] clip(round(real / scale[c]), -q, q),      q = 2^(bits - 1) - 1
    dsconv    weight[c, i, p] = integer[c, i, p] shift[c, i // block, p] channel[c]

Source: Jacob et al. 2017, https://arxiv.org/abs/1712.05877 (a scale, symmetric, per channel); Gennari do Nascimento et al. 2019,
DSConv, https://arxiv.org/abs/1901.01928. Card: quantize_weights.md
"""

from collections.abc import Collection
from typing import Literal

from torch import Tensor, nn

from ..encodings import BlockGrid, Encoding, Grid, Mask
from ..errors import UsageError
from ._check import check_choice
from ._encode import TRANSPOSED, chain_of, encode_layers
from ._registry import edits
from .surgery import Keep, Outcome

Per = Literal["channel", "layer"]
Method = Literal["uniform", "dsconv"]
Clip = Literal["error", "max"]
MOST_BITS = 8


@edits(exact=False, needs=("weights",), reduces=("size",), paper="arxiv:1712.05877")
def quantize_weights(
    model: nn.Module,
    *,
    bits: int = 4,
    per: Per = "channel",
    method: Method = "uniform",
    clip: Clip = "error",
    block: int = 64,
    skip: Collection[str] = (),
) -> Outcome:
    """Give convolutions and linear layers integer weights of `bits` bits; any training loop fine-tunes the result.

    method "uniform": multiples of one scale a channel, or a layer. clip "error" takes the scale of least squared error, and
    follows the weights by least squares as they are trained; "max" takes max|weight| / q, which clips nothing, and keeps it.
    Zero is one of the values, and a pruned weight stays exactly zero.

    method "dsconv": the integers are computed once and stay; a shift for every `block` inputs at each position of the
    kernel, and one for each output channel, are what is trained. `per` and `clip` mean nothing there.

    Raises: UsageError for bits out of 2..8 (1 bit: binarize) or a block below 1.
    """
    check_choice("per", per, Per)
    check_choice("method", method, Method)
    check_choice("clip", clip, Clip)
    if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= MOST_BITS:
        raise UsageError(f"quantize_weights: bits are whole numbers from 2 to {MOST_BITS} (1 bit: binarize), got {bits!r}")
    if isinstance(block, bool) or not isinstance(block, int) or block < 1:
        raise UsageError(f"quantize_weights: a block is a whole number of inputs from 1, got {block!r}")

    def decide(name: str, layer: nn.Module, weight: Tensor) -> list[Encoding] | Keep:
        chain = chain_of(layer, "weight")
        others = [type(part).__name__ for part in chain if not isinstance(part, Mask | Grid | BlockGrid)]
        if others:
            return Keep(f"its weight is encoded by {others[0]} already")
        if any(isinstance(part, Mask) and not part.settled for part in chain):
            return Keep("its pruning is still on the way: train it to the end first")
        axis = int(isinstance(layer, TRANSPOSED))
        if method == "dsconv":
            return [BlockGrid.of(weight, bits=bits, block=min(block, weight.shape[1 - axis]), axis=axis)]
        channels = weight.shape[axis] if per == "channel" else 1
        held = is_pruned(chain)
        return [Grid.of(weight, bits=bits, channels=channels, fit=clip == "error", held=held, axis=axis)]

    return encode_layers(model, decide, skip)


def is_pruned(chain: list[nn.Module]) -> bool:
    """Whether the zeros of a weight are held: by a mask, or by a grid that took them from one."""
    return any(isinstance(part, Mask) or (isinstance(part, Grid) and part.held) for part in chain)
