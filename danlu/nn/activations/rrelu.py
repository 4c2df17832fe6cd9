"""RReLU: a leaky ReLU whose slope is drawn anew for each number while training, and is the middle one afterwards.

    training: y = x above 0, a x below, a drawn evenly from lower to upper         inference: a = (lower + upper) / 2

Source: Xu et al. 2015, Empirical evaluation of rectified activations in convolutional network, https://arxiv.org/abs/1505.00853.
"""

from torch import Tensor
from torch.nn import functional as F

from ...errors import UsageError
from .._registry import layers
from ._registry import Activation, activations


@layers(paper="arxiv:1505.00853")
class RandomLeakyReLU(Activation):
    """torch's RReLU, which has no ONNX form; in eval mode this is a leaky ReLU, which has. Shape: any -> the same.

    The draws come from torch's global generator. Raises: UsageError unless lower <= upper.
    """

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3) -> None:
        super().__init__()
        if not lower <= upper:
            raise UsageError(f"rrelu: lower must be at most upper, got lower={lower:g} and upper={upper:g}")
        self.lower, self.upper = lower, upper

    def forward(self, x: Tensor) -> Tensor:
        """Shape: any -> the same."""
        if self.training:
            return F.rrelu(x, self.lower, self.upper, training=True)
        return F.leaky_relu(x, (self.lower + self.upper) / 2)

    def extra_repr(self) -> str:
        """Its arguments."""
        return f"{self.lower:g}, {self.upper:g}"


@activations(paper="arxiv:1505.00853")
def rrelu(*, lower: float = 1 / 8, upper: float = 1 / 3) -> RandomLeakyReLU:
    """RReLU: x above 0, a x below; a drawn for each number in training, the middle of both in eval mode.

    Raises: UsageError unless lower <= upper.
    """
    return RandomLeakyReLU(lower, upper)
