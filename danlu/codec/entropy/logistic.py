"""Logistic regression that learns while it codes: whole numbers and plain float64 arithmetic, so every machine agrees.

Units: a logit is log2(p / (1 - p)) in 1/256; a feature is a logit or 256 x a bit; a probability is a frequency of 2**24.

    LOG[x] = round(256 * log2(x)),  x in 1..4095            log(v) = LOG[v >> s] + 256 * s,  s = max(0, bits of v - 12)
    SQUASH[z] = round(2**24 / (1 + 2**(-z / 256))),  z in -4096..4096

No entry lies near enough to a rounding boundary for the last digits of a logarithm to matter. With weights w[k] as float64,

    v[k] = floor(w[k] * 65536 + 0.5)
    ones = SQUASH[clamp(base + (sum of v[k] * x[k] >> 16), -4096, 4096)]             >> rounds down, also below zero

For the cells of one step together, once their bits y are known, with all sums exact in whole numbers:

    p = ones >> 8;  q = max(1, p * (65536 - p) >> 16)
    G[k]    += sum over cells of x[k] * ((y << 24) - ones)
    A[k][l] += sum over cells of q * x[k] * x[l]                        starts as the prior on the diagonal
    fresh += cells;  seen += cells
    if fresh >= seen >> 6:   w += 1.4375 A^-1 G,  G = 0, fresh = 0

that is, a Newton step on the new cells with the curvature of all cells (1.4375 is about 1 / ln 2: the logits are in base 2):
recursive least squares for a logistic model. A^-1 G is solved by `solve`, whose every float64 operation, in its order, belongs to
the format (no fused multiply-add).

Source: online Newton step, Hazan, Agarwal and Kale 2007; mixing of models in the logistic domain: Mahoney 2005, "Adaptive
weighing of context models for lossless data compression".
"""

import math

import numpy as np

from .ranges import TOTAL

UNIT, EDGE, MOST_FEATURE = 256, 4096, 4095
LOG = np.array([0] + [round(UNIT * math.log2(x)) for x in range(1, 4096)], np.int64)
SQUASH = np.array([round(TOTAL / (1 + 2 ** (-z / UNIT))) for z in range(-EDGE, EDGE + 1)], np.int64)
PATIENCE = 6


def log(value: np.ndarray) -> np.ndarray:
    """256 x log2 of whole numbers in 1..2**52, to about 12 bits. Shape: [n] -> [n] int64."""
    shift = np.maximum(np.frexp(value.astype(np.float64))[1].astype(np.int64) - 12, 0)
    return LOG[value >> shift] + (shift << 8)


def solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """x of matrix x = right, symmetric and positive definite, by elimination from the first row to the last, no pivoting."""
    size, rows, out = len(right), [list(row) for row in matrix], list(right)
    for top in range(size):
        head = rows[top]
        for below in range(top + 1, size):
            factor = head[below] / head[top]
            if factor:
                row = rows[below]
                for column in range(below, size):
                    row[column] -= factor * head[column]
                out[below] -= factor * out[top]
    for top in range(size - 1, -1, -1):
        value, head = out[top], rows[top]
        for column in range(top + 1, size):
            value -= head[column] * out[column]
        out[top] = value / head[top]
    return out


class Learner:
    """The weights and what they have learned from.

    `start`: the weights before any cell; `prior`: how many cells' worth of curvature hold each of them there.
    """

    def __init__(self, start: list[float], prior: list[int]) -> None:
        self.weights, size = list(start), len(start)
        self.curvature = np.diag(np.array(prior, np.int64) << 32)
        self.gradient = np.zeros(size, np.int64)
        self.fresh = self.seen = 0

    def ones(self, features: np.ndarray, base: int) -> np.ndarray:
        """Frequencies of 1. Shape: [K, n] int64 -> [n] int64."""
        whole = np.array([math.floor(weight * 65536 + 0.5) for weight in self.weights], np.int64)
        return SQUASH[np.clip((whole @ features >> 16) + base, -EDGE, EDGE) + EDGE]

    def learn(self, features: np.ndarray, ones: np.ndarray, bits: np.ndarray) -> None:
        """Take in the bits of one step. Shape: [K, n], [n], [n]."""
        chance = ones >> 8
        weight = np.maximum(chance * (65536 - chance) >> 16, 1)
        self.gradient += features @ ((bits << 24) - ones)
        self.curvature += (features * weight) @ features.T
        self.fresh += len(ones)
        self.seen += len(ones)
        if self.fresh >= self.seen >> PATIENCE:
            step = solve(self.curvature.astype(np.float64).tolist(), self.gradient.astype(np.float64).tolist())
            self.weights = [weight + 1.4375 * change for weight, change in zip(self.weights, step, strict=True)]
            self.gradient[:] = 0
            self.fresh = 0
