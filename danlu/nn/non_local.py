"""Non-local block: every pixel looks at every other one and takes over a mean of what they hold, weighed by how alike they are.
One block sees the whole map, where convolutions need many.

    y_i = 1/Z_i sum_j f(x_i, x_j) g(x_j)           z = x + norm(W y)          over all places i, j of the map
    gaussian   f = exp(x_i . x_j)                  Z_i = sum_j f              (a softmax over j)
    embedded   f = exp(theta(x_i) . phi(x_j))      Z_i = sum_j f              (self-attention)
    dot        f = theta(x_i) . phi(x_j)           Z_i = number of j
    concat     f = relu(w . [theta(x_i); phi(x_j)])   Z_i = number of j

theta, phi and g are 1x1 convolutions to half the channels, W one back. `subsample` takes the maximum of each 2x2 pixels of phi
and g, which leaves a quarter of the j.

Source: Wang et al. 2017, Non-local neural networks, https://arxiv.org/abs/1711.07971, sections 3.2 and 3.3.
Differs: w is applied as its two halves, w . [a; b] = u . a + v . b: the same numbers without a tensor of all pairs of vectors.
A map of odd size keeps its last row in the subsampling.
"""

from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import unknown
from ._registry import layers

Kind = Literal["gaussian", "embedded", "dot", "concat"]
STD = 0.01  # of the fresh 1x1 convolutions: the authors'; a softmax over larger products would start as a maximum


@layers(paper="arxiv:1711.07971")
class NonLocal2d(nn.Module):
    """z = x + norm(W y), y the weighted mean over the map; starts as the identity, so that it may join a trained net.

    Without `batch_norm` there is no norm, and W starts at zero.

    Shape: [B, channels, H, W] -> the same

    Raises: UsageError for another `kind`.
    """

    def __init__(self, channels: int, *, kind: str = "embedded", subsample: bool = True, batch_norm: bool = True) -> None:
        super().__init__()
        if kind not in get_args(Kind):
            raise unknown("kind of non-local block", kind, get_args(Kind))
        self.channels, self.kind, self.subsample, self.batch_norm = channels, kind, subsample, batch_norm
        inner = max(1, channels // 2)
        embeds = kind != "gaussian"
        self.theta = nn.Conv2d(channels, inner, 1) if embeds else nn.Identity()
        self.phi = nn.Conv2d(channels, inner, 1) if embeds else nn.Identity()
        self.g = nn.Conv2d(channels, inner, 1)
        if kind == "concat":
            self.score_i = nn.Conv2d(inner, 1, 1, bias=False)
            self.score_j = nn.Conv2d(inner, 1, 1, bias=False)
        self.pool = nn.MaxPool2d(2, ceil_mode=True) if subsample else nn.Identity()
        self.out = nn.Conv2d(inner, channels, 1)
        self.norm = nn.BatchNorm2d(channels) if batch_norm else nn.Identity()
        self.start_as_identity()

    def start_as_identity(self) -> None:
        """Draw fresh weights with which the block gives its input, and which get gradients all the same."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=STD)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.norm.weight if isinstance(self.norm, nn.BatchNorm2d) else self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, channels, H, W] -> the same."""
        queries = self.theta(x)  # [B, inner, H, W]; j = 1..M are the pixels behind the pool, i = 1..N those before it
        keys = self.pool(self.phi(x))
        values = self.pool(self.g(x)).flatten(2)  # [B, inner, M]
        if self.kind == "concat":
            alike = F.relu(self.score_i(queries).flatten(2).transpose(1, 2) + self.score_j(keys).flatten(2))
        else:
            alike = queries.flatten(2).transpose(1, 2) @ keys.flatten(2)  # [B, N, M]
        shares = alike / alike.shape[2] if self.kind in ("dot", "concat") else alike.softmax(2)
        y = values @ shares.transpose(1, 2)  # [B, inner, N]
        y = y.reshape(x.shape[0], -1, x.shape[2], x.shape[3])
        return x + self.norm(self.out(y))

    def extra_repr(self) -> str:
        """Its arguments."""
        text = f"{self.channels}, kind={self.kind!r}, subsample={self.subsample}"
        return text + ("" if self.batch_norm else ", batch_norm=False")
