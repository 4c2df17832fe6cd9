"""Spatial transformer net: a first layer learns to turn, shift and zoom the image upright before a plain CNN classifies it.

Source: Jaderberg et al. 2015, https://arxiv.org/abs/1506.02025, section 4.1 and its appendix on distorted MNIST (ST-CNN, affine).
Differs: the paper varies the filters between 32 and 64 so that the nets it compares hold about 400,000 parameters each, and
does not list them; here 64, in the form for 28x28 images, which has no pooling behind the transformer.
"""

from collections import OrderedDict

from torch import nn

from ..nn import SpatialTransformer
from ._init import initialised
from ._knobs import scaled, side
from ._registry import models


@models(input=(1, 28, 28), smallest=(1, 28, 28), params=219_672, macs=5_347_944, year=2015, paper="arxiv:1506.02025")
def spatial_transformer_net(*, in_channels: int = 1, num_classes: int = 10, width: float = 1.0, size: int = 28) -> nn.Sequential:
    """ST-CNN: an affine spatial transformer on the image, then 9x9 and 7x7 convolutions with max pools.

    `size` is the side of the input in pixels, 28 to 1024.
    """
    size = side("spatial_transformer_net", size, smallest=28)
    maps, small = scaled(64, width), scaled(20, width)
    last = ((size - 8) // 2 - 6) // 2
    transformer = SpatialTransformer(in_channels, size, maps=small, hidden=small)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        transformer=transformer,
        conv1=nn.Conv2d(in_channels, maps, 9),
        relu1=nn.ReLU(inplace=True),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(maps, maps, 7),
        relu2=nn.ReLU(inplace=True),
        pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        fc=nn.Linear(maps * last * last, num_classes),
    )
    net = initialised(nn.Sequential(parts))
    transformer.reset_frame()  # it had its weights drawn like all layers
    return net
