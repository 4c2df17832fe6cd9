"""What images show of a net before it is trained: which layers they pass, in which order, and what arrives at each."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...edits.swap_activation import ACTIVATIONS
from ._layers import is_weighted


@contextlib.contextmanager
def as_first_step(model: nn.Module) -> Iterator[None]:
    """Batch norms take the statistics of the batch, as in training, and dropout is off; all is put back at the end."""
    modes = {module: module.training for module in model.modules()}
    kept = [(buffer, buffer.clone()) for module in modes if isinstance(module, _BatchNorm) for buffer in module.buffers()]
    try:
        for module in modes:
            module.training = isinstance(module, _BatchNorm)
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for buffer, before in kept:
            buffer.copy_(before)


@contextlib.contextmanager
def hooked(model: nn.Module, after: Any) -> Iterator[None]:
    """`after(module, inputs, output)` behind every call of a layer or an activation module, until the end."""
    modules = [module for module in model.modules() if is_weighted(module) or isinstance(module, ACTIVATIONS)]
    hooks = [module.register_forward_hook(after) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def called(model: nn.Module, images: Tensor) -> dict[Any, nn.Module | None]:
    """The convolutions and linear layers that images pass, in that order, each with the activation module behind it.

    That is the next activation that is called; the last layer has none, and one called as a function (F.relu) is not seen.
    """
    found: dict[Any, nn.Module | None] = {}
    waiting: list[nn.Module] = []

    def after(module: nn.Module, inputs: Any, output: Any) -> None:
        if not is_weighted(module):
            found.update(dict.fromkeys(waiting, module))
            waiting.clear()
        elif module not in found:
            found[module] = None
            waiting.append(module)

    with as_first_step(model), hooked(model, after):
        model(images[:2])
    return found


class _Reached(Exception):
    """A layer was reached; the rest of the net need not be computed."""


@torch.no_grad()
def inputs_of(model: nn.Module, layer: nn.Module, images: Tensor) -> Tensor:
    """What arrives at a layer. Shape: [B, C, H, W] -> [B, ...]."""
    arrived: list[Tensor] = []

    def before(module: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        arrived.append(inputs[0] if inputs else next(iter(named.values())))
        raise _Reached

    hook = layer.register_forward_pre_hook(before, with_kwargs=True)
    try:
        with contextlib.suppress(_Reached):
            model(images)
    finally:
        hook.remove()
    return arrived[0].detach()
