"""The range coder against a second decoder written from its documentation, in plain Python."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.codec.entropy import Damaged, adaptive, ranges


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_second_decoder_reads_the_same_symbols_and_bits(documented: Callable, data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(0, 10**6), min_size=2, max_size=30).filter(any))
    model = ranges.frequencies(np.array(weights))
    values = data.draw(st.lists(st.integers(0, len(weights) - 1), max_size=60))
    chances = data.draw(st.lists(st.integers(1, 2**24 - 1), max_size=60))
    bits = [data.draw(st.integers(0, 1)) for _ in chances]
    coder = ranges.Encoder()
    coder.symbols(np.array(values, int), model)
    coder.bits(np.array(bits, int), np.array(chances, int))
    stream = coder.finish()
    slow, fast = documented(stream), ranges.Decoder(stream)
    assert [slow.symbol(model.tolist()) for _ in values] == values == fast.symbols(model, len(values)).tolist()
    assert [slow.symbol([2**24 - ones, ones]) for ones in chances] == bits == fast.bits(np.array(chances, int)).tolist()


def test_the_end_is_the_shortest_that_decodes() -> None:
    random, model = np.random.default_rng(1), ranges.frequencies(np.array([5, 3, 1]))
    for _ in range(200):
        values = random.choice(3, random.integers(1, 40), p=[5 / 9, 3 / 9, 1 / 9])
        coder = ranges.Encoder()
        coder.symbols(values, model)
        stream = coder.finish()
        bits = float((24 - np.log2(model[values])).sum())
        assert len(stream) <= bits / 8 + 1.01
        for ending in range(256 if stream else 0):  # nothing one byte shorter means the same
            shorter = stream[:-2] + bytes([ending]) if len(stream) > 1 else b""
            try:
                assert ranges.Decoder(shorter).symbols(model, len(values)).tolist() != values.tolist()
            except Damaged:
                continue


@given(st.lists(st.integers(0, 2**22), min_size=2, max_size=60).filter(any))
def test_frequencies_are_whole_positive_and_complete(weights: list[int]) -> None:
    model = ranges.frequencies(np.array(weights))
    assert int(model.sum()) == 2**24
    assert int(model.min()) >= 1
    expected = np.array(weights) / sum(weights) * 2**24
    assert (np.abs(model - expected) <= 2 * len(weights) + 1).all()


def test_adaptive_bytes_are_read_from_the_documentation_alone(documented: Callable) -> None:
    random = np.random.default_rng(2)
    for size, count in ((3, 500), (17, 900), (200, 700)):
        values = random.choice(size, count, p=random.dirichlet(np.full(size, 0.3)))
        data = adaptive.encode(values, size)
        prior, coder, counts, out = data[0] & 15, documented(data[1:]), [0] * size, []
        assert data[0] >> 4 == 0
        step = max(1, size >> 6)
        while len(out) < count:
            block = min(count - len(out), max(step, min(sum(counts) >> 5, 65536)))
            weights = [2**prior * c + 1 for c in counts]
            model = [1 + w * (2**24 - size) // sum(weights) for w in weights]
            model[weights.index(max(weights))] += 2**24 - sum(model)
            part = [coder.symbol(model) for _ in range(block)]
            for symbol in part:
                counts[symbol] += 1
            out += part
        assert out == values.tolist()


def test_data_that_no_symbol_can_mean_is_damaged() -> None:
    model, hit = ranges.frequencies(np.array([1, 1])), 0
    random = np.random.default_rng(3)
    for _ in range(300):
        coder = ranges.Decoder(random.bytes(400))
        try:
            assert set(coder.symbols(model, 5000).tolist()) <= {0, 1}
        except Damaged:
            hit += 1
    assert hit > 0


def test_a_long_carry_survives() -> None:
    model = np.array([1, 2**24 - 2, 1])
    for last in (0, 2):
        values = np.array([1] * 3000 + [last] * 3)
        coder = ranges.Encoder()
        coder.symbols(values, model)
        assert ranges.Decoder(coder.finish()).symbols(model, len(values)).tolist() == values.tolist()


@pytest.mark.parametrize("count", [1, 50, 5000])
def test_random_bytes_as_symbols_take_their_own_room(count: int) -> None:
    values = np.random.default_rng(4).integers(0, 256, count)
    coder = ranges.Encoder()
    coder.symbols(values, np.full(256, 2**16))
    assert len(coder.finish()) <= count * 1.001 + 1
