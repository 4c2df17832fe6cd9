"""Where mixings register: `@mixings(paper="arxiv:...")` on a function `name(*, options...) -> Mixing`.

A mixing changes a batch of training images and its targets after augmentation and normalisation: images are blended, cut or
covered, labels are blended or replaced. It works on tensors, and its random numbers come from `generator` alone, so that a
resumed training sees the same ones.

A training names them as a chain: mix="mixup(alpha=0.2) | cutout(size=8)".
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ...registry import Registry

Mixing = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""(x [B, C, H, W], targets float [B, K], generator on the CPU) -> the same, changed; the rows of the targets sum to 1."""

mixings: Registry[Callable[..., Mixing]] = Registry("mixing")
