"""Where nets register: `@models(input=(3, 224, 224), params=..., macs=..., year=..., paper=...)`.

The facts are claims for the entry's default options; one parametrised test checks all of them on the meta device.
An entry is `net(*, in_channels: int = 3, num_classes: int = 1000, ...) -> nn.Module`.
"""

from collections.abc import Callable

from torch import nn

from ..registry import Registry

models: Registry[Callable[..., nn.Module]] = Registry("model")
