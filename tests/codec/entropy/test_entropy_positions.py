"""Position coders: round trips, sizes on masks with and without structure, and the context model against plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from danlu.codec.entropy import CODERS, Damaged, context, decode_positions, encode_positions, entropy_bits, gaps, logistic
from danlu.codec.entropy.positions import DECODERS, ENCODERS
from danlu.errors import UsageError

masks = st.tuples(st.integers(0, 14), st.integers(0, 20)).flatmap(lambda shape: arrays(bool, shape))


def bound(mask: np.ndarray) -> float:
    """Bytes of the mask's order-0 entropy."""
    return entropy_bits(np.bincount(mask.reshape(-1), minlength=2)) / 8


def uneven(rows: int, columns: int, density: float, seed: int = 0) -> np.ndarray:
    """Rows and columns with densities of their own, a third of each dead, as pruning by size leaves them."""
    random = np.random.default_rng(seed)
    row, column = random.gamma(0.6, size=(rows, 1)), random.gamma(0.6, size=(1, columns))
    row[random.random(rows) < 0.3], column[:, random.random(columns) < 0.3] = 0, 0
    chance = row * column
    return random.random((rows, columns)) < chance * density / chance.mean()


def blobs(rows: int, side: int, seed: int = 0) -> np.ndarray:
    """Each row is an image with a few connected strokes: what a neuron on pixels keeps."""
    random, mask = np.random.default_rng(seed), np.zeros((rows, side, side), bool)
    for row in range(rows):
        y, x = random.integers(4, side - 4, 2)
        for _ in range(18):
            mask[row, y, x] = True
            y, x = (np.clip(at + random.integers(-1, 2), 2, side - 3) for at in (y, x))
    return mask.reshape(rows, -1)


@pytest.mark.parametrize("coder", ENCODERS)
@settings(max_examples=40, deadline=None)
@given(mask=masks)
def test_every_coder_gives_back_what_it_took(coder: str, mask: np.ndarray) -> None:
    back = DECODERS[coder](ENCODERS[coder](mask), mask.shape)
    assert back.dtype == bool
    assert np.array_equal(back, mask)


@pytest.mark.parametrize("coder", ENCODERS)
@pytest.mark.parametrize("shape", [(1, 700), (700, 1), (90, 130)])
@pytest.mark.parametrize("density", [0.001, 0.03, 0.4, 1.0])
def test_larger_masks_come_back(coder: str, shape: tuple[int, int], density: float) -> None:
    mask = uneven(*shape, density) if density < 1 else np.ones(shape, bool)
    assert np.array_equal(DECODERS[coder](ENCODERS[coder](mask), shape), mask)


@settings(max_examples=20, deadline=None)
@given(mask=masks)
def test_the_chosen_coder_gives_back_what_it_took(mask: np.ndarray) -> None:
    coder, data = encode_positions(mask)
    assert coder in CODERS
    assert np.array_equal(decode_positions(coder, data, mask.shape), mask)


def test_a_mask_of_many_million_cells_comes_back_without_the_slow_coder() -> None:
    mask = np.zeros((4000, 1500), bool)
    mask[np.random.default_rng(0).random(mask.shape) < 0.02] = True
    coder, data = encode_positions(mask)
    assert coder in ("gaps", "bitmap")
    assert len(data) <= 1.01 * bound(mask)
    assert np.array_equal(decode_positions(coder, data, mask.shape), mask)


@pytest.mark.parametrize("density", [0.005, 0.05, 0.2])
@pytest.mark.parametrize("coder", ENCODERS)
def test_masks_without_structure_cost_their_entropy(coder: str, density: float) -> None:
    mask = np.random.default_rng(0).random((150, 300)) < density
    assert len(ENCODERS[coder](mask)) <= 1.012 * bound(mask) + 32


def test_rows_and_columns_of_their_own_density_cost_less_than_the_entropy() -> None:
    for seed in range(2):
        mask = uneven(150, 300, 0.03, seed)
        name, data = encode_positions(mask)
        assert name == "context"
        assert len(data) < 0.72 * bound(mask)


def test_the_image_behind_the_columns_is_found_and_pays() -> None:
    mask = blobs(70, 28)
    data = context.encode(mask)
    assert data[0] == 28
    assert len(data) < 0.62 * bound(mask)
    shuffled = mask[:, np.random.default_rng(1).permutation(784)]
    assert len(data) < 0.75 * len(context.encode(shuffled))


def test_dead_rows_and_columns_cost_a_flag() -> None:
    mask = np.zeros((200, 300), bool)
    mask[10:20, 40:60] = np.random.default_rng(0).random((10, 20)) < 0.5
    assert len(encode_positions(mask)[1]) <= 200 / 8 + 12


def test_fast_leaves_the_slow_coder_out() -> None:
    mask = uneven(200, 200, 0.03)
    assert encode_positions(mask)[0] == "context"
    assert encode_positions(mask, fast=True)[0] != "context"


def test_gaps_by_hand() -> None:
    assert gaps.gaps_of(np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], bool)).tolist() == [2, 0, 3]
    assert gaps.encode_gaps(np.zeros((2, 2), bool)) == b"\x00"
    token, width = gaps.split(np.array([0, 1, 2, 3, 4, 5, 9], np.uint32), 1)
    # k = 1: 0..3 themselves; 4..7 have 1 low bit and tokens 4, 5; 8..15 have 2 and tokens 6, 7
    assert token.tolist() == [0, 1, 2, 3, 4, 4, 6]
    assert width.tolist() == [0, 0, 0, 0, 1, 1, 2]


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=50), st.sampled_from(gaps.MANTISSAS))
def test_tokens_cover_every_gap(values: list[int], mantissa: int) -> None:
    found = np.array(values, np.uint32)
    token, width = gaps.split(found, mantissa)
    assert int(token.max()) < gaps.tokens_in(mantissa)
    low = b"".join(gaps.pack(found[width == bits] & (1 << bits) - 1, bits) for bits in range(1, 33))
    assert gaps.join(memoryview(low), token, mantissa).tolist() == values


def test_wrong_masks_and_names() -> None:
    for bad in (np.zeros(4, bool), np.zeros((2, 2), int)):
        with pytest.raises(UsageError, match="2-D and boolean"):
            encode_positions(bad)
    with pytest.raises(Damaged, match="no position coder 'rle'"):
        decode_positions("rle", b"", (2, 2))


def test_a_walk_beyond_the_caps_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = context.encode(np.ones((6, 7), bool))
    monkeypatch.setattr(context, "MOST_CELLS", 41)
    with pytest.raises(Damaged, match="6 x 7 alive cells are more than"):
        context.decode(data, (6, 7))


def test_tables_are_far_from_rounding_boundaries() -> None:
    for x in range(1, 4096):
        assert abs(256 * math.log2(x) % 1 - 0.5) > 1e-6
    for z in range(-4096, 4097):
        assert abs(2**24 / (1 + 2 ** (-z / 256)) % 1 - 0.5) > 1e-6
    assert logistic.SQUASH[4096] == 2**23
    assert logistic.log(np.array([1, 2, 4095, 4096, 2**40])).tolist() == [0, 256, 3072, 3072, 40 * 256]


@given(st.integers(1, 8), st.integers(0, 1000))
def test_the_solver_solves(size: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    root, right = random.normal(size=(size, size + 3)), random.normal(size=size)
    matrix = root @ root.T + np.eye(size)
    assert np.allclose(logistic.solve(matrix.tolist(), right.tolist()), np.linalg.solve(matrix, right))


def test_the_learner_finds_the_weights_of_a_logistic_model() -> None:
    random, true = np.random.default_rng(0), np.array([1.5, -2.0, 0.5])
    learner = logistic.Learner([0.0] * 3, [5] * 3)
    for _ in range(400):
        features = random.integers(-256, 257, (3, 50))
        bits = (random.random(50) < 1 / (1 + 2 ** -(true @ features / 256))).astype(np.int64)
        learner.learn(features, learner.ones(features, 0), bits)
    assert np.allclose(learner.weights, true, atol=0.15)
