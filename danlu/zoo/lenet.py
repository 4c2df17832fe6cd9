"""LeNet: the first convolutional nets, and the two small nets that compression papers are measured on.

Source: LeCun et al. 1989, Handwritten digit recognition with a back-propagation network (LeNet-1); LeCun et al. 1998,
https://doi.org/10.1109/5.726791 (LeNet-300-100, LeNet-5); the Caffe LeNet of its MNIST example.
Differs: the tanh of LeNet-1 is not scaled, and its last maps are averaged to 4x4, so that other inputs fit. C3 of LeNet-5 sees
all maps of S2, its subsampling has no weights, its tanh is not scaled, and a softmax classifier stands in the place of the radial
basis units.
"""

from collections import OrderedDict

from torch import nn

from ..nn import Concat
from ._few import few
from ._init import TANH, initialised
from ._knobs import scaled, side
from ._registry import models

LECUN_1989 = "https://proceedings.neurips.cc/paper/1989/hash/53c3bce66e43be4f209556518c2fcb54-Abstract.html"
LECUN = "doi:10.1109/5.726791"


def last_map(size: int) -> int:
    """Side of the map after twice [5x5 convolution without padding, halving]; a side of 16 leaves one value."""
    return ((size - 4) // 2 - 4) // 2


def subsample(channels: int) -> nn.Sequential:
    """The mean of each 2x2 field, times a weight, plus a bias, both one for each map."""
    return nn.Sequential(OrderedDict(mean=nn.AvgPool2d(2), scale=nn.Conv2d(channels, channels, 1, groups=channels)))


@models(input=(1, 28, 28), smallest=(1, 16, 16), params=2_578, macs=92_288, year=1989, paper=LECUN_1989)
def lenet1(*, in_channels: int = 1, num_classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """LeNet-1: 4 and 12 maps, trained subsampling, 2,578 weights in all.

    Of the 12 maps of H3 four see one map of H2 each, and eight see two: four the first half of H2, four the second half. So
    the net is two nets side by side, until its last layer.
    """
    h1, h3 = few(4, width), few(12, width)
    pairs = h3 - h1
    halves = 2 if h1 % 2 == 0 and pairs % 2 == 0 else 1  # at some widths the maps cannot be halved
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        h1=nn.Conv2d(in_channels, h1, 5),
        tanh1=nn.Tanh(),
        h2=subsample(h1),
        tanh2=nn.Tanh(),
        h3=Concat(OrderedDict(one=nn.Conv2d(h1, h1, 5, groups=h1), two=nn.Conv2d(h1, pairs, 5, groups=halves))),
        tanh3=nn.Tanh(),
        h4=subsample(h3),
        tanh4=nn.Tanh(),
        avgpool=nn.AdaptiveAvgPool2d(4),
        flatten=nn.Flatten(),
        output=nn.Linear(h3 * 4 * 4, num_classes),
    )
    net = initialised(nn.Sequential(parts), gain=TANH)
    for name in ("h2", "h4"):
        nn.init.ones_(net.get_parameter(f"{name}.scale.weight"))  # a mean, to start with
    return net


@models(input=(1, 28, 28), smallest=(1, 8, 8), params=266_610, macs=266_200, year=1998, paper=LECUN)
def lenet_300_100(*, in_channels: int = 1, num_classes: int = 10, width: float = 1.0, size: int = 28) -> nn.Sequential:
    """Two hidden layers of 300 and 100 units on the pixels; no convolution.

    `size` is the side of the input in pixels, 1 to 1024.
    """
    size = side("lenet_300_100", size, smallest=1)
    first, second = scaled(300, width), scaled(100, width)
    return initialised(
        nn.Sequential(
            nn.Flatten(),
            nn.Linear(in_channels * size * size, first),
            nn.ReLU(inplace=True),
            nn.Linear(first, second),
            nn.ReLU(inplace=True),
            nn.Linear(second, num_classes),
        )
    )


@models(input=(1, 32, 32), smallest=(1, 16, 16), params=61_706, macs=416_520, year=1998, paper=LECUN)
def lenet5(*, in_channels: int = 1, num_classes: int = 10, width: float = 1.0, size: int = 32) -> nn.Sequential:
    """LeNet-5: 6 and 16 maps, 120 and 84 units, tanh, average pooling.

    `size` is the side of the input in pixels, 16 to 1024.
    """
    size = side("lenet5", size, smallest=16)
    c1, c3, c5, f6 = (scaled(channels, width) for channels in (6, 16, 120, 84))
    net = nn.Sequential(
        nn.Conv2d(in_channels, c1, 5),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(c1, c3, 5),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(c3 * last_map(size) ** 2, c5),
        nn.Tanh(),
        nn.Linear(c5, f6),
        nn.Tanh(),
        nn.Linear(f6, num_classes),
    )
    return initialised(net, gain=TANH)


@models(input=(1, 28, 28), smallest=(1, 16, 16), params=431_080, macs=2_293_000, year=2014, paper="arxiv:1408.5093")
def lenet5_caffe(
    *, in_channels: int = 1, num_classes: int = 10, width: float = 1.0, size: int = 28, batch_norm: bool = False
) -> nn.Sequential:
    """Caffe's LeNet: 20 and 50 maps, 500 units, max pooling, one ReLU.

    `size` is the side of the input in pixels, 16 to 1024. `batch_norm` puts a norm, and where there is none a ReLU, after
    each layer but the last, in the place of its bias: as the nets with binary weights have it.
    """
    size = side("lenet5_caffe", size, smallest=16)
    c1, c2, f1 = (scaled(channels, width) for channels in (20, 50, 500))
    flat = c2 * last_map(size) ** 2
    if batch_norm:
        return initialised(
            nn.Sequential(
                nn.Conv2d(in_channels, c1, 5, bias=False),
                nn.BatchNorm2d(c1),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
                nn.Conv2d(c1, c2, 5, bias=False),
                nn.BatchNorm2d(c2),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
                nn.Flatten(),
                nn.Linear(flat, f1, bias=False),
                nn.BatchNorm1d(f1),
                nn.ReLU(inplace=True),
                nn.Linear(f1, num_classes),
            )
        )
    return initialised(
        nn.Sequential(
            nn.Conv2d(in_channels, c1, 5),
            nn.MaxPool2d(2),
            nn.Conv2d(c1, c2, 5),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(flat, f1),
            nn.ReLU(inplace=True),
            nn.Linear(f1, num_classes),
        )
    )
