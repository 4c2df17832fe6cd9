"""Squeeze and excitation: the mean of each channel over the map decides, through two small layers, how much of every channel
passes. Attention over channels, at the cost of two small matrices an image.

    z = mean of x over H and W        [C]
    s = sigmoid(W2 relu(W1 z))        [C]       W1: C -> hidden, W2: hidden -> C, both with bias
    y = s * x                         each channel times its own s, between 0 and 1

Source: Hu et al. 2017, Squeeze-and-Excitation Networks, https://arxiv.org/abs/1709.01507.
Differs: the hidden width C / reduction is rounded to a multiple of 8, at least 8, as in timm; only nets with fewer than 128
channels notice.
"""

from torch import Tensor, nn

from ..errors import UsageError
from ._registry import layers


def hidden_width(channels: int, reduction: int) -> int:
    """channels / reduction, to the nearest multiple of 8 and at least 8.

    Raises: UsageError unless reduction is a whole number from 1.
    """
    if isinstance(reduction, bool) or not isinstance(reduction, int) or reduction < 1:
        raise UsageError(f"reduction is a whole number from 1, what the channels are divided by; got {reduction!r}")
    return max(8, (channels + 4 * reduction) // (8 * reduction) * 8)


@layers(paper="arxiv:1709.01507")
class SqueezeExcitation(nn.Module):
    """y = sigmoid(W2 relu(W1 mean(x))) * x, one factor for each channel of each image.

    Shape: [B, channels, H, W] -> the same

    Raises: UsageError unless reduction is a whole number from 1.
    """

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        self.channels, self.reduction = channels, reduction
        hidden = hidden_width(channels, reduction)
        self.squeeze = nn.Linear(channels, hidden)
        self.relu = nn.ReLU(inplace=True)
        self.excite = nn.Linear(hidden, channels)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, channels, H, W] -> the same."""
        scores = self.excite(self.relu(self.squeeze(x.mean((2, 3)))))  # [B, channels]
        return x * self.gate(scores.unsqueeze(2).unsqueeze(3))

    def extra_repr(self) -> str:
        """Its arguments."""
        return f"{self.channels}, reduction={self.reduction}"
