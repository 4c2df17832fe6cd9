"""Generalised batch norm: another centre than the mean and another deviation than the standard one.

    y = (x - S) / sqrt(D^2 + eps) gamma + beta          S, D of each channel over the batch, a pair that belongs together:

    mean            S = mean                    D = standard deviation: batch norm
    median          S = median                  D = mean |x - S|
    range           S = (max + min) / 2         D = (max - min) / 2
    semi            S = mean                    D = root of mean max(x - S, 0)^2: only what lies above, which a ReLU lets pass
    superquantile   S = quantile(level)         D = mean of what lies above S, less the mean: a ReLU passes a share 1 - level

Each D but that of range is multiplied by a constant, so that for normal activations it is the standard deviation.

Source: Yuan et al. 2018, Generalized batch normalization, https://arxiv.org/abs/1812.03271; the pairs: Rockafellar & Uryasev
2013, The fundamental risk quadrangle, https://doi.org/10.1016/j.sorms.2013.03.001.
Differs: the constants, so that a net keeps its learning rate, and eps under the root.
"""

import math
from statistics import NormalDist
from typing import Literal

import torch
from torch import Tensor

from ...errors import UsageError, unknown
from .._registry import layers
from ._registry import Place, norms
from ._running import RunningNorm

Measure = Literal["mean", "median", "range", "semi", "superquantile"]
MEASURES = ("mean", "median", "range", "semi", "superquantile")


@layers(paper="arxiv:1812.03271")
class GeneralisedBatchNorm(RunningNorm):
    """Centre and deviation by `measure`; `level` is that of the superquantile. Shape: [B, C, ...] -> the same.

    Raises: UsageError for another measure, or a level that is not between 0 and 1.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        dims: int = 2,
        measure: str = "semi",
        level: float = 0.5,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dims=dims, device=device, dtype=dtype)
        if measure not in MEASURES:
            raise unknown("measure of generalised", str(measure), MEASURES)
        if not 0 < level < 1:
            raise UsageError(f"generalised: level must be between 0 and 1, got {level:g}")
        self.measure, self.level = measure, level

    def measured(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Shape: [C, N] -> [C], [C]."""
        mean = rows.mean(1)
        if self.measure == "mean":
            return mean, (rows - mean[:, None]).square().mean(1)
        if self.measure == "semi":
            return mean, 2 * (rows - mean[:, None]).clamp(min=0).square().mean(1)
        if self.measure == "range":
            least, most = rows.amin(1), rows.amax(1)
            return (most + least) / 2, ((most - least) / 2).square()
        if self.measure == "median":
            median = rows.median(1).values
            return median, math.pi / 2 * (rows - median[:, None]).abs().mean(1).square()
        share = max(1, round((1 - self.level) * rows.shape[1]))
        top = rows.topk(share, 1).values
        normal = NormalDist()
        factor = (1 - self.level) / normal.pdf(normal.inv_cdf(self.level))
        return top[:, -1], (factor * (top.mean(1) - mean)).square()

    def extra_repr(self) -> str:
        """Its arguments."""
        return f"{super().extra_repr()}, measure={self.measure!r}, level={self.level:g}"


@norms(paper="arxiv:1812.03271")
def generalised(place: Place, *, measure: Measure = "semi", level: float = 0.5) -> GeneralisedBatchNorm:
    """Batch norm by another centre and deviation: mean, median, range, semi, or superquantile of `level`.

    Raises: UsageError for another measure, or a level that is not between 0 and 1.
    """
    return GeneralisedBatchNorm(place.width, place.eps, dims=place.dims, measure=measure, level=level, **place.like)
