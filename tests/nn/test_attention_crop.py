"""The soft crop: its mask and its zoom against plain crops, its gradient against finite differences and by what it is for."""

import math

import pytest
import torch
from torch import fx, nn

from danlu.errors import UsageError
from danlu.nn import AttentionCrop
from danlu.nn.attention_crop import boxcar


def test_mask_is_the_formula_at_every_pixel() -> None:
    mask = boxcar(torch.tensor([[0.45, 0.6, 0.5]]), 6, 9, k=2.0)
    assert mask.shape == (1, 1, 6, 9)

    def h(t: float) -> float:
        return 1 / (1 + math.exp(-2.0 * t))

    for row in range(6):
        for column in range(9):
            across = h(column + 0.5 - 0.2 * 9) - h(column + 0.5 - 0.7 * 9)
            down = h(row + 0.5 - 0.35 * 6) - h(row + 0.5 - 0.85 * 6)
            assert mask[0, 0, row, column].item() == pytest.approx(across * down, abs=1e-5)


def test_a_box_of_whole_pixels_is_a_plain_crop() -> None:
    x = torch.randn(2, 3, 16, 16)
    box = torch.tensor([[6 / 16, 9 / 16, 0.5], [0.5, 0.5, 0.5]])  # pixels 2 to 9 by 5 to 12, and 4 to 11
    y = AttentionCrop(8, k=50.0)(x, box)
    torch.testing.assert_close(y[0], x[0, :, 5:13, 2:10], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(y[1], x[1, :, 4:12, 4:12], rtol=1e-4, atol=1e-4)


def test_zoom_of_a_box_is_that_of_torch() -> None:
    x = torch.randn(1, 2, 16, 16)
    x[:, :, :4] = x[:, :, 12:] = 0  # so that neither the mask nor what lies beyond the box weighs at its edges
    x[:, :, :, :4] = x[:, :, :, 12:] = 0
    y = AttentionCrop(20, k=50.0)(x, torch.tensor([[0.5, 0.5, 10 / 16]]))
    expected = nn.functional.interpolate(x[:, :, 3:13, 3:13], size=20, mode="bilinear", align_corners=False)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)


def test_gradient_in_image_and_box() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 1, 7, 7, dtype=torch.double, requires_grad=True)
    box = torch.tensor([[0.46, 0.53, 0.61], [0.57, 0.41, 0.52]], dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(AttentionCrop(5, k=2.0), (x, box))


def test_the_box_moves_to_what_the_loss_wants() -> None:
    x = torch.zeros(1, 1, 32, 32)
    x[:, :, 6:14, 18:26] = 1  # its centre is at 22 / 32, 10 / 32
    box = torch.tensor([[0.5, 0.5, 0.5]], requires_grad=True)
    crop = AttentionCrop(16)
    optimizer = torch.optim.Adam([box], lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        (-crop(x, box).mean()).backward()
        optimizer.step()
    assert box[0, 0].item() == pytest.approx(22 / 32, abs=0.08)
    assert box[0, 1].item() == pytest.approx(10 / 32, abs=0.08)
    assert box[0, 2].item() < 0.35


def test_traces_and_says_its_arguments() -> None:
    crop = AttentionCrop(6, k=3)
    x, box = torch.randn(2, 3, 9, 11), torch.tensor([[0.5, 0.4, 0.6], [0.3, 0.7, 0.5]])
    assert torch.equal(fx.symbolic_trace(crop)(x, box), crop(x, box))
    assert crop(x, box).shape == (2, 3, 6, 6)
    assert "6, k=3" in repr(crop)
    for size, k in [(0, 10.0), (4, 0.0), (4, -1.0), (4, float("nan"))]:
        with pytest.raises(UsageError, match="size of at least 1"):
            AttentionCrop(size, k=k)
