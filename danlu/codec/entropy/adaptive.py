"""`adaptive`: no table; the model of a block of symbols is what the blocks before it held. For streams short and long.

Layout: 1 byte `head`, then one range-coded stream (ranges.py). Low 4 bits of `head`: a, the prior is 2**-a of a symbol
each (a in 0..11); high 4 bits: h in 0..8; the counts are halved once their sum reaches limit = 2**(h + 12), or 2**26 if h = 0.

    counts = [0] * size;  step = max(1, size >> 6)
    while symbols remain:
        total = sum(counts)
        block = min(symbols that remain, max(step, min(total >> 5, 65536)))
        code `block` symbols with frequencies(2**a * counts[i] + 1)       the rule for whole frequencies is in ranges.py
        counts[i] += how often i is in the block
        if sum(counts) >= limit: every counts[i] >>= 1

A prior of 1/2 (a = 1) is the estimator of Krichevsky and Trofimov; smaller ones fit alphabets that are mostly unused. The
block grows with what is known, so a model is made about 32 ln(n) times and lags by 3 % at most.

Source: Krichevsky and Trofimov 1981, "The performance of universal encoding".
"""

from collections.abc import Iterator

import numpy as np

from .damaged import Damaged, read_byte
from .ranges import PRECISION, Decoder, Encoder, frequencies

LAG, MOST_BLOCK = 5, 1 << 16
PRIORS, HALVINGS, HALF_BASE, MOST_TOTAL = range(0, 12), range(0, 9), 12, 1 << 26


class Counts:
    """What has been seen, as the next block's model."""

    def __init__(self, size: int, prior: int, halving: int, lag: int) -> None:
        self.counts = np.zeros(size, np.int64)
        self.prior, self.limit = prior, (1 << halving + HALF_BASE if halving else MOST_TOTAL)
        self.step, self.total, self.lag = max(1, size >> 6), 0, lag

    def block(self, remain: int) -> int:
        """How many symbols the next model codes."""
        return min(remain, max(self.step, min(self.total >> self.lag, MOST_BLOCK)))

    def model(self) -> np.ndarray:
        """Shape: [size] int64, sum 2**24."""
        return frequencies((self.counts << self.prior) + 1)

    def learn(self, seen: np.ndarray) -> None:
        """Take the block's symbols in."""
        self.counts += np.bincount(seen, minlength=len(self.counts))
        self.total += len(seen)
        if self.total >= self.limit:
            self.counts >>= 1
            self.total = int(self.counts.sum())


def encode_blocks(coder: Encoder, symbols: np.ndarray, size: int, prior: int, halving: int = 0, lag: int = LAG) -> None:
    """Code `symbols` [n] into `coder` by the rule of this file, without the head; blocks hold `total >> lag` symbols."""
    for part, model in blocks(symbols, size, prior, halving, lag):
        coder.symbols(part, model)


def decode_blocks(coder: Decoder, out: np.ndarray, size: int, prior: int, halving: int = 0, lag: int = LAG) -> None:
    """Fill `out` [n] with what `encode_blocks` coded."""
    known, at = Counts(size, prior, halving, lag), 0
    while at < len(out):
        part = coder.symbols(known.model(), known.block(len(out) - at))
        out[at : at + len(part)] = part
        at += len(part)
        known.learn(part)


def blocks(symbols: np.ndarray, size: int, prior: int, halving: int, lag: int = LAG) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each block with its model."""
    known, at = Counts(size, prior, halving, lag), 0
    while at < len(symbols):
        part = symbols[at : at + known.block(len(symbols) - at)]
        yield part, known.model()
        at += len(part)
        known.learn(part)


def cost(symbols: np.ndarray, size: int, prior: int, halving: int = 0) -> float:
    """Bits that the blocks take, without coding them."""
    bits = 0.0
    for part, model in blocks(symbols, size, prior, halving):
        bits += float((np.bincount(part, minlength=size) * (PRECISION - np.log2(model))).sum())
    return bits


def choose(symbols: np.ndarray, size: int) -> tuple[float, int, int]:
    """(bits, prior, halving) of the best head: the prior by its cost on the start, halving where it helps a long stream."""
    start = symbols[: 1 << 16]
    _, prior = min((cost(start, size, prior), prior) for prior in (0, 1, 2, 4, 7))
    tried = [0] + [h for h in (4, 6) if len(symbols) > 2 << h + HALF_BASE]
    bits, halving = min((cost(symbols, size, prior, h), h) for h in tried)
    return bits, prior, halving


def encode(symbols: np.ndarray, size: int) -> bytes:
    """Shape: [n] in 0..size-1, size >= 2."""
    _, prior, halving = choose(symbols, size)
    coder = Encoder()
    encode_blocks(coder, symbols, size, prior, halving)
    return bytes([prior | halving << 4]) + coder.finish()


def decode(data: bytes, count: int, size: int) -> np.ndarray:
    """Shape: [count] uint8 or uint16."""
    out = np.empty(count, np.uint8 if size <= 256 else np.uint16)
    head = read_byte(data, 0, range(256), "head of the adaptive coder")
    prior, halving = head & 15, head >> 4
    if prior not in PRIORS or halving not in HALVINGS:
        raise Damaged(f"the adaptive coder has no prior {prior} with halving {halving}")
    decode_blocks(Decoder(memoryview(data)[1:]), out, size, prior, halving)
    return out
