"""Batch renormalisation: in training too the values are, up to a limit, what the running averages would make of them.

    y = (x - m_B) / s_B r + d,      r = clip(s_B / s, 1 / r_max, r_max),      d = clip((m_B - m) / s, -d_max, d_max)

m_B, s_B are mean and deviation of the batch, m, s the running ones; r and d are constants for the gradient. Unclipped, y is
(x - m) / s: what inference computes, so a small batch no longer trains another net than the one that is used. The limits open
with the steps, for at first m and s mean nothing:

    r_max(t) = 1 + (r_max - 1) ramp(t, start, r_until),     d_max(t) = d_max ramp(t, start, d_until)

Source: Ioffe 2017, https://arxiv.org/abs/1702.03275.
Differs: the steps are a tenth of the paper's (5,000, 40,000 and 25,000, for 130,000 steps).
"""

from functools import partial

import torch
from torch import Tensor

from ...errors import UsageError
from .._registry import layers
from ._registry import Place, norms
from ._running import RunningNorm


@layers(paper="arxiv:1702.03275")
class BatchRenorm(RunningNorm):
    """Batch norm until step `start`; then the limits open to `r_max` at step `r_until`, to `d_max` at `d_until`.

    Shape: [B, C, ...] -> the same. Raises: UsageError for limits or steps that cannot be.
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
        r_max: float = 3.0,
        d_max: float = 5.0,
        start: int = 500,
        r_until: int = 4000,
        d_until: int = 2500,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dims=dims, device=device, dtype=dtype)
        if r_max < 1 or d_max < 0:
            raise UsageError(f"batch_renorm: r_max must be from 1 and d_max from 0, got r_max={r_max:g} and d_max={d_max:g}")
        if not 0 <= start <= min(r_until, d_until):
            raise UsageError(
                f"batch_renorm: 0 <= start <= r_until and d_until, got start={start}, r_until={r_until}, d_until={d_until}"
            )
        self.r_max, self.d_max, self.start, self.r_until, self.d_until = r_max, d_max, start, r_until, d_until

    def measured(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the batch. Shape: [C, N] -> [C], [C]."""
        variance, mean = torch.var_mean(rows, 1, correction=0)
        return mean, variance

    @property
    def limits(self) -> tuple[Tensor, Tensor]:
        """The largest r and d at the present step, scalars on the device of the norm."""
        step: Tensor = self.num_batches_tracked  # type: ignore[assignment]  # asked only where averages are tracked

        def opened(until: int) -> Tensor:
            return ((step - self.start) / max(until - self.start, 1)).clamp(0, 1)

        return 1 + (self.r_max - 1) * opened(self.r_until), self.d_max * opened(self.d_until)

    def correction(self, centre: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
        """r and d. Shape: [C], [C] -> [C], [C]."""
        most_r, most_d = self.limits
        mean: Tensor = self.running_mean  # type: ignore[assignment]  # corrected only where averages are tracked
        variance: Tensor = self.running_var  # type: ignore[assignment]
        running = (variance + self.eps).sqrt()
        r = torch.minimum(torch.maximum(deviation / running, 1 / most_r), most_r)
        d = torch.minimum(torch.maximum((centre - mean) / running, -most_d), most_d)
        return r, d

    def extra_repr(self) -> str:
        """Its arguments."""
        schedule = f"start={self.start}, r_until={self.r_until}, d_until={self.d_until}"
        return f"{super().extra_repr()}, r_max={self.r_max:g}, d_max={self.d_max:g}, {schedule}"


@norms(paper="arxiv:1702.03275")
def batch_renorm(
    place: Place, *, r_max: float = 3.0, d_max: float = 5.0, start: int = 500, r_until: int = 4000, d_until: int = 2500
) -> BatchRenorm:
    """Batch norm whose training comes nearer and nearer to its inference; for small batches.

    Raises: UsageError for limits or steps that cannot be.
    """
    kind = partial(BatchRenorm, r_max=r_max, d_max=d_max, start=start, r_until=r_until, d_until=d_until)
    return kind(place.width, place.eps, dims=place.dims, **place.like)
