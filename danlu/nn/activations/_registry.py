"""Where activations register: `@activations(paper="arxiv:...")` on a function `name(*, options...) -> nn.Module`.

An activation acts on every number alone, so it keeps shapes. What changes the number of channels is no activation here: CReLU is
an edit, Maxout a layer.
"""

from collections.abc import Callable

from torch import nn

from ...errors import UsageError
from ...registry import Registry
from ...spec import Spec, read

activations: Registry[Callable[..., nn.Module]] = Registry("activation")
WIDER = {
    "crelu": "gives twice the channels: use the edit crelu",
    "maxout": "gives a part of the channels: build the net with danlu.nn.Maxout",
}


class Activation(nn.Module):
    """The base of danlu's own activations: tracing stops at them, as at torch's. Shape: any -> the same."""


def find(text: str) -> Spec[nn.Module]:
    """The entry and the options that a text names.

    Raises: UsageError for an unknown name or option, or a value of another type.
    """
    if isinstance(text, str) and text.split("(")[0].strip() in WIDER:
        name = text.split("(")[0].strip()
        raise UsageError(f"{name} {WIDER[name]}; activations that keep the shape are {', '.join(activations.names())}")
    return read(activations, text)


def build(text: str) -> nn.Module:
    """A fresh activation: "relu", "leaky_relu(slope=0.1)", "composed(unary1='sigmoid', unary2='x', binary='mul')".

    Raises: UsageError as `find`, and for a value that cannot be.
    """
    module: nn.Module = find(text)()
    return module
