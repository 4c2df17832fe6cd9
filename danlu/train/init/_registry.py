"""Where initialisations register: `@inits(paper="...")` on a function `name(model, *, options...) -> None`, in place.

The random numbers come from torch's global generator. A parameter `images`, a float tensor [B, C, H, W] of normalised training
images, is filled in by the training for those that look at data.
"""

from collections.abc import Callable

from ...registry import Registry

inits: Registry[Callable[..., None]] = Registry("initialisation")
