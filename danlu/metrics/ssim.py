"""Structural similarity: luminance, contrast and structure of two images compared window by window, as an eye would.

    l = (2 mu_x mu_y + C1) / (mu_x^2 + mu_y^2 + C1),   cs = (2 s_xy + C2) / (s_x^2 + s_y^2 + C2)
    SSIM = mean of l cs,   C1 = (0.01 peak)^2,   C2 = (0.03 peak)^2
    MS-SSIM = (mean of l cs at the last of five scales)^b_5 prod over the others of (mean of cs)^b_j

with means, variances and covariance under a Gaussian window of 11x11 and sigma 1.5, averaged over all windows that lie inside the
image. Each scale is the one before with 2x2 pixels averaged; b = 0.0448, 0.2856, 0.3001, 0.2363, 0.1333.

Source: Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861; Wang et al. 2003, Multiscale structural similarity for image
quality assessment, https://doi.org/10.1109/ACSSC.2003.1292216; the maps over torchmetrics.
Differs: images of more than one channel are the mean over their channels. torchmetrics' own means also hold windows that reach
over the border, where the image is mirrored.
"""

from collections.abc import Iterator

from torch import Tensor
from torch.nn.functional import avg_pool2d
from torchmetrics.functional.image import structural_similarity_index_measure

from ..errors import UsageError
from ._inputs import pixel_pair
from ._registry import metrics

WINDOW = 11
POWERS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


@metrics(kind="image", higher_is_better=True, paper="doi:10.1109/TIP.2003.819861")
def ssim(images: Tensor, references: Tensor, *, peak: float | None = None) -> float:
    """The mean structural similarity. `peak` is the brightest value: 255 for uint8, 1 for floats.

    Shape: both [B, C, H, W] -> float in -1 .. 1
    Raises: UsageError for images that do not fit, or smaller than the window, 11x11.
    """
    ours, theirs = pixel_pair(images, references, peak)
    if min(ours.shape[2:]) < WINDOW:
        raise UsageError(f"ssim: images must be {WINDOW}x{WINDOW} or larger, got {list(ours.shape[2:])}")
    return sum(similarity(image, reference) for image, reference in one_by_one(ours, theirs)) / len(ours)


@metrics(kind="image", higher_is_better=True, paper="doi:10.1109/ACSSC.2003.1292216")
def ms_ssim(images: Tensor, references: Tensor, *, peak: float | None = None) -> float:
    """The structural similarity over five scales; a negative one counts as 0. `peak`: 255 for uint8, 1 for floats.

    Shape: both [B, C, H, W] -> float in 0 .. 1
    Raises: UsageError for images that do not fit, or too small for five scales, 176x176.
    """
    ours, theirs = pixel_pair(images, references, peak)
    smallest = WINDOW * 2 ** (len(POWERS) - 1)
    if min(ours.shape[2:]) < smallest:
        raise UsageError(f"ms_ssim: images must be {smallest}x{smallest} or larger, got {list(ours.shape[2:])}; see ssim")
    total = 0.0
    for image, reference in one_by_one(ours, theirs):
        value = 1.0
        for power in POWERS[:-1]:
            value *= max(contrast_and_structure(image, reference), 0.0) ** power
            image, reference = avg_pool2d(image, 2), avg_pool2d(reference, 2)
        total += value * max(similarity(image, reference), 0.0) ** POWERS[-1]
    return total / len(ours)


def similarity(image: Tensor, reference: Tensor) -> float:
    """The mean of l cs. Shape: both [1, C, H, W]."""
    _, local = structural_similarity_index_measure(image, reference, data_range=1.0, return_full_image=True)
    border = WINDOW // 2
    return float(local[..., border:-border, border:-border].mean())


def contrast_and_structure(image: Tensor, reference: Tensor) -> float:
    """The mean of cs. Shape: both [1, C, H, W]."""
    return float(structural_similarity_index_measure(image, reference, data_range=1.0, return_contrast_sensitivity=True)[1])


def one_by_one(images: Tensor, references: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs [1, C, H, W]: five filtered copies of a whole batch would need much memory.

    In float32, which costs a tenth of the time of float64 and keeps four digits.
    """
    return zip(images.float().split(1), references.float().split(1), strict=True)
