"""What losses share: targets as shares of each class, and the errors for shapes and options that cannot be."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import UsageError


def check_classes(loss: str, outputs: Tensor, targets: Tensor) -> None:
    """Raise UsageError unless outputs are [B, K] logits and targets int [B] or float [B, K]."""
    labels = not targets.is_floating_point() and targets.shape == outputs.shape[:1]
    shares = targets.is_floating_point() and targets.shape == outputs.shape
    if outputs.ndim != 2 or not (labels or shares):
        raise UsageError(
            f"{loss} takes logits [B, K] with whole-number labels [B] or float shares [B, K], "
            f"got {describe(outputs)} and {describe(targets)}"
        )


def class_shares(loss: str, outputs: Tensor, targets: Tensor) -> Tensor:
    """The targets as shares of each class, in the type of the outputs. For one output they are the share of "yes".

    Shape: outputs [B, K], targets int [B] or float [B, K] -> [B, K]
    Raises: UsageError for other shapes.
    """
    check_classes(loss, outputs, targets)
    if targets.is_floating_point():
        return targets.to(outputs.dtype)
    if outputs.shape[1] == 1:
        return targets[:, None].to(outputs.dtype)
    return torch.zeros_like(outputs).scatter_(1, targets[:, None].long(), 1.0)


def check_alike(loss: str, outputs: Tensor, targets: Tensor) -> None:
    """Raise UsageError unless both are float and of one shape: broadcasting [B, 1] against [B] would compare all pairs."""
    if outputs.shape != targets.shape or not outputs.is_floating_point() or not targets.is_floating_point():
        raise UsageError(f"{loss} takes float outputs and targets of one shape, got {describe(outputs)} and {describe(targets)}")


def check_identities(loss: str, outputs: Tensor, targets: Tensor) -> None:
    """Raise UsageError unless outputs are [B, D] and targets whole numbers [B]."""
    if outputs.ndim != 2 or targets.shape != outputs.shape[:1] or targets.is_floating_point():
        raise UsageError(
            f"{loss} takes embeddings [B, D] and whole-number identities [B], got {describe(outputs)} and {describe(targets)}"
        )


def check_option(loss: str, name: str, value: float, *, low: float, high: float = math.inf, above: bool = False) -> None:
    """Raise UsageError unless low <= value <= high; with `above` unless low < value <= high."""
    if not (low < value if above else low <= value) or not value <= high:
        limit = f"above {low:g}" if above else f"from {low:g}"
        limit += f" to {high:g}" if high < math.inf else ""
        raise UsageError(f"{loss}: {name} must be {limit}, got {value}")


def class_numbers(loss: str, name: str, values: Sequence[float], outputs: Tensor) -> Tensor:
    """One number from 0 for each class, some above 0, as a tensor like the outputs. Shape: K numbers -> [K]."""
    if not all(math.isfinite(value) and value >= 0 for value in values) or not any(values):
        raise UsageError(f"{loss}: {name} must be from 0 and not all 0, got {list(values)}")
    if len(values) != outputs.shape[1]:
        raise UsageError(f"{loss}: {len(values)} {name} do not go with {outputs.shape[1]} classes; give one for each")
    return outputs.new_tensor(values)


def describe(tensor: Tensor) -> str:
    """float32 [8, 10]"""
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
