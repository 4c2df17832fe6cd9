"""How many bits each layer's shared weights get: the fewest bytes at a bounded change of the outputs.

    minimise  sum_l R_l(b_l)   so that   sum_l D_l(b_l) <= tolerance

R_l(b) is the order-0 entropy of the layer's indices in bits and 2^b centroids of 16 bits; D_l(b) is the mean KL divergence of
the net's answers from its present ones when that layer alone is shared with b bits, measured on the first batches. That the
divergences add is the usual assumption (https://arxiv.org/abs/1712.01048); the whole net is checked at the end.
Bits are taken away where a bit less saves most per divergence, from 8 bits down, while the sum stays within the tolerance.
"""

import copy
from collections.abc import Callable, Iterator
from itertools import islice

import torch
from torch import Tensor, nn

from ..encodings import bake
from ..errors import UsageError

Batches = Callable[[], Iterator[tuple[Tensor, Tensor]]]
Quantise = Callable[[Tensor, int], tuple[Tensor, Tensor]]
BATCHES, MOST, LEAST = 4, 8, 1
TINY = 1e-9


@torch.no_grad()
def choose_bits(model: nn.Module, names: list[str], batches: Batches, tolerance: float, quantise: Quantise) -> dict[str, int]:
    """Bits for each of the layers `names`. `quantise(weight, bits)` gives (shared weight, indices)."""
    net = bake(copy.deepcopy(model)).eval()
    inputs = [x for x, _ in islice(batches(), BATCHES)]
    if not inputs:
        raise UsageError("share: batches gave none")
    like = next(net.parameters())
    inputs = [x.to(like) for x in inputs]
    known = [torch.log_softmax(net(x).float(), 1) for x in inputs]
    own = {name: net.get_submodule(name).weight.detach().clone() for name in names}  # type: ignore[operator]
    cost: dict[tuple[str, int], tuple[float, float]] = {}

    def put(name: str, weight: Tensor) -> None:
        net.get_submodule(name).weight.copy_(weight)  # type: ignore[operator]

    def tried(name: str, bits: int) -> tuple[float, float]:
        """(bits of the layer in the file, divergence) when this layer alone is shared."""
        if (name, bits) not in cost:
            shared, indices = quantise(own[name], bits)
            counts = indices.flatten().bincount().double()
            shares = counts[counts > 0] / counts.sum()
            rate = float(-(counts[counts > 0] * shares.log2()).sum()) + 16 * 2**bits
            put(name, shared)
            cost[name, bits] = rate, divergence(net, inputs, known)
            put(name, own[name])
        return cost[name, bits]

    bits = {name: starting(own[name]) for name in names}
    while True:
        spent = {name: tried(name, bits[name])[1] for name in names}
        options = []
        for name in names:
            if bits[name] <= LEAST:
                continue
            rate, _ = tried(name, bits[name])
            less, worse = tried(name, bits[name] - 1)
            if sum(spent.values()) - spent[name] + worse <= tolerance and less < rate:
                options.append(((rate - less) / max(worse - spent[name], TINY), name))
        if not options:
            break
        bits[max(options)[1]] -= 1
    while not fits(net, own, bits, quantise, inputs, known, tolerance) and min(bits.values()) < MOST:
        for name in names:  # together they do more than their sum: a bit more for all
            bits[name] = min(MOST, bits[name] + 1)
    return bits


def starting(weight: Tensor) -> int:
    """As many bits as a search starts from: 8, less for a layer that has not so many weights."""
    return max(LEAST, min(MOST, (max(weight.numel() // 2, 2)).bit_length() - 1))


def fits(
    net: nn.Module, own: dict[str, Tensor], bits: dict[str, int], quantise: Quantise, inputs: list[Tensor],
    known: list[Tensor], tolerance: float,
) -> bool:  # fmt: skip
    """Whether the divergence of the whole net, all layers shared, is within the tolerance."""
    for name, weight in own.items():
        net.get_submodule(name).weight.copy_(quantise(weight, bits[name])[0])  # type: ignore[operator]
    total = divergence(net, inputs, known)
    for name, weight in own.items():
        net.get_submodule(name).weight.copy_(weight)  # type: ignore[operator]
    return total <= tolerance


def divergence(net: nn.Module, inputs: list[Tensor], known: list[Tensor]) -> float:
    """Mean KL(known || net) over the inputs, in nats."""
    total, count = 0.0, 0
    for x, log_p in zip(inputs, known, strict=True):
        log_q = torch.log_softmax(net(x).float(), 1)
        total += float((log_p.exp() * (log_p - log_q)).sum())
        count += len(x)
    return total / count
