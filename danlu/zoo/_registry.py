"""Where nets register: `@models(input=(3, 224, 224), smallest=(3, 32, 32), params=..., macs=..., year=..., paper=...)`.

The facts are claims for the entry's default options; one parametrised test checks all of them on the meta device.
`input` (C, H, W) is what they are counted at; `smallest` is the smallest input the net is tested to learn from.
An entry is `net(*, in_channels: int = 3, num_classes: int = 1000, ...) -> nn.Module`.
"""

from collections.abc import Callable

from torch import nn

from ..registry import Registry

models: Registry[Callable[..., nn.Module]] = Registry("model")
