"""Backdrop: everything is seen on the way forward, and a random part is forgotten on the way back.

    forward    y = x
    backward   dL/dx = m n / sum m * dL/dy,   m = 0 with probability `rate`, else 1; n is how many m there are

with one m for each image, or for each place of each map. The layers in front learn from the part that is left, the loss is that
of all images: dropout along the backward pass alone. Where everything would be dropped, one is kept. Several places multiply;
a pattern that names one or two of them is what the authors use: at="layer3.0".

Source: Golkar and Cranmer 2018, https://arxiv.org/abs/1806.01337, and their https://github.com/golkar/backdrop.
"""

from functools import partial
from typing import Literal

import torch
from torch import Tensor

from ...errors import UsageError
from ._places import Inserted, check_rate
from ._registry import regularizers


@regularizers(paper="arxiv:1806.01337")
def backdrop(*, rate: float = 0.5, per: Literal["image", "pixel"] = "image", at: str = "last") -> Inserted:
    """Drop part of the gradient at random in front of the "last" layer, the "linear" or "conv" layers, "all", or a pattern.

    `per` image, or per pixel of the maps there: [B, C, H, W] has B or B H W masks; per pixel [B, C] has B.

    Raises: UsageError unless 0 < rate < 1, for another `per`, and for a place that the net does not have.
    """
    check_rate("backdrop", rate)
    if per not in ("image", "pixel"):
        raise UsageError(f"backdrop: gradients are dropped per 'image' or per 'pixel', got per={per!r}")
    return Inserted("backdrop", at, partial(back_dropped, rate=rate, per=per))


def back_dropped(x: Tensor, rate: float, per: str) -> Tensor:
    """`x` itself, through which only a part of the gradient comes back. Shape: [B, C, ...] -> the same."""
    if not x.requires_grad:
        return x
    shape = [len(x)] + [1 if per == "image" or d == 1 else size for d, size in enumerate(x.shape) if d]
    draws = torch.rand(shape, device=x.device)
    kept = (draws <= draws.min().clamp_min(1 - rate)).to(x.dtype)  # the lowest is kept where none is low enough
    mask = kept * (kept.numel() / kept.sum())
    y = x.clone()  # a tensor of its own: what else reads x gets the whole gradient back
    y.register_hook(lambda gradient: gradient * mask)
    return y
