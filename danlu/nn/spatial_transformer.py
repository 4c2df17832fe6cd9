"""Spatial transformer: a small net looks at a map, picks an affine frame, and the map is resampled inside that frame.

    theta = fc(localisation(x)),  theta [2, 3]                      from the map itself
    (u, v) = theta (i, j, 1)      for every output pixel (i, j), coordinates from -1 to 1
    y(i, j) = sum_mn x(m, n) max(0, 1 - |v - m|) max(0, 1 - |u - n|)        bilinear, in pixels; zero outside

Every step has a gradient, so the frame is learned from the loss of whatever comes behind. It starts as the identity.

Source: Jaderberg et al. 2015, https://arxiv.org/abs/1506.02025, section 3 and the localisation net of its MNIST experiments.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UsageError
from ._registry import layers

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
KERNEL = 5
SMALLEST = 28  # (28 / 2 - 4) / 2 - 4 leaves one pixel for the linear layer


@layers(paper="arxiv:1506.02025")
class SpatialTransformer(nn.Module):
    """Affine frame by a localisation net of two 5x5 convolutions of `maps` on the halved map, then `hidden` units.

    `size` is the height and width of the input, which the linear layer fixes.

    Shape: [B, in_channels, size, size] -> the same

    Raises: UsageError for counts below 1 and for a size below 28, of which the localisation net leaves nothing.
    """

    def __init__(self, in_channels: int, size: int, *, maps: int = 20, hidden: int = 20) -> None:
        super().__init__()
        if min(in_channels, maps, hidden) < 1 or size < SMALLEST:
            got = f"in_channels={in_channels}, size={size}, maps={maps}, hidden={hidden}"
            raise UsageError(f"SpatialTransformer takes counts of at least 1 and a size of at least {SMALLEST}, got {got}")
        self.in_channels, self.size, self.maps, self.hidden = in_channels, size, maps, hidden
        side = (size // 2 - KERNEL + 1) // 2 - KERNEL + 1
        self.theta = nn.Linear(hidden, len(IDENTITY))
        self.localisation = nn.Sequential(
            nn.AvgPool2d(2),
            nn.Conv2d(in_channels, maps, KERNEL),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(maps, maps, KERNEL),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(maps * side * side, hidden),
            nn.ReLU(),
        )
        self.reset_frame()

    @torch.no_grad()
    def reset_frame(self) -> None:
        """Make it the identity again, whatever the input: zero weights, the identity as bias."""
        self.theta.weight.zero_()
        self.theta.bias.copy_(torch.tensor(IDENTITY))

    def frame(self, x: Tensor) -> Tensor:
        """The frame of each image: [B, C, H, W] -> [B, 2, 3], output coordinates to input coordinates in [-1, 1]."""
        return self.theta(self.localisation(x)).unflatten(1, (2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, C, H, W] -> [B, C, H, W]."""
        grid = F.affine_grid(self.frame(x), [x.shape[0], x.shape[1], x.shape[2], x.shape[3]], align_corners=False)
        return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    def extra_repr(self) -> str:
        """Its arguments."""
        return f"{self.in_channels}, {self.size}, maps={self.maps}, hidden={self.hidden}"
