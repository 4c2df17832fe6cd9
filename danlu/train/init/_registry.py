"""Where initialisations register: `@inits(paper="...")` on a function `name(model, *, options...) -> None`, in place.

The random numbers come from torch's global generator. What a function needs of the training it names as a parameter:

    images   float [B, C, H, W]: a batch of normalised training images
    feed     called, it gives such batches without end, the same ones each time
    say      takes a line of text, for those that take their time

All weights of convolutions and linear layers are drawn and their biases are 0; other parameters (norms, slopes of PReLU) stay.
"""

from collections.abc import Callable, Iterator

from torch import Tensor

from ...registry import Registry

CONTEXT = ("images", "feed", "say")  # parameters that the training fills in
Feed = Callable[[], Iterator[Tensor]]
Say = Callable[[str], None]

inits: Registry[Callable[..., None]] = Registry("initialisation")
