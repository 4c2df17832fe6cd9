"""DropConnect: each single weight is away at random in training, not a whole unit as with dropout.

    training   y = (m * W) x / (1 - rate) + b,   m = 0 with probability `rate`, else 1, one for each weight
    inference  y = W x + b

Source: Wan et al. 2013, Regularization of neural networks using DropConnect, https://proceedings.mlr.press/v28/wan13.html.
Differs: one mask for a batch, where the paper draws one for each image; at inference the mean weights, where the paper draws
from a normal distribution with the mean and the variance of the unit's input.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils.hooks import RemovableHandle

from ...errors import UsageError
from ._places import check_rate, places, take_off
from ._registry import Regularizer, regularizers


class DropConnect(Regularizer):
    """Masks the weights of the layers that `at` means while they run in training mode; the parameters stay what they are."""

    def __init__(self, rate: float, at: str) -> None:
        check_rate("dropconnect", rate)
        self.rate, self.at = rate, at
        self._handles: list[RemovableHandle] = []

    def prepare(self, model: nn.Module) -> None:
        """Let each of the layers draw its mask."""
        found = [module for module in places(model, self.at, "dropconnect") if _has_weight(module)]
        if not found:
            raise UsageError(f"dropconnect: at={self.at!r} names no convolution or linear layer with a weight of its own")
        for module in found:
            # A value in the instance's own dictionary hides the parameter, and nothing else: names and optimiser stay.
            self._handles.append(module.register_forward_pre_hook(partial(_mask, self.rate)))
            self._handles.append(module.register_forward_hook(_unmask, always_call=True))

    def restore(self, model: nn.Module) -> None:
        """Let the weights alone."""
        take_off(self._handles)


@regularizers(paper="https://proceedings.mlr.press/v28/wan13.html")
def dropconnect(*, rate: float = 0.5, at: str = "last") -> DropConnect:
    """Drop single weights at random in the "last" layer, the "linear" or "conv" layers, "all", or those a pattern names.

    Raises: UsageError unless 0 < rate < 1, and for a place that the net does not have.
    """
    return DropConnect(rate, at)


def _has_weight(module: nn.Module) -> bool:
    """Not so where a parametrisation computes it."""
    return isinstance(module, _ConvNd | nn.Linear) and "weight" in module._parameters


def _mask(rate: float, module: nn.Module, inputs: tuple[Any, ...]) -> None:
    if module.training:
        weight: Tensor = module._parameters["weight"]  # type: ignore[assignment]
        module.__dict__["weight"] = torch.dropout(weight, rate, True)


def _unmask(module: nn.Module, inputs: tuple[Any, ...], outputs: Any) -> None:
    module.__dict__.pop("weight", None)
