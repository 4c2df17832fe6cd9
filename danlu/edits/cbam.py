"""Insert CBAM: each image decides how much of every channel, and then of every place, passes.

    y = x * sigmoid(f(mean over H, W) + f(max over H, W))        z = y * sigmoid(filter([max over C; mean over C] of y))
    parameters  2 C hidden + hidden + C, and kernel^2 * 2 of the filter with 2 of its norm or 1 of its bias
    MACs        4 C hidden once an image, and 2 kernel^2 for each pixel

It goes where `se` goes: to the end of each residual branch, or behind each unit of a plain net.

Source: Woo et al. 2018, CBAM: Convolutional block attention module, https://arxiv.org/abs/1807.06521. Card: cbam.md
"""

from collections.abc import Collection

from torch import nn

from ..nn import CBAM
from ..nn.squeeze_excitation import hidden_width
from ._behind import EVEN, OPEN, Shape, ends, he_normal, is_normed, put_behind
from ._registry import edits
from .price import Price
from .surgery import Outcome


@edits(exact=False, needs=(), reduces=(), paper="arxiv:1807.06521", first=True)
def cbam(model: nn.Module, *, reduction: int = 16, kernel: int = 7, skip: Collection[str] = ()) -> Outcome:
    """Put channel and spatial attention at the end of each residual branch, or behind each unit of a plain net.

    `reduction` divides the channels between the two layers of channel attention, to a multiple of 8; `kernel` is the side of
    the filter of spatial attention. Weights are fresh. In a net with norms the gates start around 1/2; in one without, the
    filter has a bias in the place of a norm and the gates start around 0.95, since nothing would make up for smaller maps.
    `skip` holds names of the layers at the ends, or of modules, to leave alone.

    Raises: UsageError unless reduction is a whole number from 1 and kernel an odd one.
    """
    normed = is_normed(model)
    CBAM(1, reduction=reduction, kernel=kernel)  # refuses options that cannot be, also where there is no place

    def make(_: Shape, out: Shape) -> tuple[nn.Module, Price]:
        layer = CBAM(out[0], reduction=reduction, kernel=kernel, batch_norm=normed)
        he_normal(layer.channel.squeeze)
        he_normal(layer.channel.excite, gain=EVEN)
        he_normal(layer.spatial, gain=EVEN)
        if layer.spatial.conv.bias is not None:
            nn.init.constant_(layer.channel.excite.bias, OPEN / 2)  # it is added twice
            nn.init.constant_(layer.spatial.conv.bias, OPEN)
        hidden = hidden_width(out[0], reduction)
        shared = Price(params=2 * out[0] * hidden + hidden + out[0], fixed=4 * out[0] * hidden)
        return layer, shared + Price(params=2 * kernel**2 + (2 if normed else 1), output=2 * kernel**2)

    places, kept = ends(model)
    outcome = put_behind(model, places, CBAM, make, skip)
    outcome.kept += kept
    return outcome
