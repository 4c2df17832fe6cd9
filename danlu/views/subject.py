"""What a view looks at: a network in eval mode, and some labelled images as they come from the file."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..data import Input, Source
from ..data.feed import Normalise
from ..data.layout import SPLITS
from ..edits._trace import FORWARD_ERRORS
from ..errors import UsageError, unknown
from ..tasks import classify

BATCH = 256


@dataclass(frozen=True)
class Subject:
    """Shape: pixels uint8 [N, H, W, C], labels int64 [N]. `seed` is that of every random choice a view makes."""

    model: nn.Module
    pixels: Tensor
    labels: Tensor
    input: Input
    classes: Sequence[str]
    seed: int = 0
    device: str | torch.device = "cpu"

    @classmethod
    def of(
        cls, model: nn.Module, source: Source, *, split: str = "test", images: int = 500, seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> "Subject":  # fmt: skip
        """A copy of `model` and `images` random images of a split, all of them where there are no more.

        Raises: UsageError for another split, no images, or a model that does not take them or give one logit per class.
        """
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        if images < 1:
            raise UsageError(f"a view needs at least 1 image, got {images}")
        part = getattr(source, split)
        chosen = np.sort(np.random.default_rng(seed).permutation(len(part))[:images])
        private = copy.deepcopy(model).to(device).eval()
        labels = torch.from_numpy(part.labels[chosen]).long().to(device)
        subject = cls(private, part.take(chosen).to(device), labels, source.input, source.classes, seed, device)
        try:
            first = subject.logits(subject.normalised(subject.pixels[:1]))
        except FORWARD_ERRORS as error:
            size = list(source.input.shape)
            raise UsageError(f"the network does not take images of [C, H, W] = {size} ({str(error).splitlines()[0]})") from error
        classify(source.classes).check(first)
        return subject

    def normalised(self, pixels: Tensor) -> Tensor:
        """What the network is fed. Shape: [B, H, W, C] -> float32 [B, C, H, W]."""
        return Normalise(self.input, torch.float32, False, self.device)(pixels)

    @property
    def x(self) -> Tensor:
        """All images as the network is fed them. Shape: [N, C, H, W]."""
        return self.normalised(self.pixels)

    @torch.no_grad()
    def logits(self, x: Tensor, model: nn.Module | None = None) -> Tensor:
        """The answers, some images at a time. Shape: [B, C, H, W] -> [B, K]."""
        return torch.cat([(model or self.model)(part) for part in x.split(BATCH)])

    def accuracy(self, logits: Tensor) -> float:
        """Share of the images that are answered right. Shape: [N, K]."""
        return float((logits.argmax(1) == self.labels).double().mean())

    def generator(self) -> torch.Generator:
        """Random numbers of the seed, on the CPU, so that they do not depend on the device."""
        return torch.Generator().manual_seed(self.seed)
