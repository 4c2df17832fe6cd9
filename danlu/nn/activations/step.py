"""The step: 1 where the input has reached 0, else 0; the first activation there was, a neuron that fires or does not.

    y = 1 if x >= 0 else 0          dL/dx = dL/dy / window where |x| <= window / 2, else 0

Its own slope is 0 everywhere, which teaches nothing: the gradient is that of a ramp of the same height, `window` wide. With
window 0 it is the true one, 0, and no layer before it learns.

Source: McCulloch & Pitts 1943, A logical calculus of the ideas immanent in nervous activity, doi:10.1007/BF02478259; the gradient
of a ramp: Bengio et al. 2013, https://arxiv.org/abs/1308.3432.
"""

import torch
from torch import Tensor

from ...errors import UsageError
from .._registry import layers
from ._registry import Activation, activations


@layers(paper="arxiv:1308.3432")
class Step(Activation):
    """0 or 1, with the gradient of a ramp. Shape: any -> the same, of the same type.

    Raises: UsageError for a window below 0.
    """

    def __init__(self, window: float = 1.0) -> None:
        super().__init__()
        if not window >= 0:
            raise UsageError(f"step: window must be from 0, got {window:g}")
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """Shape: any -> the same."""
        y = torch.where(x >= 0, 1.0, 0.0).to(x.dtype)
        if not self.training or not self.window:
            return y
        ramp = x.clamp(-self.window / 2, self.window / 2) / self.window
        return y + (ramp - ramp.detach())  # adds nothing but the gradient

    def extra_repr(self) -> str:
        """Its argument."""
        return f"{self.window:g}"


@activations(paper="arxiv:1308.3432")
def step(*, window: float = 1.0) -> Step:
    """1 from 0 on, else 0; the gradient is that of a ramp `window` wide, with window 0 it is 0.

    Raises: UsageError for a window below 0.
    """
    return Step(window)
