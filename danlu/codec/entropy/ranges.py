"""The range coder under every coder here: integer frequencies that sum to 2**24, so that any program can repeat it.

A stream is one number in [0, 1), written as bytes after the binary point, the most significant first; bytes after the end
count as 0. With all arithmetic on unsigned integers of 64 bits, modulo 2**64, decoding is

    low = 0;  width = 2**64 - 1;  point = the first 8 bytes, big endian
    for each symbol, whose model gives it the slots first <= slot < first + frequency of 0..2**24 - 1:
        unit = width >> 24
        slot = (point - low) // unit                     a slot >= 2**24 is an error
        symbol = the one that owns the slot
        low += unit * first;  width = unit * frequency
        if width < 2**32:
            low <<= 32;  width <<= 32;  point = point << 32 | the next 4 bytes, big endian

Symbols own their slots in ascending order. A bit is a symbol of {0, 1}: with `ones` the frequency of 1 (1..2**24 - 1),
0 owns the slots below 2**24 - ones. The encoder ends with the shortest byte string that names a number in its last interval.

This is the range coder of the constriction library (64-bit state, 32-bit words, 24-bit probabilities), which runs it; given
whole numbers f[i] that sum to 2**24 - K as "probabilities" of K symbols, constriction uses the frequencies f[i] + 1 exactly.

Source: Martin 1979, "Range encoding: an algorithm for removing redundancy from a digitised message"; Bamler 2022,
https://arxiv.org/abs/2201.01741 (constriction).
"""

import numpy as np
from constriction import stream

from .damaged import Damaged

PRECISION = 24
TOTAL = 1 << PRECISION
STATE = 1 << 64
TAIL_WORDS = 64  # a carry that runs through more words than this is left to the unshortened stream
FAMILY = stream.model.Categorical(perfect=False)


def frequencies(weights: np.ndarray) -> np.ndarray:
    """Integer frequencies of K >= 2 symbols, each >= 1, sum 2**24, from integer weights >= 0 with a sum in 1..2**38.

    f[i] = 1 + weights[i] * (2**24 - K) // sum(weights); what is left over goes to the largest weight, the first of equals.

    Shape: [K] int64 -> [K] int64.
    """
    share = weights * (TOTAL - len(weights)) // int(weights.sum())
    share[int(weights.argmax())] += TOTAL - len(weights) - int(share.sum())
    return share + 1


class Encoder:
    """Codes symbols one call after the other; `finish` gives the bytes."""

    def __init__(self) -> None:
        self._coder = stream.queue.RangeEncoder()

    def symbols(self, values: np.ndarray, frequency: np.ndarray) -> None:
        """All `values` [n] under one model: `frequency` [K] sums to 2**24."""
        model = stream.model.Categorical((frequency - 1).astype(np.float64), perfect=False)
        self._coder.encode(np.ascontiguousarray(values, np.int32), model)

    def bits(self, values: np.ndarray, ones: np.ndarray) -> None:
        """Each bit of `values` [n] under its own frequency of 1, `ones` [n] in 1..2**24 - 1."""
        if len(values):
            self._coder.encode(np.ascontiguousarray(values, np.int32), FAMILY, pairs(ones))

    def finish(self) -> bytes:
        """The shortest bytes that decode to what was coded."""
        words = self._coder.get_compressed()
        count, (low, width) = self._coder.pos()
        data = words.astype(">u4").tobytes()
        if not data:
            return b""
        data += bytes(4 * (count + 2) - len(data))  # a number inside the last interval, as 8 bytes after `count` words
        held, tail = data[: -4 * TAIL_WORDS], data[-4 * TAIL_WORDS :]
        number = int.from_bytes(tail, "big")
        start = number - (number - low) % STATE
        if start < 0:
            return data.rstrip(b"\0")
        for length in range(len(tail) + 1):
            shift = 8 * (len(tail) - length)
            short = -(-start >> shift)
            if short << shift < start + width and short < 1 << 8 * length:
                return (held + short.to_bytes(length, "big")).rstrip(b"\0")
        return data.rstrip(b"\0")


class Decoder:
    """Reads what an Encoder wrote, given the same models in the same order; Damaged where no symbol can be meant."""

    def __init__(self, data: bytes | memoryview) -> None:
        padded = bytes(data) + bytes(-len(data) % 4 + 8)
        self._coder = stream.queue.RangeDecoder(np.frombuffer(padded, ">u4").astype(np.uint32))

    def symbols(self, frequency: np.ndarray, count: int) -> np.ndarray:
        """Shape: frequency [K] -> [count] int32 in 0..K-1."""
        model = stream.model.Categorical((frequency - 1).astype(np.float64), perfect=False)
        return self._read(model, count)

    def bits(self, ones: np.ndarray) -> np.ndarray:
        """Shape: ones [n] -> [n] int32 of 0 and 1."""
        return self._read(FAMILY, pairs(ones)) if len(ones) else np.zeros(0, np.int32)

    def _read(self, *model: object) -> np.ndarray:
        try:
            return self._coder.decode(*model)
        except AssertionError as error:  # constriction's way to say that the data is invalid
            raise Damaged("the coded data is damaged or ends too early") from error


def pairs(ones: np.ndarray) -> np.ndarray:
    """The two "probabilities" of each bit for constriction. Shape: [n] -> [n, 2] float64."""
    both = np.empty((len(ones), 2))
    both[:, 1] = ones
    both[:, 1] -= 1
    np.subtract(TOTAL - 2, both[:, 1], out=both[:, 0])
    return both
