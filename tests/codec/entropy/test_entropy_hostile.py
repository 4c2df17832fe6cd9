"""Damaged, cut, lengthened and invented data: an answer within its range or one clear error, never a crash."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.codec.entropy import Damaged, decode_positions, decode_symbols, positions, symbols

SIZE, COUNT, SHAPE = 21, 300, (12, 40)
ROUNDS = {
    "constant": 3000,
    "packed": 3000,
    "range": 1500,
    "gaps": 1500,
    "adaptive": 600,
    "bitmap": 400,
    "huffman": 200,
}  # the fast ones often
OTHERS = 150


def harmed(data: bytes, random: np.random.Generator) -> bytes:
    """One of: bits turned, a byte replaced, cut, lengthened, a piece moved, all invented."""
    raw, kind = bytearray(data), int(random.integers(6))
    at = int(random.integers(len(raw) + 1))
    if kind == 0 and raw:
        for place in random.integers(0, len(raw), 1 + int(random.integers(4))):
            raw[place] ^= 1 << int(random.integers(8))
    elif kind == 1 and raw:
        raw[at % len(raw)] = int(random.choice([0, 1, 127, 128, 255]))
    elif kind == 2:
        del raw[at:]
    elif kind == 3:
        raw[at:at] = random.bytes(1 + int(random.integers(9)))
    elif kind == 4:
        raw = raw[at:] + raw[:at]
    else:
        raw = bytearray(random.bytes(int(random.integers(2 * len(raw) + 2))))
    return bytes(raw)


def tried(decode: Callable[[bytes], np.ndarray], data: bytes) -> np.ndarray | None:
    """What comes out, or None where the data is refused."""
    try:
        return decode(data)
    except Damaged:
        return None


@pytest.mark.parametrize("coder", symbols.ENCODERS)
def test_thousands_of_harmed_symbol_streams(coder: str) -> None:
    random = np.random.default_rng(0)
    values = np.full(COUNT, 5) if coder == "constant" else random.choice(SIZE, COUNT, p=random.dirichlet(np.full(SIZE, 0.5)))
    data, refused = symbols.ENCODERS[coder](values, SIZE), 0
    for _ in range(ROUNDS.get(coder, OTHERS)):
        got = tried(lambda raw: decode_symbols(coder, raw, COUNT, SIZE), harmed(data, random))
        refused += got is None
        assert got is None or (got.shape == (COUNT,) and int(got.max()) < SIZE)
    assert refused > 0


@pytest.mark.parametrize("coder", positions.ENCODERS)
def test_thousands_of_harmed_masks(coder: str) -> None:
    random = np.random.default_rng(0)
    mask = random.random(SHAPE) < 0.2
    data, refused = positions.ENCODERS[coder](mask), 0
    for _ in range(ROUNDS.get(coder, OTHERS)):
        got = tried(lambda raw: decode_positions(coder, raw, SHAPE), harmed(data, random))
        refused += got is None
        assert got is None or (got.shape == SHAPE and got.dtype == bool)
    assert refused > 0


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(list(symbols.DECODERS)), st.binary(max_size=60), st.integers(0, 500), st.integers(1, 400))
def test_invented_symbol_streams(coder: str, data: bytes, count: int, size: int) -> None:
    got = tried(lambda raw: decode_symbols(coder, raw, count, size), data)
    assert got is None or (got.shape == (count,) and int(got.max(initial=0)) < size)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(list(positions.DECODERS)), st.binary(max_size=60), st.integers(0, 20), st.integers(0, 20))
def test_invented_masks(coder: str, data: bytes, rows: int, columns: int) -> None:
    got = tried(lambda raw: decode_positions(coder, raw, (rows, columns)), data)
    assert got is None or got.shape == (rows, columns)


@pytest.mark.parametrize("coder", ["packed", "huffman", "range", "adaptive"])
def test_the_widest_alphabet_with_no_data(coder: str) -> None:
    got = tried(lambda raw: decode_symbols(coder, raw, 5, 65_536), b"")
    assert got is None
    for head in range(0, 256, 7):
        tried(lambda raw: decode_symbols(coder, raw, 5, 65_536), bytes([head, 1, 2, 3]))


def test_a_count_that_would_fill_the_memory_is_refused_first() -> None:
    # 2**62 gaps announced for a mask of 4 cells; tokens announced beyond the data
    for data in (b"\xff" * 8 + b"\x3f", b"\x02\x00\xff\xff\x7f", b"\x80" * 12):
        with pytest.raises(Damaged):
            decode_positions("gaps", data, (2, 2))
