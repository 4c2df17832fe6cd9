"""What the variants of batch norm share: another centre and deviation of the batch in training, a batch norm in eval mode."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from ...errors import UsageError


class RunningNorm(_BatchNorm):
    """y = (x - centre) / sqrt(deviation^2 + eps) gamma + beta, both per channel over [B, ...].

    The running averages are of the centre and of the deviation itself (not of its square); `running_var` holds the square of
    the latter, so that in eval mode, folded, stored or exported this is a batch norm. The statistics of a batch in half
    precision are computed in float32.

    A subclass gives `measured`, and may correct what is normalised.

    Shape: [B, C, ...] with `dims` dimensions behind C -> the same; with dims 1 also [B, C].
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
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device=device, dtype=dtype)
        if dims not in (1, 2, 3):
            raise UsageError(f"dims must be 1, 2 or 3, got {dims!r}")
        self.dims = dims

    def measured(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Centre and squared deviation of each channel. Shape: [C, N] -> [C], [C]."""
        raise NotImplementedError

    def correction(self, centre: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor] | None:
        """r and d [C] of y r + d, done to what is normalised before the running averages see the batch; None for nothing."""
        return None

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, C, ...] -> the same."""
        self._check_input_dim(x)
        if not self.training and self.running_mean is not None:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        values = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        rows = values.transpose(0, 1).flatten(1)
        if rows.shape[1] < 2:
            raise ValueError(f"Expected more than 1 value per channel when training, got input size {list(x.shape)}")
        centre, square = self.measured(rows)
        deviation = (square + self.eps).sqrt()
        scale = 1 / deviation  # all that is done to a channel is one multiplication and one addition
        shift = -centre * scale
        if self.training and self.running_mean is not None:
            corrected = self.correction(centre.detach(), deviation.detach())
            if corrected is not None:
                scale, shift = scale * corrected[0], shift * corrected[0] + corrected[1]
            self._remember(centre.detach(), square.detach().sqrt())
        if self.weight is not None:
            scale, shift = scale * self.weight, shift * self.weight + self.bias
        wide = (-1, *[1] * (x.dim() - 2))
        return torch.addcmul(shift.view(wide), values, scale.view(wide)).to(x.dtype)

    @torch.no_grad()
    def _remember(self, centre: Tensor, deviation: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
        self.running_mean += share * (centre - self.running_mean)
        running = self.running_var.sqrt()
        self.running_var.copy_((running + share * (deviation - running)).square())

    def _check_input_dim(self, x: Tensor) -> None:
        if x.dim() != self.dims + 2 and (self.dims, x.dim()) != (1, 2):
            raise ValueError(f"expected {self.dims + 2}D input (got {x.dim()}D input)")

    def extra_repr(self) -> str:
        """Its arguments."""
        return f"{super().extra_repr()}, dims={self.dims}"


def options(norm: nn.Module) -> dict[str, object]:
    """Of a norm what is its kind: the arguments beside those that every norm has."""
    common = {"training", "num_features", "num_channels", "eps", "momentum", "affine", "track_running_stats"}
    return {name: value for name, value in vars(norm).items() if not name.startswith("_") and name not in common}
