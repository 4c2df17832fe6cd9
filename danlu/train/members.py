"""Networks that answer images, in torch or in onnxruntime, and the mean of their answers.

    p(k) = 1 / (M C) sum_m sum_c softmax(z_m(crop c))_k,   M networks, C crops

Source: averaging over crops and over networks: Krizhevsky et al. 2012, sections 4.1 and 6.1.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..data import Input, Source, Split
from ..data.feed import Normalise
from ..edits._trace import FORWARD_ERRORS
from ..errors import UsageError
from .autotune import Tune
from .crops import Crops

SMALLEST = float(np.finfo(np.float32).tiny)  # a probability of 0 has no logarithm


@dataclass(frozen=True)
class Member:
    """A network that answers images: uint8 [B, H, W, C] of the input's size, or a larger one -> logits float32 [B, K]."""

    name: str
    input: Input
    answer: Callable[[Tensor], np.ndarray]

    def logits(self, source: Source, split: str, crops: Crops, batch_size: int) -> np.ndarray:
        """For one crop the logits, for several the logarithm of their mean probability. Shape: [N, K]."""
        part = self.images(source, split, crops)
        step = max(1, batch_size // crops.count)
        found = [self.judge(part.take(range(i, min(i + step, len(part)))), crops, batch_size) for i in range(0, len(part), step)]
        return np.concatenate(found)

    def images(self, source: Source, split: str, crops: Crops) -> Split:
        """The images of a split at the size that the crops are taken from."""
        size = crops.resized(self.input.size)
        part: Split = getattr(source.with_input(replace(self.input, size=size)), split)
        return part

    def judge(self, images: Tensor, crops: Crops, batch_size: int = 256) -> np.ndarray:
        """One answer an image, at most `batch_size` crops at once. Shape: uint8 [B, H', W', C] -> [B, K]."""
        flat = crops.cut(images, self.input.size).flatten(0, 1)
        logits = np.concatenate([self._checked(part, crops.whole) for part in flat.split(batch_size)])
        return logits if crops.count == 1 else mean_log(logits.reshape(crops.count, len(images), -1))

    def _checked(self, images: Tensor, whole: bool) -> np.ndarray:
        try:
            return self.answer(images)
        except UsageError:
            raise
        except FORWARD_ERRORS as error:
            if not whole:
                raise
            size = "x".join(map(str, images.shape[1:3]))
            raise UsageError(f"{self.name} does not take whole images of {size} ({str(error).splitlines()[0]})") from error


def of_model(name: str, model: nn.Module, input: Input, device: str | torch.device = "cpu") -> Member:
    """A network in torch: fp32, eval mode. `model` stays as it is."""
    tune = Tune("fp32", "channels_last")
    judged = tune.place(copy.deepcopy(model), device).eval()
    normalise: dict[tuple[int, int], Normalise] = {}

    @torch.no_grad()
    def answer(images: Tensor) -> np.ndarray:
        size = (images.shape[1], images.shape[2])
        if size not in normalise:
            normalise[size] = Normalise(replace(input, size=size), torch.float32, tune.channels_last, device)
        logits: np.ndarray = judged(normalise[size](images.to(device))).float().cpu().numpy()
        return logits

    return Member(name, input, answer)


def of_onnx(path: str | Path, threads: int | None = None) -> Member:
    """An exported file in onnxruntime. Raises: UsageError when it is missing or not exported by danlu."""
    from ..deploy import read_metadata, session
    from ..deploy.metadata import metadata_input
    from ..deploy.runtime import normalise

    about = read_metadata(path)
    running, input = session(path, threads=threads), metadata_input(about)

    def answer(images: Tensor) -> np.ndarray:
        pixels = images.permute(0, 3, 1, 2).numpy()
        if pixels.shape[1:] != input.shape:
            raise UsageError(f"{path} takes images of [C, H, W] = {list(input.shape)}, got {list(pixels.shape[1:])}")
        logits: np.ndarray = running.run(["logits"], {"input": normalise(pixels, about)})[0]
        return logits

    return Member(str(path), input, answer)


def combined(logits: Sequence[np.ndarray]) -> np.ndarray:
    """The answer of several; that of one is its own. Shape: [N, K] each -> [N, K]. Raises: UsageError for unlike shapes."""
    shapes = list(dict.fromkeys(one.shape for one in logits))
    if len(shapes) > 1:
        raise UsageError(f"networks answer together when they know the same classes, got {' and '.join(map(str, shapes))}")
    return logits[0] if len(logits) == 1 else mean_log(logits)


def mean_log(logits: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """log(mean of softmax(z)), which softmax turns into the mean of the probabilities again. Shape: [N, K] each -> [N, K]."""
    total = np.zeros(logits[0].shape, np.float64)
    for one in logits:
        powers = np.exp(one.astype(np.float64) - one.max(1, keepdims=True))
        total += powers / powers.sum(1, keepdims=True)
    mean: np.ndarray = np.log(np.maximum(total / len(logits), SMALLEST)).astype(np.float32)
    return mean
