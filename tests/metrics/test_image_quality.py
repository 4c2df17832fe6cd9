"""SNR, PSNR, SSIM, MS-SSIM and CPBD against closed forms and loops over windows, rows and pixels."""

import math
import sys

import numpy as np
import pytest
import torch

from danlu.errors import UsageError
from danlu.metrics import cpbd, ms_ssim, psnr, snr, ssim


def pictures(size: int = 40, channels: int = 1, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth references and noisy copies, 0 .. 1."""
    draws = torch.Generator().manual_seed(0)
    coarse = torch.rand(batch, channels, size // 8, size // 8, generator=draws)
    clean = torch.nn.functional.interpolate(coarse, size, mode="bilinear", align_corners=False)
    return (clean + 0.1 * torch.rand(clean.shape, generator=draws)).clamp(0, 1), clean


def test_snr_and_psnr_by_closed_form() -> None:
    flat = torch.full((1, 1, 4, 4), 0.5)
    assert psnr(flat + 0.1, flat) == pytest.approx(20.0, abs=1e-5)
    assert snr(flat + 0.05, flat) == pytest.approx(20.0, abs=1e-5)
    grey = torch.full((1, 1, 4, 4), 100, dtype=torch.uint8)
    assert psnr(grey + 1, grey) == pytest.approx(48.1308, abs=1e-4)  # one grey level: 20 lg 255
    assert snr(grey + 1, grey) == pytest.approx(40.0)
    assert psnr(grey, grey) == snr(grey, grey) == math.inf


def test_snr_and_psnr_are_means_over_images() -> None:
    images, references = pictures(channels=3)
    each = [(a.double().numpy(), b.double().numpy()) for a, b in zip(images, references, strict=True)]
    assert psnr(images, references) == pytest.approx(np.mean([-10 * np.log10(((a - b) ** 2).mean()) for a, b in each]))
    powers = [(b**2).sum() / ((a - b) ** 2).sum() for a, b in each]
    assert snr(images, references) == pytest.approx(np.mean(10 * np.log10(powers)))


def window_terms(image: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """(mean SSIM, mean of contrast and structure) over all 11x11 windows inside, by a loop in float64."""
    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(taps, taps) / taps.sum() ** 2
    whole, structure = [], []
    for row, col in np.ndindex(image.shape[0] - 10, image.shape[1] - 10):
        x, y = (values[row : row + 11, col : col + 11] for values in (image, reference))
        mx, my = (window * x).sum(), (window * y).sum()
        vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
        shared = (window * (x - mx) * (y - my)).sum()
        structure.append((2 * shared + 0.03**2) / (vx + vy + 0.03**2))
        whole.append((2 * mx * my + 0.01**2) / (mx**2 + my**2 + 0.01**2) * structure[-1])
    return float(np.mean(whole)), float(np.mean(structure))


def test_ssim_against_a_loop_over_windows() -> None:
    images, references = pictures(24, channels=2, batch=1)
    expected = np.mean(
        [window_terms(a, b)[0] for a, b in zip(images[0].double().numpy(), references[0].double().numpy(), strict=True)]
    )
    assert ssim(images, references) == pytest.approx(float(expected), abs=2e-5)
    assert ssim(255 * images, 255 * references, peak=255) == pytest.approx(float(expected), abs=2e-5)
    assert ssim(references, references) == pytest.approx(1.0)


def test_ms_ssim_against_all_windows_of_five_scales() -> None:
    images, references = pictures(192, batch=1)
    images, references = (0.7 * images + 0.1).roll(3, 3)[..., :176], references[..., :176]  # other light, other places
    x, y = images[0, 0].double(), references[0, 0].double()
    value = 1.0
    for scale, power in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        whole, structure = fast_terms(x, y)
        value *= (whole if scale == 4 else structure) ** power
        x, y = (torch.nn.functional.avg_pool2d(values[None, None], 2)[0, 0] for values in (x, y))
    assert ms_ssim(images, references) == pytest.approx(value, abs=2e-5)
    assert ms_ssim(references, references) == pytest.approx(1.0)


def fast_terms(image: torch.Tensor, reference: torch.Tensor) -> tuple[float, float]:
    """`window_terms` over all windows at once; held to it below."""
    taps = torch.exp(-(torch.arange(-5, 6).double() ** 2) / (2 * 1.5**2))
    window = torch.outer(taps, taps) / taps.sum() ** 2
    x, y = (values.unfold(0, 11, 1).unfold(1, 11, 1) for values in (image, reference))
    mx, my = ((window * values).sum((2, 3)) for values in (x, y))
    dx, dy = x - mx[..., None, None], y - my[..., None, None]
    vx, vy, shared = ((window * a * b).sum((2, 3)) for a, b in ((dx, dx), (dy, dy), (dx, dy)))
    structure = (2 * shared + 0.03**2) / (vx + vy + 0.03**2)
    return float(((2 * mx * my + 0.01**2) / (mx**2 + my**2 + 0.01**2) * structure).mean()), float(structure.mean())


def test_fast_terms_are_those_of_the_loop() -> None:
    images, references = pictures(16)
    x, y = images[0, 0].double(), references[0, 0].double()
    assert fast_terms(x, y) == pytest.approx(window_terms(x.numpy(), y.numpy()))


def loop_cpbd(image: np.ndarray) -> float:
    """CPBD pixel by pixel, with the probabilities of blur written out."""
    height, width = image.shape
    padded = np.pad(image, 1, mode="edge")
    strength = np.zeros_like(image)
    for row, col in np.ndindex(height, width):
        part = padded[row : row + 3, col : col + 3]
        strength[row, col] = (((part[:, 2] - part[:, 0]) * [1, 2, 1]).sum() / 8) ** 2
    cutoff = 4 * strength.mean()
    down, along = np.gradient(image)
    found = np.zeros(image.shape, bool)
    widths = np.zeros(image.shape, int)
    for row in range(1, height - 1):
        for col in range(1, width - 1):
            here = strength[row, col]
            if not (here > cutoff and strength[row, col - 1] <= here > strength[row, col + 1]):
                continue
            found[row, col] = True
            angle = math.degrees(math.atan2(down[row, col], along[row, col]))
            if 22.5 < abs(angle) < 157.5:
                continue
            sign = 1 if along[row, col] > 0 else -1
            left = col - 1
            while left > 0 and sign * (image[row, left] - image[row, left - 1]) > 0 and col - left < 101:
                left -= 1
            right = col + 1
            while right < width - 1 and sign * (image[row, right + 1] - image[row, right]) > 0 and right - col < 101:
                right += 1
            widths[row, col] = right - left
    blurred = []
    for top in range(0, height - 63, 64):
        for start in range(0, width - 63, 64):
            rows, cols = slice(top, top + 64), slice(start, start + 64)
            if found[rows, cols].sum() > 0.002 * 64 * 64:
                noticed = 5 if int(image[rows, cols].max() - image[rows, cols].min()) <= 50 else 3
                inside = widths[rows, cols]
                blurred += list(1 - np.exp(-((inside[inside > 0] / noticed) ** 3.6)))
    return float(np.mean([round(p, 2) <= 0.63 for p in blurred])) if blurred else 0.0


@pytest.mark.parametrize("contrast", [200, 45])
def test_cpbd_against_a_loop_over_pixels(contrast: int) -> None:
    rng = np.random.default_rng(contrast)
    blocks = np.kron(rng.integers(0, contrast + 1, (9, 17)), np.ones((8, 8)))
    smooth = torch.nn.functional.avg_pool2d(torch.tensor(blocks)[None, None], (1, 5), 1, (0, 2), count_include_pad=False)
    image = np.where(np.arange(136) < 68, blocks, smooth[0, 0].numpy()) + rng.normal(0, 0.4, (72, 136))
    image = image.clip(0, 255)
    expected = loop_cpbd(image)
    assert 0.1 < expected < 0.9
    assert cpbd(image[None, None], peak=255) == pytest.approx(expected)


def test_cpbd_of_ramps() -> None:
    """Edges of known width: in blocks of high contrast 3 pixels are sharp, 4 are not; in blocks of low contrast 5 and 6."""
    col = torch.arange(128)
    for contrast, noticed in ((200.0, 3), (40.0, 5)):
        for width in range(2, 8):
            ramp = ((col - 30) / width).clamp(0, 1) * contrast
            image = ramp.expand(1, 1, 64, 128)
            assert cpbd(image, peak=255) == (1.0 if width <= noticed else 0.0), (contrast, width)


def test_cpbd_falls_with_blur() -> None:
    draws = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 16, 16, generator=draws).repeat_interleave(8, 2).repeat_interleave(8, 3)
    values = []
    for size in (1, 3, 5, 7):
        values.append(cpbd(torch.nn.functional.avg_pool2d(image, size, 1, size // 2, count_include_pad=False)))
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.95
    assert values[-1] < 0.1


def test_cpbd_without_edges_and_in_colour() -> None:
    assert cpbd(torch.full((1, 1, 64, 64), 0.5)) == 0.0
    step = (torch.arange(128) >= 70).float().expand(1, 1, 64, 128)
    assert cpbd(step) == cpbd(step.expand(1, 3, 64, 128)) == cpbd((255 * step).byte()) == 1.0


def test_runs() -> None:
    runs = sys.modules["danlu.metrics.cpbd"].runs
    assert runs(torch.tensor([[True, True, False, True]])).tolist() == [[2, 1, 0, 1]]


def test_refusals() -> None:
    images, references = pictures()
    with pytest.raises(UsageError, match="peak=255"):
        psnr(255 * images, 255 * references)
    with pytest.raises(UsageError, match="differ in shape"):
        psnr(images, references[:, :, 1:])
    with pytest.raises(UsageError, match=r"\[B, C, H, W\]"):
        ssim(images[0], references[0])
    with pytest.raises(UsageError, match="uint8 or float"):
        psnr(images.long(), references.long())
    with pytest.raises(UsageError, match="black"):
        snr(images, 0 * references)
    with pytest.raises(UsageError, match="11x11"):
        ssim(images[..., :8, :8], references[..., :8, :8])
    with pytest.raises(UsageError, match="176x176"):
        ms_ssim(images, references)
    with pytest.raises(UsageError, match="64x64"):
        cpbd(images)
    with pytest.raises(UsageError, match="grey or RGB"):
        cpbd(torch.zeros(1, 2, 64, 64))
