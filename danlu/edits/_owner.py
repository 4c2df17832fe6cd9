"""Convolutions that are part of a layer which stands for a convolution itself: what predicts the offsets of a deformable one."""

from torch import nn
from torch.nn.utils import parametrize

from ..nn import layers


def owner(model: nn.Module, name: str) -> str | None:
    """The class of the danlu layer with `in_channels` and `out_channels` of its own that holds the module `name`; None: none.

    A chain of layers (nn.Sequential) only calls its children, so they are free.
    """
    steps = name.split(".")
    for i in range(len(steps)):
        holder = model.get_submodule(".".join(steps[:i]))
        kind = parametrize.type_before_parametrizations(holder)
        registered = kind.__name__ in layers and layers[kind.__name__].build is kind
        if registered and not isinstance(holder, nn.Sequential) and {"in_channels", "out_channels"} <= set(vars(holder)):
            return kind.__name__
    return None


def unusual(layer: nn.Conv2d) -> str | None:
    """Why a convolution is none that another layer can stand for: encoded weights, a subclass, another padding; None: it is."""
    if parametrize.is_parametrized(layer):
        return "its weights are encoded"
    if type(layer) is not nn.Conv2d:
        return f"a {type(layer).__name__} is not a plain convolution"
    if layer.padding_mode != "zeros":
        return f"it pads by {layer.padding_mode!r}, not with zeros"
    if isinstance(layer.padding, str):
        return f"it pads by a word, {layer.padding!r}"
    return None
