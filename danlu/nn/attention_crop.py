"""Crop with a gradient: a soft box is cut out of the image and zoomed to a fixed size; its place and side can be learned.

    mask(u, v) = [h(u - u0) - h(u - u1)] [h(v - v0) - h(v - v1)],   h(t) = 1 / (1 + exp(-k t)),   u, v in pixels
    y = zoom(x mask, box)          bilinear, from the box [u0, u1] x [v0, v1] to size x size

A hard crop has no gradient in its box. The boxcar has one at its edges: pixels that the loss wants pull the edge over them.

Source: Fu et al. 2017, Look closer to see better, https://doi.org/10.1109/CVPR.2017.476, section 3.2, k = 10.
Differs: the zoom is a grid sampling whose own gradient in the box is kept beside that of the mask.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UsageError
from ._registry import layers


def boxcar(box: Tensor, height: int, width: int, k: float = 10.0) -> Tensor:
    """The soft mask of boxes given as shares of the image: centre x, centre y, side.

    Shape: [B, 3] -> [B, 1, height, width], near 1 inside the box and near 0 outside.
    """
    x, y, half = box[:, 0:1], box[:, 1:2], box[:, 2:3] / 2
    across = _between(_centres(width, box), (x - half) * width, (x + half) * width, k)
    down = _between(_centres(height, box), (y - half) * height, (y + half) * height, k)
    return (down[:, :, None] * across[:, None, :]).unsqueeze(1)


def _between(t: Tensor, low: Tensor, high: Tensor, k: float) -> Tensor:
    return torch.sigmoid(k * (t - low)) - torch.sigmoid(k * (t - high))


def _centres(count: int, like: Tensor) -> Tensor:
    """0.5, 1.5, ..., count - 0.5. A sum over ones, because torch.fx cannot follow an arange on the device of a traced tensor."""
    return like.new_ones(count).cumsum(0) - 0.5


@layers(paper="doi:10.1109/CVPR.2017.476")
class AttentionCrop(nn.Module):
    """Zoom of a soft box to `size` x `size`. `k` is the steepness of its edges, per pixel.

    Shape: image [B, C, H, W], box [B, 3] (centre x, centre y, side, as shares of the image) -> [B, C, size, size]
    """

    def __init__(self, size: int, *, k: float = 10.0) -> None:
        super().__init__()
        if size < 1 or not k > 0:
            raise UsageError(f"AttentionCrop takes a size of at least 1 and a steepness k above 0, got size={size}, k={k}")
        self.size, self.k = size, k

    def forward(self, x: Tensor, box: Tensor) -> Tensor:
        """Shape: [B, C, H, W], [B, 3] -> [B, C, size, size]."""
        masked = x * boxcar(box, x.shape[2], x.shape[3], self.k)
        # Output pixels from -1 to 1, then into the box; grid_sample has the image from -1 to 1.
        steps = _centres(self.size, box) * (2 / self.size) - 1
        u = 2 * box[:, 0:1] - 1 + box[:, 2:3] * steps
        v = 2 * box[:, 1:2] - 1 + box[:, 2:3] * steps
        grid = torch.stack([u[:, None, :].expand(-1, self.size, -1), v[:, :, None].expand(-1, -1, self.size)], dim=3)
        return F.grid_sample(masked, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    def extra_repr(self) -> str:
        """Its arguments."""
        return f"{self.size}, k={self.k:g}"
