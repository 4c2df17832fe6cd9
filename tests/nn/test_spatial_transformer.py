"""The spatial transformer: its resampling against loops over pixels, its start, what its gradient is good for."""

import math

import pytest
import torch
from torch import Tensor, fx

from danlu.errors import UsageError
from danlu.nn import SpatialTransformer


def resampled(x: Tensor, theta: Tensor) -> Tensor:
    """Bilinear resampling of one map [C, H, W] in the frame theta [2, 3], pixel by pixel; zero outside."""
    _, height, width = x.shape
    y = torch.zeros_like(x)
    for i in range(height):
        for j in range(width):
            at = torch.tensor([(2 * j + 1) / width - 1, (2 * i + 1) / height - 1, 1.0], dtype=x.dtype)
            u, v = (theta @ at).tolist()
            column, row = ((u + 1) * width - 1) / 2, ((v + 1) * height - 1) / 2
            for m in range(height):
                for n in range(width):
                    if abs(row - m) < 1 and abs(column - n) < 1:
                        y[:, i, j] += x[:, m, n] * (1 - abs(row - m)) * (1 - abs(column - n))
    return y


def moved(theta: list[float], size: int = 28, channels: int = 1) -> SpatialTransformer:
    """A transformer whose frame is this one for every image."""
    layer = SpatialTransformer(channels, size, maps=2, hidden=3)
    with torch.no_grad():
        layer.theta.bias.copy_(torch.tensor(theta))
    return layer


def test_it_starts_as_the_identity() -> None:
    x = torch.randn(2, 3, 29, 29)
    torch.testing.assert_close(SpatialTransformer(3, 29)(x), x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("theta", [[0.6, -0.3, 0.1, 0.25, 0.8, -0.2], [1.2, 0.0, 0.4, 0.0, 0.9, 0.3]])
def test_resampling_is_that_of_a_loop_over_pixels(theta: list[float]) -> None:
    layer = moved(theta).double()
    x = torch.zeros(1, 1, 28, 28, dtype=torch.double)
    x[:, :, 9:18, 8:20] = torch.randn(1, 1, 9, 12, dtype=torch.double)
    expected = resampled(x[0], torch.tensor(theta, dtype=torch.double).view(2, 3))
    torch.testing.assert_close(layer(x)[0], expected, rtol=1e-5, atol=1e-6)


def test_a_quarter_turn_and_a_shift_move_whole_pixels() -> None:
    x = torch.randn(2, 1, 28, 28)
    angle = math.pi / 2
    turn = [math.cos(angle), -math.sin(angle), 0.0, math.sin(angle), math.cos(angle), 0.0]
    torch.testing.assert_close(moved(turn)(x), x.rot90(1, (2, 3)), rtol=1e-4, atol=1e-4)
    shifted = moved([1.0, 0.0, 2 * 3 / 28, 0.0, 1.0, 0.0])(x)  # 3 pixels to the left, in units of half the width
    torch.testing.assert_close(shifted[..., :25], x[..., 3:], rtol=1e-4, atol=1e-4)
    assert shifted[..., 25:].abs().max() < 1e-4


def test_each_image_has_its_own_frame() -> None:
    torch.manual_seed(0)
    layer = SpatialTransformer(1, 28, maps=4, hidden=5)
    torch.nn.init.normal_(layer.theta.weight)
    x = torch.randn(3, 1, 28, 28)
    frames = layer.frame(x)
    assert frames.shape == (3, 2, 3)
    assert (frames[0] - frames[1]).abs().max() > 1e-3
    torch.testing.assert_close(layer(x)[1:2], layer(x[1:2]), rtol=1e-4, atol=1e-4)
    layer.reset_frame()
    torch.testing.assert_close(layer.frame(x), torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(3, 2, 3))


def test_it_learns_to_centre_a_square() -> None:
    """Squares drawn at random places, their distance to one drawn in the middle as the loss: the frame must follow them."""
    torch.manual_seed(0)
    x = torch.zeros(64, 1, 28, 28)
    for image, (row, column) in zip(x, torch.randint(5, 15, (64, 2)).tolist(), strict=True):
        image[:, row : row + 8, column : column + 8] = 1
    wanted = torch.zeros(1, 1, 28, 28)
    wanted[:, :, 10:18, 10:18] = 1
    layer = SpatialTransformer(1, 28, maps=4, hidden=16)
    optimizer = torch.optim.Adam(layer.parameters(), lr=3e-3)
    losses = []
    for _ in range(150):
        loss = (layer(x) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3


def test_traces_and_says_its_arguments() -> None:
    layer = SpatialTransformer(2, 30, maps=3, hidden=4)
    torch.nn.init.normal_(layer.theta.weight, std=0.1)
    x = torch.randn(2, 2, 30, 30)
    assert torch.equal(fx.symbolic_trace(layer)(x), layer(x))
    assert "2, 30, maps=3, hidden=4" in repr(layer)


@pytest.mark.parametrize("options", [{"size": 27}, {"in_channels": 0}, {"maps": 0}, {"hidden": 0}])
def test_nonsense_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="size of at least 28, got"):
        SpatialTransformer(**{"in_channels": 1, "size": 28, **options})
