"""Highway network: layers whose gates choose between a new value and the old one, so that depth costs nothing until it is used.
The forerunner of the residual net, by half a year.

    y = H(x) T(x) + x (1 - T(x))        see danlu.nn.Highway

Source: Srivastava et al. 2015, Training very deep networks, https://arxiv.org/abs/1507.06228, the net of 19 layers (Fitnet 4 with
gates, "about 2.3 M parameters", 7.54 % error on CIFAR-10), as in the authors' files https://github.com/flukeskywalker/highway-networks.
Differs: no dropout (regularisation belongs to the training recipe).
"""

from collections import OrderedDict

from torch import nn

from ..nn import Highway
from ._init import initialised
from ._knobs import scaled
from ._registry import models

STAGES = ((32, 4), (80, 5), (128, 5))  # channels, and highway layers behind the convolution that gives them
HIDDEN = 100


@models(input=(3, 32, 32), smallest=(3, 8, 8), params=2_256_838, macs=330_826_728, year=2015, paper="arxiv:1507.06228")
def highway19(*, in_channels: int = 3, num_classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """19 layers for small images, 14 of them gated: a convolution and four or five highway layers in each of three stages."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    channels = in_channels
    for i, (published, gated) in enumerate(STAGES, 1):
        out = scaled(published, width)
        if i > 1:
            parts[f"pool{i - 1}"] = nn.MaxPool2d(2)
        parts[f"conv{i}"] = nn.Conv2d(channels, out, 3, padding=1)
        parts[f"relu{i}"] = nn.ReLU(inplace=True)
        parts[f"layer{i}"] = nn.Sequential(*(Highway(out) for _ in range(gated)))
        channels = out
    hidden = scaled(HIDDEN, width)
    parts.update(conv4=nn.Conv2d(channels, hidden, 1), relu4=nn.ReLU(inplace=True))
    parts.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(hidden, num_classes))
    net = initialised(nn.Sequential(parts))
    for layer in net.modules():
        if isinstance(layer, Highway):
            layer.close()
    return net
