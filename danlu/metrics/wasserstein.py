"""Wasserstein distance: the least work that moves one heap of samples into the other.

    W_p(x, y) = ( integral over u in 0 .. 1 of |F^-1(u) - G^-1(u)|^p )^(1/p)          exact, for samples on a line
    sliced    = ( mean over directions v on the unit sphere of W_p(x v, y v)^p )^(1/p)

F^-1 and G^-1 are the sorted samples, steps of width 1/N and 1/M. The directions are drawn from `seed`.

Source: Villani 2003, Topics in Optimal Transportation, theorem 2.18 and remark 2.19, https://doi.org/10.1090/gsm/058;
sliced: Bonneel et al. 2015, https://doi.org/10.1007/s10851-014-0506-3.
"""

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError
from ._inputs import finite, sample_pair, tensor
from ._registry import metrics

PART = 1 << 22  # projections that are in memory at a time


@metrics(kind="generate", takes="features", higher_is_better=False, paper="doi:10.1090/gsm/058")
def wasserstein(generated: Tensor, real: Tensor, *, p: float = 1.0) -> float:
    """The exact distance of two sets of numbers, such as one feature, or the scores of a critic.

    Shape: generated [N] or [N, 1], real [M] or [M, 1] -> float
    Raises: UsageError for more than one feature (see sliced_wasserstein), and for p below 1.
    """
    x, y = (finite(tensor(values, "samples"), "samples") for values in (generated, real))
    x, y = (values[:, None] if values.ndim == 1 else values for values in (x, y))
    x, y = sample_pair(x, y)
    if x.shape[1] != 1:
        raise UsageError(f"wasserstein: exact for one feature, got {x.shape[1]}; sliced_wasserstein takes more")
    return float(moved(x.T, y.T, checked(p)) ** (1 / p))


@metrics(kind="generate", takes="features", higher_is_better=False, paper="doi:10.1007/s10851-014-0506-3")
def sliced_wasserstein(generated: Tensor, real: Tensor, *, projections: int = 128, p: float = 2.0, seed: int = 0) -> float:
    """The distance seen along random directions.

    Shape: generated [N, D], real [M, D] -> float
    Raises: UsageError for projections or p below 1.
    """
    if projections < 1:
        raise UsageError(f"sliced_wasserstein: projections must be 1 or more, got {projections}")
    x, y = sample_pair(generated, real)
    draws = torch.Generator().manual_seed(seed)
    directions = torch.randn(x.shape[1], projections, generator=draws, dtype=torch.float64).to(x.device)
    directions /= directions.norm(dim=0)
    p, at_once = checked(p), max(PART // max(len(x), len(y)), 1)
    each = [moved(part @ x.T, part @ y.T, p) for part in directions.T.split(at_once)]
    return float(torch.cat(each).mean() ** (1 / p))


def moved(x: Tensor, y: Tensor, p: float) -> Tensor:
    """W_p^p of each row. Shape: [S, N], [S, M] -> [S]."""
    n, m = x.shape[1], y.shape[1]
    x, y = ordered(x), ordered(y)
    if n == m:
        return (x - y).abs().pow(p).mean(1)
    # Both step functions are constant between the multiples of m and of n, in units of 1 / (n m).
    steps = torch.cat([torch.arange(n) * m, torch.arange(m) * n]).unique().to(x.device)
    lengths = torch.diff(steps, append=steps.new_tensor([n * m])).to(x.dtype) / (n * m)
    return (x[:, steps // m] - y[:, steps // n]).abs().pow(p) @ lengths


def ordered(rows: Tensor) -> Tensor:
    """Each row from its lowest to its highest. On the CPU by NumPy, whose sort is several times faster."""
    return torch.from_numpy(np.sort(rows.numpy(), axis=1)) if rows.device.type == "cpu" else rows.sort(1).values


def checked(p: float) -> float:
    """p. Raises: UsageError below 1, or without an end."""
    if not 1 <= p < float("inf"):
        raise UsageError(f"a Wasserstein distance needs 1 <= p < infinity, got {p}")
    return p
