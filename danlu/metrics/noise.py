"""Signal to noise: how small the difference between an image and its reference is, in decibels.

    SNR  = 10 lg(sum f^2 / sum (f - g)^2)
    PSNR = 10 lg(peak^2 / MSE),   MSE = mean (f - g)^2

of each image g with its reference f, then the mean over the images; equal ones give infinity. A PSNR above 35 dB is usually
good.

Source: Gonzalez and Woods 2018, Digital Image Processing, 4th edition, section 8.1; Huynh-Thu and Ghanbari 2008, Scope of
validity of PSNR in image/video quality assessment, https://doi.org/10.1049/el:20080522.
Differs: an image at a time; torchmetrics takes one MSE over the whole batch, which weighs the images by their noise.
"""

import torch
from torch import Tensor

from ..errors import UsageError
from ._inputs import pixel_pair
from ._registry import metrics


@metrics(kind="image", higher_is_better=True, paper="doi:10.1049/el:20080522")
def snr(images: Tensor, references: Tensor, *, peak: float | None = None) -> float:
    """The power of the signal over that of the noise. `peak` is the brightest value: 255 for uint8, 1 for floats.

    Shape: both [B, C, H, W] -> float in dB
    Raises: UsageError for images that do not fit, and a reference that is black all over.
    """
    ours, theirs = pixel_pair(images, references, peak)
    signal = theirs.square().flatten(1).sum(1)
    if not bool(signal.all()):
        raise UsageError("snr: a reference is black all over, so there is no signal")
    return float((10 * torch.log10(signal / (ours - theirs).square().flatten(1).sum(1))).mean())


@metrics(kind="image", higher_is_better=True, paper="doi:10.1049/el:20080522")
def psnr(images: Tensor, references: Tensor, *, peak: float | None = None) -> float:
    """The square of the brightest value over the mean squared error. `peak` is that value: 255 for uint8, 1 for floats.

    Shape: both [B, C, H, W] -> float in dB
    Raises: UsageError for images that do not fit.
    """
    ours, theirs = pixel_pair(images, references, peak)
    return float((-10 * torch.log10((ours - theirs).square().flatten(1).mean(1))).mean())
