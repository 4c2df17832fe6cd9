"""Where layers register: `@layers(paper=...)`. The name of a layer is the name of its class."""

from torch import nn

from ..registry import Registry

layers: Registry[type[nn.Module]] = Registry("layer")
