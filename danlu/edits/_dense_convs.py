"""Which convolutions an edit may put a thinner one in the place of: dense, and not tied to anything but their call."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from ..nn import layers
from ._factor_places import Places
from .blueprint import holds


class DenseConvs:
    """Questions about the convolutions of `model` by name. Those inside a layer of danlu are that layer's own business."""

    def __init__(self, model: nn.Module) -> None:
        self.places = Places(model, None)
        weighted = [module for module in model.modules() if isinstance(module, _ConvNd | nn.Linear)]
        self.last = weighted[-1] if weighted else None
        self.model = model

    def why_not(self, name: str, *, grouped: bool = False) -> str | None:
        """Why the convolution of this name must stay as it is; None when it need not. `grouped` lets groups pass."""
        layer: Any = self.model.get_submodule(name)
        reason = self.places.why_not(name)
        if reason is not None:
            return reason
        owner = self.model.get_submodule(name.rpartition(".")[0])
        if type(owner).__name__ in layers and layers[type(owner).__name__].build is type(owner) and not holds(type(owner)):
            return f"it is a part of the {type(owner).__name__} it belongs to"
        if layer is self.last:
            return "it gives the answer of the net, for which all channels count"
        if layer.groups > 1 and layer.groups == layer.in_channels:
            return "it is depthwise: its channels do not mix"
        if layer.groups > 1 and not grouped:
            return f"its {layer.groups} groups are thin already"
        return None


def rms(weight: Tensor) -> Tensor:
    """The root of the mean square, without gradient: the scale that fresh weights are drawn on."""
    return weight.detach().square().mean().sqrt()


@torch.no_grad()
def follow(new: nn.Module, old: nn.Conv2d) -> nn.Module:
    """`new` with the bias of `old` in its last convolution, and trained where `old` is; returned."""
    last = [module for module in new.modules() if isinstance(module, nn.Conv2d)][-1]
    if last.bias is not None and old.bias is not None:
        last.bias.copy_(old.bias)
    return new.requires_grad_(old.weight.requires_grad)
