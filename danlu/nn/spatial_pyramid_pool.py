"""Spatial pyramid pooling: the maxima of grids of several sizes laid over a map of any size, as one vector of a fixed length.

    y = [max over each of n x n cells, for n in levels],   cell i of n: rows floor(i H / n) to ceil((i + 1) H / n)

Linear layers behind it take images of any size, and still see where something was.

Source: He et al. 2014, https://arxiv.org/abs/1406.4729. The cells are those of its appendix A, which cover every map; the
windows of section 2.3, ceil(H / n) wide and floor(H / n) apart, leave rows out on some (7 rows in 4 cells).
"""

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ._registry import layers


@layers(paper="arxiv:1406.4729")
class SpatialPyramidPool2d(nn.Module):
    """Maxima of n x n cells for each n of `levels`, level after level; within one by channel, row and column.

    Written with slices: in ONNX, adaptive pools exist only for maps that their grid divides.

    Shape: [B, C, H, W] -> [B, C * sum of n^2], for any H and W of at least 1

    Raises: UsageError without levels, or for one below 1.
    """

    def __init__(self, levels: tuple[int, ...] = (4, 2, 1)) -> None:
        super().__init__()
        if not levels or min(levels) < 1:
            raise UsageError(f"SpatialPyramidPool2d takes grid sizes of at least 1, such as (4, 2, 1); got levels={levels!r}")
        self.levels = tuple(levels)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, C, H, W] -> [B, C * sum of n^2]."""
        return torch.cat([grid_maxima(x, n).flatten(1) for n in self.levels], dim=1)

    def extra_repr(self) -> str:
        """Its argument."""
        return f"levels={self.levels}"


def grid_maxima(x: Tensor, n: int) -> Tensor:
    """The maximum of each cell of an n x n grid; cells share a row where it does not divide the map.

    Shape: [B, C, H, W] -> [B, C, n, n]
    """
    height, width = x.shape[2], x.shape[3]
    rows = torch.stack([x[:, :, i * height // n : ((i + 1) * height + n - 1) // n].amax(2) for i in range(n)], dim=2)
    return torch.stack([rows[..., j * width // n : ((j + 1) * width + n - 1) // n].amax(3) for j in range(n)], dim=3)
