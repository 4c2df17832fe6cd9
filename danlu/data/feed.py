"""Batches for training and evaluation: gathered, augmented and normalised as tensors, the same ones for the same seed."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError
from .augment import Augment
from .source import Split
from .spec import LEVELS, Input

READ_AHEAD = 3  # batches, when images are decoded on the way


def batches(
    split: Split,
    input: Input,
    batch_size: int,
    *,
    shuffle: bool = False,
    augment: Augment | None = None,
    seed: int = 0,
    epoch: int = 0,
    start: int = 0,
    drop_last: bool = False,
    dtype: torch.dtype = torch.float32,
    channels_last: bool = True,
    device: str | torch.device = "cpu",
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of (x, y).

        x = (pixel / 255 - mean) / std,         or with a curve (curve[pixel] - mean) / std

    The order depends on (seed, epoch), the augmentation on (seed, epoch, number of the batch): an epoch that is resumed at
    batch `start` goes on exactly as if it had not been interrupted. A set that streams is decoded some batches ahead.
    Shape: x `dtype` [B, C, H, W], y int64 [B]; the last batch may be smaller, unless `drop_last`.
    Raises UsageError when `input` is not what the split holds (see `Source.at`).
    """
    if batch_size < 1 or start < 0 or seed < 0 or epoch < 0:
        raise UsageError(f"batch_size must be from 1 and start, seed, epoch from 0, got {batch_size}, {start}, {seed}, {epoch}")
    if input.shape != split.input.shape:
        raise UsageError(
            f"the images are {split.input.shape} (C, H, W), the input asked for is {input.shape}; use source.at(size)"
        )
    n = len(split)
    order = np.random.default_rng([seed, epoch, 0]).permutation(n) if shuffle else np.arange(n)
    count = n // batch_size if drop_last else -(-n // batch_size)
    normalise = Normalise(input, dtype, channels_last, device)

    def finish(number: int, images: Tensor, index: np.ndarray) -> tuple[Tensor, Tensor]:
        images = images.to(device, non_blocking=True)
        if augment is not None:
            images = augment(images, np.random.default_rng([seed, epoch, 1, number]))
        return normalise(images), torch.from_numpy(split.labels[index]).to(device, non_blocking=True)

    def rows(number: int) -> np.ndarray:
        return order[number * batch_size : (number + 1) * batch_size]

    def run() -> Iterator[tuple[Tensor, Tensor]]:
        for number, images in _gathered(split, rows, range(start, count)):
            yield finish(number, images, rows(number))

    return run()


class Normalise:
    """uint8 [B, H, W, C] to normalised [B, C, H, W], as one multiply-add per value: x = pixel * scale + shift.

    Scale and shift are laid out for a whole image, so that the operation runs over long contiguous rows. With a curve, one
    look-up per value: the 256 levels of each channel lie one behind the other in `_table`.
    """

    _table: Tensor | None = None

    def __init__(self, input: Input, dtype: torch.dtype, channels_last: bool, device: str | torch.device) -> None:
        mean = np.asarray(input.mean, np.float64)
        std = np.asarray(input.std, np.float64)
        pixels = input.size[0] * input.size[1]
        self._scale = torch.from_numpy(np.tile(1 / (255 * std), pixels)).to(device, torch.float32)
        self._shift = torch.from_numpy(np.tile(-mean / std, pixels)).to(device, torch.float32)
        if input.curve:
            self._table = torch.from_numpy(input.table().ravel()).to(device, torch.float32)
            self._first = torch.arange(0, LEVELS * input.channels, LEVELS, device=device, dtype=torch.int32)
        self._dtype = dtype
        self._channels_last = channels_last

    def __call__(self, images: Tensor) -> Tensor:
        if self._table is not None:
            values = self._table[images.to(torch.int32) + self._first]
        else:
            flat = images.reshape(len(images), -1).to(torch.float32)
            values = torch.addcmul(self._shift, flat, self._scale).view(images.shape)
        x = values.to(self._dtype).permute(0, 3, 1, 2)
        return x.contiguous(memory_format=torch.channels_last if self._channels_last else torch.contiguous_format)


def _gathered(split: Split, rows: Callable[[int], np.ndarray], numbers: range) -> Iterator[tuple[int, Tensor]]:
    """The raw images of each batch, uint8 [B, H, W, C]; read ahead by a thread where they are decoded on the way."""
    if not split.streams:
        for number in numbers:
            yield number, split.take(rows(number))
        return
    ahead: deque[tuple[int, Future[Tensor]]] = deque()
    reader = ThreadPoolExecutor(1, thread_name_prefix="danlu-ahead")
    try:
        for number in numbers:
            ahead.append((number, reader.submit(split.take, rows(number))))
            if len(ahead) > READ_AHEAD:
                ready, images = ahead.popleft()
                yield ready, images.result()
        while ahead:
            ready, images = ahead.popleft()
            yield ready, images.result()
    finally:
        reader.shutdown(wait=True, cancel_futures=True)
