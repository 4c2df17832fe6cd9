"""Splits: complete, disjoint, stratified, the same for the same seed, and kind to exact copies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data.splits import MOST, SHARE, copies, make_splits, stratified_order
from danlu.errors import UsageError

COUNTS = st.lists(st.integers(1, 60), min_size=1, max_size=6)
SHARES = st.one_of(st.none(), st.floats(0.01, 0.45))


def labels_of(counts: list[int]) -> np.ndarray:
    return np.repeat(np.arange(len(counts)), counts)


def different(n: int) -> np.ndarray:
    return np.arange(n, dtype="<u8").view(np.uint8).reshape(n, 8)


@given(COUNTS, SHARES, SHARES, st.integers(0, 1000))
def test_made_splits_are_stratified(counts: list[int], val: float | None, test: float | None, seed: int) -> None:
    labels = labels_of(counts)
    unsplit = np.full(len(labels), -1, np.int8)
    member = make_splits(labels, unsplit, different(len(labels)), val=val, test=test, seed=seed)
    assert set(member.tolist()) <= {0, 1, 2}  # every image in exactly one split
    for label, n in enumerate(counts):
        train, in_val, in_test = np.bincount(member[labels == label], minlength=3).tolist()
        assert train >= 1
        assert in_test == min(max(round((test or SHARE) * n), 1), n - 1)
        assert in_val == min(max(round((val or SHARE) * n), 1), max(n - in_test - 1, 0))
    again = make_splits(labels, unsplit, different(len(labels)), val=val, test=test, seed=seed)
    assert np.array_equal(member, again)


@given(COUNTS, st.integers(0, 50))
def test_given_splits_stay(counts: list[int], seed: int) -> None:
    labels = np.tile(labels_of(counts), 2)
    given_splits = np.repeat([0, 2], len(labels) // 2).astype(np.int8)
    member = make_splits(labels, given_splits, different(len(labels)), seed=seed)
    assert np.array_equal(member == 2, given_splits == 2)
    assert set(member[given_splits == 0].tolist()) <= {0, 1}
    complete = np.arange(len(labels)) % 3
    assert np.array_equal(make_splits(labels, complete, different(len(labels)), seed=seed), complete)


def test_seeds_differ_and_large_sets_are_capped() -> None:
    labels = np.arange(100_000) % 10
    unsplit = np.full(len(labels), -1, np.int8)
    one, two = (make_splits(labels, unsplit, different(len(labels)), seed=seed) for seed in (0, 1))
    assert np.bincount(one).tolist() == [100_000 - MOST["val"] - MOST["test"], MOST["val"], MOST["test"]]
    assert not np.array_equal(one, two)


@pytest.mark.parametrize(("val", "test"), [(0.0, None), (1.0, None), (None, -0.1), (0.5, 0.5)])
def test_impossible_shares(val: float | None, test: float | None) -> None:
    with pytest.raises(UsageError, match=r"share|something to train on"):
        make_splits(np.zeros(9, int), np.full(9, -1), different(9), val=val, test=test)


@given(st.lists(st.integers(0, 12), min_size=30, max_size=80), st.integers(0, 20))
def test_exact_copies_stay_together(contents: list[int], seed: int) -> None:
    digests = np.array(contents, dtype="<u8").view(np.uint8).reshape(-1, 8)
    labels = np.zeros(len(contents), np.int64)
    member = make_splits(labels, np.full(len(contents), -1), digests, val=0.3, test=0.3, seed=seed)
    assert (member == 0).any()
    assert (member == 1).any()
    assert (member == 2).any()
    sizes = np.bincount(contents)
    if len(set(contents)) > 3 and sizes.max() <= 0.2 * len(contents):  # then they fit, and none may be torn apart
        for group in copies(digests):
            assert len(set(member[group].tolist())) == 1


def test_a_class_of_copies_only_is_split_all_the_same() -> None:
    member = make_splits(np.zeros(10, int), np.full(10, -1), np.zeros((10, 8), np.uint8))
    assert np.bincount(member).tolist() == [6, 2, 2]


def test_copies_finds_equal_rows() -> None:
    digests = np.array([[1], [2], [1], [3], [2], [1]], np.uint8)
    assert sorted(group.tolist() for group in copies(digests)) == [[0, 2, 5], [1, 4]]
    assert copies(different(4)) == []


@given(COUNTS, st.integers(0, 100), st.data())
def test_stratified_order_is_nested_and_proportional(counts: list[int], seed: int, data: st.DataObject) -> None:
    labels = labels_of(counts)
    order = stratified_order(labels, seed)
    assert sorted(order.tolist()) == list(range(len(labels)))
    n = data.draw(st.integers(len(counts), len(labels)))
    taken = np.bincount(labels[order[:n]], minlength=len(counts))
    assert taken.min() >= 1
    # One of each class comes first; apart from that, classes are filled to the same fraction, give or take one image.
    filled = taken / counts
    for a in range(len(counts)):
        for b in range(len(counts)):
            if taken[a] > 1:
                assert (taken[a] - 1 - 0.5) / counts[a] <= filled[b] + 0.5 / counts[b] + 1e-9
