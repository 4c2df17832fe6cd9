"""Normalise weights instead of features: every filter becomes a length times a direction, which are trained in its place.

    w[c] = g[c] v[c] / |v[c]|

The net computes what it did; only the way it learns changes. What is stored for deployment and exported is w.

Source: Salimans & Kingma 2016, https://arxiv.org/abs/1602.07868. Card: weight_norm.md
"""

from collections.abc import Collection

from torch import Tensor, nn

from ..encodings import Encoding, WeightNorm
from ._encode import TRANSPOSED, chain_of, encode_layers
from ._registry import edits
from .surgery import Keep, Outcome


@edits(exact=True, needs=("weights",), reduces=(), paper="arxiv:1602.07868")
def weight_norm(model: nn.Module, *, skip: Collection[str] = ()) -> Outcome:
    """Put every convolution and linear layer into lengths and directions; `skip` holds names of layers, or of modules.

    It is for nets without feature norms, `swap_norm(to='none') | weight_norm`: a norm behind a layer takes its length away again.
    Edits that need plain weights, fold_bn and those that cut or encode them, end it. Kept, with the reason: weights that are
    encoded already.
    """

    def decide(name: str, layer: nn.Module, weight: Tensor) -> list[Encoding] | Keep:
        others = [type(part).__name__ for part in chain_of(layer, "weight")]
        if others:
            return Keep(f"its weight is encoded by {others[0]} already")
        return [WeightNorm(axis=1 if isinstance(layer, TRANSPOSED) else 0, shape=weight.shape)]

    return encode_layers(model, decide, skip)
