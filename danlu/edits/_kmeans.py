"""K-means of the weights of a layer: exact in its assignment, since numbers on a line are sorted once.

Rows are clustered apart, all at once: one row for a layer with one table, one row a channel otherwise.
"""

from typing import Literal

import torch
from torch import Tensor

Init = Literal["linear", "density", "random"]
ROUNDS = 50


def kmeans(values: Tensor, size: int, init: Init = "linear", seed: int = 0) -> Tensor:
    """`size` centroids of each row, sorted; Lloyd's algorithm until nothing moves. Shape: [rows, n] -> [rows, size].

    NaN marks an entry that does not count (a pruned weight). init "linear" spaces the first centroids evenly between the
    extremes, so that the few large weights get some; "density" puts them at even quantiles; "random" takes weights.
    A centroid without weights stays where it is. Float64 inside.
    """
    ordered = values.double().sort(dim=1).values  # NaN last
    alive = ordered.isnan().logical_not().sum(1)
    table = start(ordered, alive, size, init, seed)
    zero = torch.zeros(len(ordered), 1, dtype=torch.float64)
    sums = torch.cat([zero, ordered.nan_to_num(0.0).cumsum(1)], dim=1)
    search = ordered.nan_to_num(torch.inf)
    for _ in range(ROUNDS):
        middles = (table[:, 1:] + table[:, :-1]) / 2
        inner = torch.searchsorted(search, middles.contiguous()).minimum(alive[:, None])
        bounds = torch.cat([torch.zeros_like(alive)[:, None], inner, alive[:, None]], dim=1)
        count = bounds.diff(dim=1)
        total = sums.gather(1, bounds).diff(dim=1)
        new = torch.where(count > 0, total / count.clamp_min(1), table)
        if torch.equal(new, table):
            break
        table = new
    return table.to(values.dtype).sort(dim=1).values


def start(ordered: Tensor, alive: Tensor, size: int, init: Init, seed: int) -> Tensor:
    """The first centroids. Shape: sorted [rows, n] with NaN last -> [rows, size], sorted."""
    last = (alive - 1).clamp_min(0)[:, None]
    if init == "linear":
        low, high = ordered[:, :1].nan_to_num(0.0), ordered.gather(1, last).nan_to_num(0.0)
        return low + (high - low) * torch.linspace(0, 1, size, dtype=torch.float64) if size > 1 else (low + high) / 2
    if init == "density":
        shares = (torch.arange(size, dtype=torch.float64) + 0.5) / size
        places = (shares * last).round().long()
    else:
        generator = torch.Generator().manual_seed(seed)
        places = (torch.rand(len(ordered), size, generator=generator, dtype=torch.float64) * last).round().long()
    return ordered.gather(1, places).nan_to_num(0.0).sort(dim=1).values


def nearest(values: Tensor, table: Tensor) -> Tensor:
    """The index of the nearest centroid. Shape: [rows, n], sorted [rows, size] -> int64 [rows, n]."""
    middles = (table[:, 1:] + table[:, :-1]) / 2
    return torch.searchsorted(middles.contiguous(), values.contiguous())
