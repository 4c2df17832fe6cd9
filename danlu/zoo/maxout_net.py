"""The maxout network: every unit is the largest of several linear functions, which fits dropout better than ReLU does.

Source: Goodfellow et al. 2013, Maxout networks, https://arxiv.org/abs/1302.4389; the sizes are those of the authors' CIFAR-10
configuration (2 pieces a convolution, 5 a linear unit; pools round their maps up: 33 -> 16 -> 15 -> 7 -> 9 -> 5).
Differs: the maps are averaged to 5x5 before the linear layers, so that other inputs fit; no dropout of the input (the paper: 0.2)
and no limit on the norm of a filter, which belong to the training recipe.
"""

from collections import OrderedDict

from torch import nn

from ..nn import Maxout
from ._init import initialised
from ._knobs import dropout as dropout_layer
from ._knobs import scaled
from ._registry import models

GRID = 5  # side of the maps that the linear layer sees
PIECES, LINEAR_PIECES = 2, 5


@models(input=(3, 32, 32), smallest=(3, 16, 16), params=16_247_830, macs=732_290_696, year=2013, paper="arxiv:1302.4389")
def maxout_net(*, in_channels: int = 3, num_classes: int = 10, width: float = 1.0, dropout: float = 0.5) -> nn.Sequential:
    """The maxout network for CIFAR-10: 96, 192 and 192 maxout maps, 500 maxout units."""
    c1, c2, c3, hidden = (scaled(channels, width) for channels in (96, 192, 192, 500))
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(in_channels, PIECES * c1, 8, padding=4),
        maxout1=Maxout(PIECES),
        pool1=nn.MaxPool2d(4, stride=2, ceil_mode=True),
        dropout1=dropout_layer(dropout),
        conv2=nn.Conv2d(c1, PIECES * c2, 8, padding=3),
        maxout2=Maxout(PIECES),
        pool2=nn.MaxPool2d(4, stride=2, ceil_mode=True),
        dropout2=dropout_layer(dropout),
        conv3=nn.Conv2d(c2, PIECES * c3, 5, padding=3),
        maxout3=Maxout(PIECES),
        pool3=nn.MaxPool2d(2, ceil_mode=True),
        dropout3=dropout_layer(dropout),
        avgpool=nn.AdaptiveAvgPool2d(GRID),
        flatten=nn.Flatten(),
        fc1=nn.Linear(c3 * GRID * GRID, LINEAR_PIECES * hidden),
        maxout4=Maxout(LINEAR_PIECES),
        dropout4=dropout_layer(dropout),
        fc2=nn.Linear(hidden, num_classes),
    )
    # The larger of two draws has the mean square of one: no factor of two to make up for, as there is for ReLU.
    return initialised(nn.Sequential(parts), gain=1.0)
