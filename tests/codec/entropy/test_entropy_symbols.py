"""Symbol coders: round trips of every coder, sizes against entropy, Huffman against the textbook, bytes made by hand."""

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.codec.entropy import CODERS, Damaged, adaptive, decode_symbols, encode_symbols, entropy_bits, huffman, plain, static
from danlu.codec.entropy.symbols import DECODERS, ENCODERS
from danlu.errors import UsageError

MODELS = [name for name in ENCODERS if name != "constant"]
streams = st.integers(2, 300).flatmap(
    lambda size: st.tuples(st.just(size), st.lists(st.integers(0, size - 1), min_size=1, max_size=400))
)


def skewed(count: int, size: int, seed: int = 0, dullness: float = 0.4) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.choice(size, count, p=random.dirichlet(np.full(size, dullness)))


@pytest.mark.parametrize("coder", MODELS)
@settings(max_examples=30, deadline=None)
@given(stream=streams)
def test_every_coder_gives_back_what_it_took(coder: str, stream: tuple[int, list[int]]) -> None:
    size, values = stream
    back = DECODERS[coder](ENCODERS[coder](np.array(values), size), len(values), size)
    assert back.tolist() == values
    assert back.dtype == (np.uint8 if size <= 256 else np.uint16)


@settings(max_examples=30, deadline=None)
@given(stream=streams)
def test_the_chosen_coder_gives_back_what_it_took_and_is_the_smallest(stream: tuple[int, list[int]]) -> None:
    size, values = stream
    coder, data = encode_symbols(np.array(values), size)
    assert decode_symbols(coder, data, len(values), size).tolist() == values
    assert coder == "constant" or len(data) <= min(len(ENCODERS[name](np.array(values), size)) for name in MODELS)


@pytest.mark.parametrize(("count", "size"), [(200_000, 32), (70_000, 256), (300_000, 2), (66_000, 65_536), (5_000, 40_000)])
@pytest.mark.parametrize("coder", MODELS)
def test_long_and_wide_streams_come_back(coder: str, count: int, size: int) -> None:
    values = skewed(count, size)
    assert (DECODERS[coder](ENCODERS[coder](values, size), count, size) == values).all()


def test_edges() -> None:
    assert encode_symbols(np.zeros(0, int), 5) == ("constant", b"")
    assert decode_symbols("constant", b"", 0, 5).tolist() == []
    assert encode_symbols(np.full(9, 3), 5) == ("constant", b"\x03")
    assert encode_symbols(np.zeros(4, int), 1) == ("constant", b"\x00")
    assert decode_symbols("constant", b"\x80\x02", 2, 65_536).tolist() == [256, 256]
    for bad, size in ((np.array([5]), 5), (np.array([-1]), 5), (np.array([0]), 0), (np.array([0]), 65_537)):
        with pytest.raises(UsageError, match=r"symbols"):
            encode_symbols(bad, size)
    for wrong in (("lzma", b"", 1, 4), ("packed", b"", 1, 1), ("constant", b"\x05", 1, 5), ("constant", b"\x01\x01", 1, 5)):
        with pytest.raises(Damaged):
            decode_symbols(*wrong)
    assert set(ENCODERS) <= set(CODERS)


def test_packed_by_hand() -> None:
    # 1, 2, 3, 0, 4 in 3 bits each: 001 010 011 000 100 and a zero
    assert plain.encode_packed(np.array([1, 2, 3, 0, 4]), 5) == bytes([0b00101001, 0b10001000])
    with pytest.raises(Damaged, match="is 7, the alphabet has 5"):
        plain.decode_packed(bytes([0b11100000]), 1, 5)


def test_huffman_by_hand() -> None:
    # a b c d = 0 1 2 3 with counts 4 2 1 1: lengths 1 2 3 3, codes 0 10 110 111
    values = np.array([0, 0, 1, 0, 2, 0, 3, 1])
    data = huffman.encode(values, 4)
    assert data[1 + data[0] :] == bytes([0b00100110, 0b01111000])
    assert huffman.lengths_of(np.array([4, 2, 1, 1])).tolist() == [1, 2, 3, 3]
    assert huffman.lengths_of(np.array([0, 7, 0])).tolist() == [0, 1, 0]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=2, max_size=80).filter(lambda counts: sum(c > 0 for c in counts) > 1))
def test_huffman_is_the_textbook_optimum_and_complete(counts: list[int]) -> None:
    heap = [count for count in counts if count]  # the sum of all joins is the length of the optimal code
    heapq.heapify(heap)
    best = 0
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        best += joined
        heapq.heappush(heap, joined)
    lengths = huffman.lengths_of(np.array(counts))
    assert sum(c * int(n) for c, n in zip(counts, lengths, strict=True)) == best
    assert sum(2.0 ** -int(n) for n in lengths if n) == 1
    entropy = entropy_bits(np.array(counts))
    assert entropy - 1e-6 <= best <= entropy + sum(counts)


def test_huffman_stays_within_16_bits_where_the_optimum_is_deeper() -> None:
    fibonacci = [1, 1]
    while len(fibonacci) < 30:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    lengths = huffman.lengths_of(np.array(fibonacci))
    assert int(huffman.textbook(np.array(fibonacci)).max()) == 29
    assert int(lengths.max()) <= 16
    assert sum(2.0 ** -int(n) for n in lengths) == 1
    assert float((lengths * fibonacci).sum()) <= 1.05 * entropy_bits(np.array(fibonacci))


@pytest.mark.parametrize("coder", ["range", "adaptive"])
@pytest.mark.parametrize(("count", "size"), [(100_000, 2), (100_000, 16), (400_000, 32), (1_000_000, 256)])
def test_range_coders_are_within_one_percent_of_the_entropy(coder: str, count: int, size: int) -> None:
    values = skewed(count, size, dullness=0.8)
    assert len(ENCODERS[coder](values, size)) <= 1.01 * entropy_bits(np.bincount(values, minlength=size)) / 8 + 8


@pytest.mark.parametrize(("count", "size", "extra"), [(20, 4, 6), (300, 16, 14), (1000, 16, 16), (3000, 32, 28)])
def test_short_streams_cost_little_more_than_their_entropy(count: int, size: int, extra: int) -> None:
    for seed in range(5):
        values = skewed(count, size, seed)
        _, data = encode_symbols(values, size)
        assert len(data) <= entropy_bits(np.bincount(values, minlength=size)) / 8 + extra


def test_a_stream_that_changes_is_coded_below_its_order_0_entropy() -> None:
    random = np.random.default_rng(0)
    values = np.concatenate([random.choice(8, 100_000, p=random.dirichlet(np.full(8, 0.3))) for _ in range(4)])
    _, data = encode_symbols(values, 8)
    assert len(data) < 0.97 * entropy_bits(np.bincount(values, minlength=8)) / 8


def test_entropy_of_known_counts() -> None:
    assert entropy_bits(np.array([4, 4])) == 8
    assert entropy_bits(np.array([4, 2, 1, 1])) == pytest.approx(14)
    assert entropy_bits(np.array([9])) == entropy_bits(np.array([])) == 0


@given(st.lists(st.integers(0, 1 << 27), min_size=1, max_size=40), st.sampled_from(static.MANTISSAS))
def test_stored_counts_are_rounded_to_their_mantissa(counts: list[int], mantissa: int) -> None:
    levels = static.levels_of(np.array(counts), mantissa)
    back = static.counts_of(levels, mantissa)
    assert int(levels.max()) < static.alphabet(mantissa)
    for count, kept in zip(counts, back.tolist(), strict=True):
        exponent = max(count.bit_length() - 1, 0)
        assert abs(count * 2**mantissa - kept) <= 2**exponent / 2  # kept is in units of 2**-mantissa
        assert (kept == 0) == (count == 0)


def test_the_adaptive_cost_is_what_encoding_takes() -> None:
    values = skewed(5000, 20)
    bits, _, _ = adaptive.choose(values, 20)
    assert len(adaptive.encode(values, 20)) == pytest.approx(1 + bits / 8, abs=1.5)
