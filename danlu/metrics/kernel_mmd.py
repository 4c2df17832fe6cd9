"""Kernel MMD: the largest difference of means that a smooth function can find between generated and real images.

    MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y)
    gaussian    k(x, y) = exp(-|x - y|^2 / (2 s^2))
    polynomial  k(x, y) = (x . y / D + 1)^3                    with unbiased=True the kernel inception distance

over all pairs of the samples: with each sample's pair with itself, biased, 0 for equal sets and never below; or without,
unbiased, which may come out below 0.

Source: Gretton et al. 2012, A kernel two-sample test, https://jmlr.org/papers/v13/gretton12a.html; Binkowski et al. 2018,
https://arxiv.org/abs/1801.01401.
Differs: without a bandwidth, s^2 is the mean of the squared distances of all samples, where Gretton et al. take the median; the
mean has a closed form and needs no subset.
"""

from typing import Literal

import torch
from torch import Tensor

from ..errors import UsageError, unknown
from ._inputs import sample_pair
from ._registry import metrics

Kernel = Literal["gaussian", "polynomial"]
KERNELS = ("gaussian", "polynomial")
ROWS = 1024  # of the kernel matrix at a time


@metrics(kind="generate", takes="features", higher_is_better=False, paper="jmlr:v13/gretton12a")
def kernel_mmd(
    generated: Tensor, real: Tensor, *, kernel: Kernel = "gaussian", bandwidth: float | None = None, unbiased: bool = False
) -> float:
    """The squared maximum mean discrepancy. `bandwidth` is s of the Gaussian kernel; by default the samples give it.

    Shape: generated [N, D], real [M, D] -> float. Time grows with (N + M)^2, memory with N + M.
    Raises: UsageError for another kernel, a bandwidth that is not above 0, and fewer than two samples of a kind where unbiased.
    """
    if kernel not in KERNELS:
        raise unknown("kernel", kernel, KERNELS)
    if bandwidth is not None and not bandwidth > 0:
        raise UsageError(f"kernel_mmd: bandwidth must be above 0, got {bandwidth}")
    x, y = sample_pair(generated, real, 2 if unbiased else 1)
    scale = spread(torch.cat([x, y])) if bandwidth is None else bandwidth**2
    within = []
    for one in (x, y):
        n = len(one)
        total, itself = sums(one, one, kernel, scale)
        within.append((total - itself) / (n * (n - 1)) if unbiased else total / (n * n))
    between = sums(x, y, kernel, scale)[0] / (len(x) * len(y))
    found = within[0] + within[1] - 2 * between
    return found if unbiased else max(found, 0.0)


def sums(x: Tensor, y: Tensor, kernel: str, scale: float) -> tuple[float, float]:
    """The kernel summed over all pairs, and over the pairs of equal index. Shape: [N, D], [M, D]."""
    total, itself = x.new_zeros(()), x.new_zeros(())
    for start in range(0, len(x), ROWS):
        part = x[start : start + ROWS]
        if kernel == "polynomial":
            values = (part @ y.T / x.shape[1] + 1) ** 3
        else:
            # Distances by subtraction: those of equal samples come out as 0, not as rounding.
            values = torch.exp(-torch.cdist(part, y, compute_mode="donot_use_mm_for_euclid_dist").square() / (2 * scale))
        total += values.sum()
        itself += values.diagonal(start).sum() if start < len(y) else 0
    return float(total), float(itself)


def spread(pooled: Tensor) -> float:
    """The mean squared distance of two different samples; 1 where all are equal, for then every kernel is 1. Shape: [N, D]."""
    n = len(pooled)
    mean = 2 * float((pooled - pooled.mean(0)).square().sum()) / (n - 1)
    return mean if mean > 0 else 1.0
