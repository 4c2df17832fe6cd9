"""What metrics take: NumPy arrays, tensors or lists, checked once and brought to one form."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError


def tensor(values: Any, what: str) -> Tensor:
    """`values` as a tensor without a gradient. Raises: UsageError for what holds no numbers."""
    if isinstance(values, Tensor):
        return values.detach()
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise UsageError(f"{what} must be numbers, got {array.dtype}")
    if array.dtype.kind == "u" and array.itemsize > 1:
        if array.dtype.itemsize == 8 and array.size and int(array.max()) > np.iinfo(np.int64).max:
            raise UsageError(f"{what} must be at most {np.iinfo(np.int64).max}, got {int(array.max())}")
        array = array.astype(np.int64)  # torch compares no wider unsigned numbers
    elif not array.dtype.isnative or array.itemsize > 8:  # of another machine, or longer than torch's
        array = array.astype(np.float64 if array.dtype.kind == "f" else np.int64)
    # torch shares memory only with arrays that are writable and not turned around.
    return torch.from_numpy(np.require(array, requirements=("C", "W")))


def finite(values: Tensor, what: str) -> Tensor:
    """`values`. Raises: UsageError when there are none, or one that is not finite."""
    if not values.numel():
        raise UsageError(f"no {what}: nothing to judge")
    if values.is_floating_point() and not values.isfinite().all():
        raise UsageError(f"the {what} must be finite numbers, some are not")
    return values


def labels(values: Any, what: str = "targets") -> Tensor:
    """Classes as int64, of any shape. Raises: UsageError when empty, not whole, or negative."""
    found = finite(tensor(values, what), what)
    if found.is_floating_point():
        raise UsageError(f"{what} must be whole numbers, got {found.dtype}")
    found = found.long()
    if int(found.min()) < 0:
        raise UsageError(f"{what} are classes from 0 on, got {int(found.min())}")
    return found


def scored(outputs: Any, targets: Any) -> tuple[Tensor, Tensor]:
    """Scores [N, K] and classes [N]. Raises: UsageError when they do not fit."""
    scores, truth = finite(tensor(outputs, "outputs"), "outputs"), labels(targets)
    if scores.ndim != 2 or truth.shape != scores.shape[:1]:
        raise UsageError(f"scores are [N, K] for targets [N], one row for each; got {list(scores.shape)} and {list(truth.shape)}")
    if int(truth.max()) >= scores.shape[1]:
        raise UsageError(f"scores of {scores.shape[1]} classes cannot be judged on a target of class {int(truth.max())}")
    return scores, truth.to(scores.device)


def answered(outputs: Any, targets: Any) -> tuple[Tensor, Tensor, int]:
    """The classes answered [N], the true ones [N], and how many classes there are. Raises: UsageError when they do not fit."""
    given = tensor(outputs, "outputs")
    if given.ndim == 2:
        scores, truth = scored(given, targets)
        return scores.argmax(1), truth, scores.shape[1]
    answers, truth = labels(given, "answers"), labels(targets)
    if answers.ndim != 1 or answers.shape != truth.shape:
        raise UsageError(f"answers [N] need targets [N], got {list(answers.shape)} and {list(truth.shape)}")
    return answers, truth.to(answers.device), int(max(answers.max(), truth.max())) + 1


def ranked(scores: Any, targets: Any) -> tuple[np.ndarray, np.ndarray]:
    """Scores float64 [N] and truth bool [N]. Raises: UsageError when they do not fit, or the truth is not of 0 and 1."""
    given, truth = finite(tensor(scores, "scores"), "scores"), finite(tensor(targets, "targets"), "targets")
    if given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    if given.ndim != 1 or given.shape != truth.shape:
        raise UsageError(f"scores [N] need targets [N], got {list(given.shape)} and {list(truth.shape)}")
    if truth.dtype != torch.bool and not ((truth == 0) | (truth == 1)).all():
        raise UsageError("targets are true or false (1 or 0), got other values")
    return given.double().cpu().numpy(), truth.bool().cpu().numpy()


def samples(values: Any, what: str, at_least: int = 1) -> Tensor:
    """Features float64 [N, D]. Raises: UsageError unless that is their shape and N reaches `at_least`."""
    found = finite(tensor(values, what), f"{what} samples")
    if found.ndim != 2:
        raise UsageError(f"{what} samples are [N, D], one row each, got {list(found.shape)}")
    if len(found) < at_least:
        raise UsageError(f"{what}: this metric needs {at_least} samples or more, got {len(found)}")
    return found.double()


def sample_pair(generated: Any, real: Any, at_least: int = 1) -> tuple[Tensor, Tensor]:
    """Two sets of samples of one width, on one device. Raises: UsageError otherwise."""
    ours, theirs = samples(generated, "generated", at_least), samples(real, "real", at_least)
    if ours.shape[1] != theirs.shape[1]:
        raise UsageError(f"generated and real samples differ in width: {ours.shape[1]} and {theirs.shape[1]}")
    return ours, theirs.to(ours.device)


def pixels(images: Any, peak: float | None, what: str = "images") -> Tensor:
    """Images float64 [B, C, H, W] scaled to 0 .. 1 by `peak`, which is 255 for uint8 and 1 for floats without a word."""
    found = finite(tensor(images, what), what)
    if found.ndim != 4:
        raise UsageError(f"{what} are [B, C, H, W], got {list(found.shape)}")
    if found.dtype != torch.uint8 and not found.is_floating_point():
        raise UsageError(f"{what} are uint8 or float, got {found.dtype}")
    top = peak if peak is not None else 255.0 if found.dtype == torch.uint8 else 1.0
    if not top > 0:
        raise UsageError(f"peak must be above 0, got {top}")
    return found.double() / top


def pixel_pair(images: Any, references: Any, peak: float | None) -> tuple[Tensor, Tensor]:
    """Images and references of one shape, 0 .. 1. Raises: UsageError otherwise, also for references beyond the peak."""
    ours, theirs = pixels(images, peak), pixels(references, peak, "references")
    if ours.shape != theirs.shape:
        raise UsageError(f"images and references differ in shape: {list(ours.shape)} and {list(theirs.shape)}")
    if float(theirs.max()) > 1 + 1e-6 or float(theirs.min()) < -1e-6:
        raise UsageError("references must lie between 0 and the peak; say peak=255 for floats of 0 .. 255")
    return ours, theirs.to(ours.device)
