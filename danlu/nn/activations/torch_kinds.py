"""The activations that torch has: by one name each, with options that say what they do. None of them works in place.

    relu max(x, 0) | leaky_relu x or slope x | prelu the same, slope learned
    elu x or alpha (e^x - 1) | selu scale elu(x, alpha), both from a fixed point | softplus ln(1 + e^(beta x)) / beta
    gelu x Phi(x) | silu x sigmoid(x) | hardswish x relu6(x + 3) / 6 | mish x tanh(softplus(x)) | sigmoid | tanh

Source: Glorot et al. 2011, Deep sparse rectifier neural networks (relu); Maas et al. 2013, Rectifier nonlinearities improve
neural network acoustic models (leaky_relu); Dugas et al. 2001, Incorporating second-order functional knowledge for better option
pricing (softplus); He et al. 2015 (prelu), Clevert et al. 2015 (elu), Klambauer et al. 2017 (selu), Hendrycks & Gimpel 2016
(gelu), Elfwing et al. 2017 (silu), Howard et al. 2019 (hardswish) and Misra 2019 (mish) at the addresses of the entries.
"""

from typing import Literal

from torch import nn

from ...errors import UsageError
from ._registry import activations


@activations(paper="Glorot et al. 2011")
def relu() -> nn.Module:
    """max(x, 0): cheap, sparse, never saturates above 0; a unit that is negative for all images is dead."""
    return nn.ReLU()


@activations(paper="Maas et al. 2013")
def leaky_relu(*, slope: float = 0.01) -> nn.Module:
    """LReLU: x above 0, slope x below: no unit dies."""
    return nn.LeakyReLU(slope)


@activations(paper="Maas et al. 2013")
def lrelu(*, slope: float = 0.01) -> nn.Module:
    """Another name of leaky_relu."""
    return leaky_relu(slope=slope)


@activations(paper="arxiv:1502.01852")
def prelu(*, slope: float = 0.25) -> nn.Module:
    """PReLU: x above 0, a x below; a starts at `slope` and is learned, one for the layer."""
    return nn.PReLU(init=slope)


@activations(paper="arxiv:1511.07289")
def elu(*, alpha: float = 1.0) -> nn.Module:
    """x above 0, alpha (e^x - 1) below: its mean output is nearer to 0.

    Raises: UsageError for an alpha that is not above 0.
    """
    return nn.ELU(above("elu", "alpha", alpha))


@activations(paper="arxiv:1706.02515")
def selu() -> nn.Module:
    """1.0507 elu(x, alpha=1.6733): keeps mean 0 and variance 1 by itself, with LeCun's initialisation and no norms."""
    return nn.SELU()


@activations(paper="arxiv:1606.08415")
def gelu(*, approximate: Literal["none", "tanh"] = "none") -> nn.Module:
    """x times the share of a normal distribution below x."""
    return nn.GELU(approximate)


@activations(paper="arxiv:1702.03118")
def silu() -> nn.Module:
    """x sigmoid(x), the swish with beta 1 in one kernel of torch."""
    return nn.SiLU()


@activations(paper="arxiv:1905.02244")
def hardswish() -> nn.Module:
    """x relu6(x + 3) / 6: nearly silu, without an exponential."""
    return nn.Hardswish()


@activations(paper="arxiv:1908.08681")
def mish() -> nn.Module:
    """x tanh(ln(1 + e^x))."""
    return nn.Mish()


@activations(paper="")
def tanh() -> nn.Module:
    """From -1 to 1, odd: a zero mean stays; saturates on both sides."""
    return nn.Tanh()


@activations(paper="")
def sigmoid() -> nn.Module:
    """1 / (1 + e^-x), from 0 to 1: a share or a gate; its slope is at most 1/4, so deep nets forget."""
    return nn.Sigmoid()


@activations(paper="Dugas et al. 2001")
def softplus(*, beta: float = 1.0) -> nn.Module:
    """ln(1 + e^(beta x)) / beta: the smooth ReLU.

    Raises: UsageError for a beta that is not above 0.
    """
    return nn.Softplus(above("softplus", "beta", beta))


def above(kind: str, name: str, value: float) -> float:
    """The value. Raises: UsageError unless it is above 0."""
    if not value > 0:
        raise UsageError(f"{kind}: {name} must be above 0, got {value:g}")
    return value
