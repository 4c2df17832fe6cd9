"""Insert squeeze and excitation: each image decides how much of every channel passes.

    y = sigmoid(W2 relu(W1 mean(x))) * x       W1: C -> C / reduction, W2: back
    parameters  2 C hidden + hidden + C        MACs  2 C hidden, once an image

It goes to the end of each residual branch, before the sum; in a net without residual branches, behind each
convolution[-norm][-activation] and each block.

Source: Hu et al. 2017, Squeeze-and-Excitation Networks, https://arxiv.org/abs/1709.01507. Card: se.md
"""

from collections.abc import Collection

from torch import nn

from ..nn import SqueezeExcitation
from ..nn.squeeze_excitation import hidden_width
from ._behind import EVEN, OPEN, Shape, ends, he_normal, is_normed, put_behind
from ._registry import edits
from .price import Price
from .surgery import Outcome


@edits(exact=False, needs=(), reduces=(), paper="arxiv:1709.01507", first=True)
def se(model: nn.Module, *, reduction: int = 16, skip: Collection[str] = ()) -> Outcome:
    """Put squeeze and excitation at the end of each residual branch, or behind each unit of a plain net.

    `reduction` divides the channels between its two layers, to a multiple of 8. Weights are fresh. In a net with norms the
    gates start around 1/2, as in the paper; without norms around 0.95, since nothing would make up for halving every map.
    `skip` holds names of the layers at the ends, or of modules, to leave alone.

    Raises: UsageError unless reduction is a whole number from 1.
    """
    hidden_width(1, reduction)  # refuses one that cannot be, also where there is no place for it
    normed = is_normed(model)

    def make(_: Shape, out: Shape) -> tuple[nn.Module, Price]:
        layer = SqueezeExcitation(out[0], reduction=reduction)
        he_normal(layer.squeeze)
        he_normal(layer.excite, gain=EVEN)
        if not normed:
            nn.init.constant_(layer.excite.bias, OPEN)
        hidden = hidden_width(out[0], reduction)
        return layer, Price(params=2 * out[0] * hidden + hidden + out[0], fixed=2 * out[0] * hidden)

    places, kept = ends(model)
    outcome = put_behind(model, places, SqueezeExcitation, make, skip)
    outcome.kept += kept
    return outcome
