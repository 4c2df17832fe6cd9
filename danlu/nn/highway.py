"""The gated shortcut: at each value a learned gate says how much is transformed, and how much passes as it came.

    y = H(x) T(x) + x (1 - T(x)),    H(x) = relu(W_H * x + b_H),    T(x) = sigmoid(W_T * x + b_T)

b_T starts below zero, so that a fresh layer passes most of its input: that is what makes deep stacks of it trainable.

Source: Srivastava et al. 2015, Training very deep networks, https://arxiv.org/abs/1507.06228.
"""

from typing import cast

from torch import Tensor, nn

from ._registry import layers


@layers(paper="arxiv:1507.06228")
class Highway(nn.Module):
    """Two convolutions of the same input, one that transforms and one that gates. A fresh gate is open by sigmoid(gate_bias).

    Shape: [B, channels, H, W] -> the same, for an odd kernel
    """

    def __init__(self, channels: int, *, kernel: int = 3, gate_bias: float = -2.0) -> None:
        super().__init__()
        self.channels, self.kernel, self.gate_bias = channels, kernel, gate_bias
        self.conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)
        self.relu = nn.ReLU(inplace=True)
        self.gate = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)
        self.sigmoid = nn.Sigmoid()
        self.close()

    def close(self) -> None:
        """Set the bias of the gate to `gate_bias`, after its weights have been drawn anew."""
        nn.init.constant_(cast(Tensor, self.gate.bias), self.gate_bias)

    @property
    def in_channels(self) -> int:
        """As a convolution says it."""
        return self.conv.in_channels

    @property
    def out_channels(self) -> int:
        """As a convolution says it."""
        return self.conv.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, channels, H, W] -> the same."""
        open_ = self.sigmoid(self.gate(x))
        return self.relu(self.conv(x)) * open_ + x * (1 - open_)

    def extra_repr(self) -> str:
        """Its arguments."""
        return f"{self.channels}, kernel={self.kernel}, gate_bias={self.gate_bias}"
