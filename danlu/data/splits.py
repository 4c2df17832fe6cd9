"""Making the splits that are missing, stratified, from a seed."""

from collections.abc import Sequence

import numpy as np

from ..errors import UsageError
from .layout import SPLITS

SHARE = 0.15
MOST = {"val": 5000, "test": 10000}  # beyond this, images teach more in train than they measure
TRAIN, VAL, TEST = range(3)


def make_splits(
    labels: np.ndarray,
    given: np.ndarray,
    digests: np.ndarray,
    *,
    val: float | None = None,
    test: float | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Assign every image to train, val or test (0, 1, 2); splits that the data set has stay as they are.

    `given` holds -1 where the data set is not split. What is missing is taken from train, class by class: `val` and `test`
    are shares of it (default: 15 %, but no more than 5,000 images for val and 10,000 for test). Of every class one image
    stays in train, then one goes to test, then one to val, as far as they last. Exact copies (equal `digests`) are kept in
    one split, where a class has enough different images, so that no test image was seen in training.
    Shape: labels, given int [N], digests uint8 [N, D] -> int8 [N].
    """
    for name, share in (("val", val), ("test", test)):
        if share is not None and not 0 < share < 1:
            raise UsageError(f"{name} must be a share above 0 and below 1, got {share!r}")
    if seed < 0:
        raise UsageError(f"seed must not be negative, got {seed}")
    member = np.where(given < 0, TRAIN, given).astype(np.int8)
    train = np.flatnonzero(member == TRAIN)
    shares = {}
    for split, share in ((TEST, test), (VAL, val)):
        if not (given == split).any() and len(train):
            shares[split] = share if share is not None else min(SHARE, MOST[SPLITS[split]] / len(train))
    if sum(shares.values()) >= 1:
        raise UsageError(f"val and test together must leave something to train on, got {' + '.join(map(str, shares.values()))}")
    for label in np.unique(labels[train]):
        mine = train[labels[train] == label]
        order = np.random.default_rng([seed, int(label)]).permutation(mine)
        left = len(mine)
        groups = _copies(order, digests)
        for split, share in shares.items():
            want = min(max(round(share * len(mine)), 1), left - 1)
            if want < 1:
                continue
            chosen = _fill(groups, want) or [np.array([i]) for i in order[member[order] == TRAIN][:want]]
            taken = np.concatenate(chosen)
            member[taken] = split
            left -= len(taken)
            groups = [rest for group in groups if len(rest := group[member[group] == TRAIN])]
    return member


def stratified_order(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """An order of the images such that its first n hold the classes in proportion, for every n.

    One image of each class comes first; then image k of a class of m stands at (k + 0.5) / m. So a larger subset contains
    every smaller one. Shape: int [N] -> int [N], positions.
    """
    place = np.empty(len(labels))
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        order = np.random.default_rng([seed, int(label)]).permutation(mine)
        place[order] = (np.arange(len(mine)) + 0.5) / len(mine)
        place[order[0]] = -1
    return np.lexsort((labels, place))


def copies(digests: np.ndarray) -> list[np.ndarray]:
    """Groups of images with equal digests, two or more each. Shape: uint8 [N, D] -> indices, ascending."""
    _, inverse, counts = np.unique(digests, axis=0, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(-1)
    repeated = np.flatnonzero(counts[inverse] > 1)
    groups: dict[int, list[int]] = {}
    for i in repeated.tolist():
        groups.setdefault(int(inverse[i]), []).append(i)
    return [np.array(group) for group in groups.values()]


def _copies(order: np.ndarray, digests: np.ndarray) -> list[np.ndarray]:
    """Images in this order, exact copies together at the place of the first."""
    groups: dict[bytes, list[int]] = {}
    for i in order.tolist():
        groups.setdefault(digests[i].tobytes(), []).append(i)
    return [np.array(group) for group in groups.values()]


def _fill(groups: Sequence[np.ndarray], want: int) -> list[np.ndarray]:
    """The first groups that fit into `want` images together; the last group is left, so that train keeps something."""
    chosen: list[np.ndarray] = []
    room = want
    for group in groups[:-1]:
        if len(group) <= room:
            chosen.append(group)
            room -= len(group)
    return chosen
