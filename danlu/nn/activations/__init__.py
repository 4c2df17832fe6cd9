"""Activations by name, with options: `build("leaky_relu(slope=0.1)")`. torch's modules where torch has them."""

from ._registry import Activation, activations, build, find
from .composed import BINARY, UNARY, ComposedActivation
from .elish import ELiSH, HardELiSH
from .rrelu import RandomLeakyReLU
from .sinusoid import Sinusoid
from .step import Step
from .swish import Swish
from .torch_kinds import relu  # the module registers all of torch's

__all__ = [
    "BINARY",
    "UNARY",
    "Activation",
    "ComposedActivation",
    "ELiSH",
    "HardELiSH",
    "RandomLeakyReLU",
    "Sinusoid",
    "Step",
    "Swish",
    "activations",
    "build",
    "find",
    "relu",
]
