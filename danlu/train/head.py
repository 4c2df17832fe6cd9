"""Which parameters are the head of a classifier: the layer that gives its answer."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from ..errors import UsageError


def head_of(model: nn.Module, x: Tensor, classes: int) -> set[str]:
    """The names of the parameters of the last linear layer or convolution that runs; with early exits, of that of each.

    Shape: x [B, C, H, W], images for a pass in eval mode.
    Raises: UsageError unless that layer has an output for each class.
    """
    names = {id(layer): name for name, layer in model.named_modules() if isinstance(layer, _ConvNd | nn.Linear)}
    ran: list[nn.Module] = []

    def note(layer: nn.Module, inputs: Any, output: Any) -> None:
        ran.append(layer)

    hooks = [layer.register_forward_hook(note) for layer in model.modules() if id(layer) in names]
    was_training = model.training
    try:
        with torch.no_grad():
            model.eval()(x)
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    if not ran or outputs_of(ran[-1]) != classes:
        last = f"ends in {names[id(ran[-1])]} with {outputs_of(ran[-1])} outputs" if ran else "has no such layer"
        raise UsageError(
            f"head_first needs a network whose last linear layer or convolution gives the {classes} classes; this one {last}; "
            "name what learns with rates instead"
        )
    heads = [ran[-1]]
    if getattr(model, "exit_weights", ()):
        heads = [layer for layer in model.modules() if id(layer) in names and outputs_of(layer) == classes]
    found = {id(parameter) for layer in heads for parameter in layer.parameters()}
    return {name for name, parameter in model.named_parameters() if id(parameter) in found}


def outputs_of(layer: Any) -> int:
    """The width of a layer's output."""
    return int(layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels)
