"""Which differences are real: a paired test in which both the seeds and the images are a sample.

Two settings are trained with the same S seeds and judged on the same N images. With d[s, i] = 1, 0 or -1 where A alone, both or
neither, or B alone is right with seed s on image i,

    t = (|mean d| - 1 / SN) / sqrt((v_A + v_B) / S + w / N)

v is the variance of a setting's accuracy between seeds, and w = max(MS_images - MS_rest, 0) / S that of d between images beyond
what the seeds scatter: another seed or another image would move the mean, and both are counted. 1 / SN corrects for continuity.

Few seeds say little of v, and many settings do: each v is drawn up towards that of all, by as much as they are alike,

    v = max(u, (k u + k0 u0) / (k + k0)),   u: of the setting, k = S - 1;   u0 and k0: by the mean and the variance of log u

Degrees of freedom after Satterthwaite, of v min(k + k0, sum of all k). One seed says nothing of seeds: then the images alone
count, which is McNemar's test. Many comparisons: Holm.

Source: two random factors: Clark 1973, https://doi.org/10.1016/S0022-5371(73)80014-3; degrees of freedom: Satterthwaite 1946,
https://doi.org/10.2307/3002019; moderated variances: Smyth 2004, https://doi.org/10.2202/1544-6115.1027; Holm 1979,
https://www.jstor.org/stable/4615733.
Differs: v is never drawn down, and u is at least what the rest accounts for, MS_rest / N: seeds that happen to agree do not
prove that they must. Seeds are not paired in v. All three err towards "not told apart". What that comes to is
simulated by `benchmarks/significance.py`: a wrong "real" in up to 4 % of tables, and up to 10 % with 2 or 3 seeds where some
settings scatter 15 times as much as others.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, log, sqrt
from typing import TypeVar

import numpy as np
import torch

from ..errors import UsageError
from .student import quantile, two_sided

LEVEL = 0.95
FEWEST = 4  # settings, from which their variances say something of each other
METHOD = (
    "a paired t test in which both seeds and images are a sample (moderated variance between seeds, Satterthwaite's degrees of "
    "freedom), with Holm's correction within each table; intervals are 95 % each, before that correction"
)
METHOD_ONE_SEED = (
    "a paired t test over images (McNemar's) with Holm's correction within each table; intervals are 95 % each, before that "
    "correction. With one seed nothing is known of the difference that another seed makes: use more seeds before you trust it"
)
Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a comparison. Shape: right [S, N], seeds by images, 1 where right, or the mean of that over `settings`.

    `variance` is that of its accuracy between seeds, with `df` degrees of freedom; 0 with one seed.
    """

    right: np.ndarray
    variance: float
    df: float
    settings: int = 1


@dataclass(frozen=True)
class Difference:
    """Accuracy A minus accuracy B with its 95 % interval, and the chance of one at least so large where there is none."""

    mean: float
    low: float
    high: float
    p: float
    df: float


def sides(tables: Mapping[Name, np.ndarray]) -> dict[Name, Side]:
    """Every setting, with a variance between seeds that all of them help to estimate. Shape: each table [S, N].

    Raises UsageError where the tables are not of one shape, or hold fewer than two images.
    """
    shapes = {np.shape(table) for table in tables.values()}
    if len(shapes) > 1 or any(len(shape) != 2 or shape[0] < 1 or shape[1] < 2 for shape in shapes):
        raise UsageError(f"settings are compared by tables [seeds, images] of one shape, got {sorted(shapes)}")
    plain = {name: np.asarray(table, np.float64) for name, table in tables.items()}
    if not plain or next(iter(shapes))[0] == 1:
        return {name: Side(table, 0.0, inf) for name, table in plain.items()}
    own = {name: _between_seeds(table) for name, table in plain.items()}
    k = next(iter(shapes))[0] - 1.0
    common, k0 = prior([u for u in own.values() if u > 0], k)
    df = min(k + k0, k * len(own))

    def drawn(u: float) -> float:
        return max(u, common if k0 == inf else (k * u + k0 * common) / (k + k0))

    return {name: Side(plain[name], drawn(u), df) for name, u in own.items()}


def prior(variances: Sequence[float], k: float) -> tuple[float, float]:
    """(u0, k0): what variances of k degrees of freedom each are drawn towards, and how strongly; k0 is 0 where they are too few.

        trigamma(k0 / 2) = var(log u) - trigamma(k / 2),   log u0 = mean(log u) - digamma(k / 2) + log(k / 2) + digamma(k0 / 2)
        - log(k0 / 2)

    k0 is infinite where they differ no more than chance has them; then u0 is their mean.
    """  # fmt: skip
    if len(variances) < FEWEST:
        return 0.0, 0.0
    logs = np.log(variances)
    beyond = float(logs.var(ddof=1)) - _polygamma(1, k / 2)
    if beyond <= 0:
        return float(np.mean(variances)), inf
    low, high = 1e-6, 1e9
    for _ in range(200):
        middle = sqrt(low * high)
        low, high = (middle, high) if _polygamma(1, middle) > beyond else (low, middle)
    k0 = 2 * low
    centre = float(logs.mean()) - _polygamma(0, k / 2) + log(k / 2) + _polygamma(0, k0 / 2) - log(k0 / 2)
    return exp(centre), k0


def _polygamma(order: int, x: float) -> float:
    return float(torch.special.polygamma(order, torch.tensor(x, dtype=torch.float64)))


def _between_seeds(right: np.ndarray) -> float:
    """The variance of the accuracy between seeds. Shape: [S, N]."""
    return max(float(right.mean(1).var(ddof=1)), _mean_squares(right)[1] / right.shape[1])


def _mean_squares(table: np.ndarray) -> tuple[float, float]:
    """(between images, of the rest) of a table of seeds by images."""
    seeds, images = table.shape
    by_seed, by_image = table.mean(1, keepdims=True), table.mean(0)
    rest = float(((table - by_seed - by_image + table.mean()) ** 2).sum()) / ((seeds - 1) * (images - 1))
    return seeds * float(by_image.var(ddof=1)), rest


def mean_of(members: Sequence[Side]) -> Side:
    """The mean of several settings as one side."""
    count = len(members)
    parts = [side.variance / count**2 for side in members]
    whole = sum(parts)
    doubt = sum(part**2 / side.df for part, side in zip(parts, members, strict=True))
    # The variances help to estimate each other: together they know no more than all of them do.
    df = min(whole**2 / doubt, max(side.df for side in members)) if doubt else members[0].df
    return Side(np.mean([side.right for side in members], axis=0), whole, df, count)


def paired(a: Side, b: Side) -> Difference:
    """Compare two sides over the same seeds and images."""
    d = a.right - b.right
    seeds, images = d.shape
    mean = float(d.mean())
    if seeds == 1:
        of_images = float(d.var(ddof=1)) / images
    else:
        between, rest = _mean_squares(d)
        of_images = max(between - rest, 0.0) / (seeds * images)
    parts = [(a.variance / seeds, a.df), (b.variance / seeds, b.df), (of_images, images - 1.0)]
    spread = sum(part for part, _ in parts)
    if spread == 0:  # the same on every image with every seed
        return Difference(mean, mean, mean, 1.0 if mean == 0 else 0.0, images - 1.0)
    df = spread**2 / sum(part**2 / df for part, df in parts)
    error = sqrt(spread)
    t = max(abs(mean) - 1 / (a.settings * seeds * images), 0.0) / error
    half = quantile(LEVEL, df) * error
    return Difference(mean, max(mean - half, -1.0), min(mean + half, 1.0), two_sided(t, df), df)


def holm(p: Sequence[float]) -> list[float]:
    """p values for many comparisons: below 0.05 they stay so for all of them together with a chance of error below 0.05."""
    adjusted = [0.0] * len(p)
    highest = 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = highest
    return adjusted
