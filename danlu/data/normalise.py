"""How grey levels become numbers for a network: min-max, z-score, Box-Cox, histogram equalisation, fitted on training images.

    x = (curve[pixel] - mean) / std         per channel; curve[v] = v / 255 where a normalisation is linear

What was fitted is part of the `Input`, so it travels with a saved model and with an exported file. A curve has one value for
each of the 256 grey levels: any change of the distribution's shape is a table, looked up once a pixel.

Source: Box & Cox 1964, An analysis of transformations, J. R. Stat. Soc. B 26, for `box_cox`; Gonzalez & Woods, Digital image
processing, section 3.3, for `equalize`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..errors import UsageError
from ..registry import Registry
from .spec import LEVELS, Input
from .store import Store

MIN_STD = 1 / 255  # of a channel that never changes: one grey level
LOW, HIGH, TRIED = -5.0, 5.0, 101  # exponents of Box and Cox: their range, and how many are tried before the best is refined
GOLDEN = (math.sqrt(5) - 1) / 2
CONSTANT = 1e-5  # standard deviation of a channel that never changes, rounding errors included
LINEAR = np.arange(LEVELS) / 255
SAMPLE, CHUNK = 4096, 256  # images counted of a set that streams; images at once


@dataclass(frozen=True)
class Fitted:
    """Shape: mean and std float64 [C], curve [C, 256] or None for v / 255."""

    mean: np.ndarray
    std: np.ndarray
    curve: np.ndarray | None = None


class Pixels:
    """The training images as statistics of their grey levels, made when they are asked for."""

    def __init__(self, store: Store, rows: np.ndarray, channels: int) -> None:
        self._store, self._rows, self._channels = store, rows, channels

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation, 0..1. Shape: [C] each."""
        first, second, pixels = self._store.sums(self._rows)
        mean = first / pixels
        return mean / 255, np.sqrt(np.maximum(second / pixels - mean**2, 0)) / 255

    @cached_property
    def counts(self) -> np.ndarray:
        """How often each grey level occurs; in a set that streams, in 4096 images, evenly taken. Shape: int64 [C, 256]."""
        rows = self._rows
        if self._store.streams:
            rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), SAMPLE)).astype(np.int64))]
        found = np.zeros((self._channels, LEVELS), np.int64)
        for start in range(0, len(rows), CHUNK):
            flat = self._store.take(rows[start : start + CHUNK]).numpy().reshape(-1, self._channels)
            found += np.stack([np.bincount(flat[:, channel], minlength=LEVELS) for channel in range(self._channels)])
        return found


normalizations: Registry[Callable[..., Fitted]] = Registry("normalization")
"""An entry takes the `Pixels` of the training images and gives what is `Fitted`."""


@normalizations(paper="")
def z_score(pixels: Pixels) -> Fitted:
    """Mean 0 and standard deviation 1 in each channel."""
    mean, std = pixels.moments
    return Fitted(mean, np.maximum(std, MIN_STD))


@normalizations(paper="")
def min_max(pixels: Pixels, *, low: float = 0.0, high: float = 1.0) -> Fitted:
    """The darkest level becomes `low`, the brightest `high`: x = low + (high - low)(v - min) / (max - min).

    Raises: UsageError unless low < high.
    """
    if not -math.inf < low < high < math.inf:
        raise UsageError(f"min_max: low must be below high, got low={low:g} and high={high:g}")
    least, most = (np.array([ends(row)[end] for row in pixels.counts]) / 255 for end in (0, 1))
    std = (most - least) / (high - low)
    return Fitted(least - low * std, std)


@normalizations(paper="doi:10.1111/j.2517-6161.1964.tb00553.x")
def box_cox(pixels: Pixels, *, shift: float = 1.0) -> Fitted:
    """((v + shift)^p - 1) / p, or ln(v + shift) for p = 0, p the likeliest for a normal distribution; then z-score.

    `shift`, in grey levels, makes black positive. The exponent p is fitted in each channel, from -5 to 5.
    Raises: UsageError for a shift that is not above 0.
    """
    if not 0 < shift < math.inf:
        raise UsageError(f"box_cox: shift must be above 0 grey levels, got {shift:g}")
    levels = np.arange(LEVELS) + shift
    # The powers of 256 levels may be as large as 1e12: stored after z-score, so that the file holds small numbers.
    curves = [standard(power(levels, exponent(row, levels)), row) for row in pixels.counts]
    return Fitted(np.zeros(len(curves)), np.ones(len(curves)), np.stack(curves))


@normalizations(paper="")
def equalize(pixels: Pixels) -> Fitted:
    """Equally many pixels in every range of levels: v becomes its share of darker pixels; then z-score.

        curve[v] = (cdf(v) - cdf(min)) / (1 - cdf(min))

    One curve a channel for all images, of the training images together: an image that is darker than the others stays so.
    """
    found = []
    for row in pixels.counts:
        cdf = row.cumsum() / row.sum()
        first = cdf[ends(row)[0]]
        found.append(np.clip((cdf - first) / (1 - first), 0, 1) if first < 1 else LINEAR)
    mean, std = np.array([weighted(curve, row) for curve, row in zip(found, pixels.counts, strict=True)]).T
    return Fitted(mean, std, np.stack(found))


def fitted(plain: Input, fit: Callable[[Pixels], Fitted], store: Store, rows: np.ndarray) -> tuple[Input, list[str]]:
    """The input with what `fit` finds in these images, and a warning for each channel that hardly ever changes."""
    pixels = Pixels(store, rows, plain.channels)
    found = fit(pixels)
    mean, std, curve = found.mean.copy(), found.std.copy(), None if found.curve is None else found.curve.copy()
    dull = np.flatnonzero(pixels.moments[1] < CONSTANT)
    mean[dull], std[dull] = pixels.moments[0][dull], MIN_STD
    if curve is not None:
        curve[dull] = LINEAR
    shown = () if curve is None else tuple(tuple(float(f"{value:.7g}") for value in row) for row in curve.tolist())
    faint = np.setdiff1d(np.flatnonzero(found.std == MIN_STD), dull)
    told = [(channel, "is constant") for channel in dull] + [(channel, "hardly changes") for channel in faint]
    warnings = [
        f"channel {channel} {what} over the training images; its std is taken as one grey level" for channel, what in told
    ]
    return replace(plain, mean=tuple(mean.tolist()), std=tuple(std.tolist()), curve=shown), warnings


def ends(row: np.ndarray) -> tuple[int, int]:
    """The darkest and the brightest level that occur. Shape: counts [256]."""
    (there,) = row.nonzero()
    return int(there[0]), int(there[-1])


def weighted(values: np.ndarray, row: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of a value of each level that occurs so often. Shape: both [256]."""
    mean = float(values @ row / row.sum())
    return mean, math.sqrt(float((values - mean) ** 2 @ row / row.sum()))


def standard(values: np.ndarray, row: np.ndarray) -> np.ndarray:
    """The values with mean 0 and standard deviation 1 over the images. Shape: [256] -> [256]."""
    mean, std = weighted(values, row)
    return (values - mean) / (std or 1.0)


def power(x: np.ndarray, p: float) -> np.ndarray:
    """Box and Cox: (x^p - 1) / p, ln x for p = 0, for positive x."""
    return np.expm1(p * np.log(x)) / p if p else np.log(x)


def exponent(row: np.ndarray, levels: np.ndarray) -> float:
    """The likeliest p for a normal distribution of power(levels, p), to 1e-6; 1 where there is one level only.

    log-likelihood per pixel = (p - 1) mean(ln x) - 1/2 ln var(power(x, p))
    """
    least, most = ends(row)
    if least == most:
        return 1.0
    logs = float(np.log(levels) @ row / row.sum())

    def likelihood(p: float) -> float:
        return (p - 1) * logs - math.log(weighted(power(levels, p), row)[1])

    tried = np.linspace(LOW, HIGH, TRIED).tolist()
    best = max(range(TRIED), key=lambda i: likelihood(tried[i]))
    low, high = tried[max(best - 1, 0)], tried[min(best + 1, TRIED - 1)]
    while high - low > 1e-6:
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        low, high = (low, right) if likelihood(left) > likelihood(right) else (left, high)
    return (low + high) / 2
