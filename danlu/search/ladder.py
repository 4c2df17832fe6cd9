"""The ladder of sparsity and bits that leads from a trained net to a small .danlu file: its rungs, and what they cost.

    bits a weight = h(s) + (1 - s) b        h(s) = -s log2 s - (1 - s) log2 (1 - s)

h(s) is the order-0 entropy of the positions at sparsity s; the b bits of an index are an upper bound, since the coder makes
frequent ones shorter. The formula is for nets that are not trained yet; a trained net is pruned, shared and packed for real.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from ..edits._encode import WEIGHTED

# What a .danlu file spends beside its weights, about: digests, recipe and classes, and the plan of each tensor.
HEADER_BYTES, TENSOR_BYTES = 200, 6
FLOAT_BYTES = 2  # biases, norms and centroids are stored as float16


@dataclass(frozen=True)
class Rung:
    """A sparsity over the whole net and the bits of its shared weights."""

    sparsity: float
    bits: int

    def __str__(self) -> str:
        """As steps of a recipe: pruned at once, then trained again at a high rate.

        ResNet-8 on digits, 5 epochs after pruning, validation: at 94 % zeros 95.5 % against 95.9 % with a gradual schedule, at
        97 % 95.2 % against 92.9 %. A short training is better spent with the final mask; Renda et al. 2020,
        https://arxiv.org/abs/2003.02389, find the same of long ones when the rate is high again.
        """
        return f"prune(sparsity={self.sparsity}) | share(bits={self.bits})"

    @property
    def weight_bits(self) -> float:
        """Bits a weight: positions and indices."""
        s = self.sparsity
        positions = -s * math.log2(s) - (1 - s) * math.log2(1 - s) if 0 < s < 1 else 0.0
        return positions + (1 - s) * self.bits


# From mild to strong: 4, 2.4, 1.7, 1.4, 0.87, 0.57, 0.28 bits a weight. Seven rungs are bisected in three looks.
LADDER = (Rung(0.5, 6), Rung(0.7, 5), Rung(0.8, 5), Rung(0.85, 5), Rung(0.9, 4), Rung(0.94, 4), Rung(0.97, 3))
# What the published results reach without a loss (9 to 12 times fewer weights, 5 bits): candidates are measured by it.
USUAL = LADDER[4]


def predicted_bytes(model: nn.Module, rung: Rung = USUAL) -> int:
    """The size of `model` as a .danlu file, pruned and shared at `rung`, from its shapes alone."""
    shared = [weight for m in model.modules() if isinstance(m, WEIGHTED) and isinstance(weight := m.weight, Tensor)]
    known = {id(weight) for weight in shared}
    norms = {id(p) for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) for p in m.parameters()}
    # A batch norm is stored as a scale and a shift, as many numbers as it has parameters.
    others = [p for p in model.parameters() if id(p) not in known]
    tensors = len(shared) + len([p for p in others if id(p) not in norms]) + len(norms)
    floats = sum(p.numel() for p in others) + len(shared) * 2**rung.bits
    weights = sum(weight.numel() for weight in shared) * rung.weight_bits / 8
    return round(HEADER_BYTES + TENSOR_BYTES * tensors + FLOAT_BYTES * floats + weights)


def mildest(fits: Callable[[int], bool], count: int = len(LADDER)) -> int | None:
    """The first rung that fits, by bisection; None when not even the last does. A stronger rung makes a smaller file."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if fits(middle):
            high = middle
        else:
            low = middle + 1
    return low if low < count else None


def next_rung(kept: dict[int, bool], count: int = len(LADDER)) -> int | None:
    """The rung to try next where accuracy alone decides: between the strongest that kept it and the mildest that did not.

    `kept` says of each rung that was tried whether it did. None when nothing lies between.
    """
    low = max((rung for rung, good in kept.items() if good), default=-1)
    high = min((rung for rung, good in kept.items() if not good), default=count)
    return (low + high) // 2 if high - low > 1 else None
