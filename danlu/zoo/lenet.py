"""LeNet: the first convolutional nets, and the two small nets that compression papers are measured on.

Source: LeCun et al. 1998, https://doi.org/10.1109/5.726791 (LeNet-300-100, LeNet-5); the Caffe LeNet of its MNIST example.
Differs: C3 of LeNet-5 sees all maps of S2, its subsampling has no weights, its tanh is not scaled, and a softmax classifier
stands in the place of the radial basis units.
"""

from torch import nn

from ..errors import UsageError
from ._init import TANH, initialised
from ._registry import models
from ._scale import scaled

LECUN = "doi:10.1109/5.726791"


def last_map(net: str, size: int) -> int:
    """Side of the map after twice [5x5 convolution without padding, halving]; UsageError where nothing is left."""
    if not isinstance(size, int) or isinstance(size, bool) or size < 16:
        raise UsageError(f"{net} needs an input of at least 16x16, got size={size!r}; lenet_300_100 takes any size")
    return ((size - 4) // 2 - 4) // 2


@models(input=(1, 28, 28), smallest=(1, 8, 8), params=266_610, macs=266_200, year=1998, paper=LECUN)
def lenet_300_100(*, in_channels: int = 1, num_classes: int = 10, width: float = 1.0, size: int = 28) -> nn.Sequential:
    """Two hidden layers of 300 and 100 units on the pixels of a `size` x `size` image; no convolution."""
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise UsageError(f"lenet_300_100 needs an input of at least 1x1, got size={size!r}")
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
    """LeNet-5: 6 and 16 maps, 120 and 84 units, tanh, average pooling; for a `size` x `size` image, at least 16x16."""
    c1, c3, c5, f6 = (scaled(channels, width) for channels in (6, 16, 120, 84))
    net = nn.Sequential(
        nn.Conv2d(in_channels, c1, 5),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(c1, c3, 5),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(c3 * last_map("lenet5", size) ** 2, c5),
        nn.Tanh(),
        nn.Linear(c5, f6),
        nn.Tanh(),
        nn.Linear(f6, num_classes),
    )
    return initialised(net, gain=TANH)


@models(input=(1, 28, 28), smallest=(1, 16, 16), params=431_080, macs=2_293_000, year=2014, paper="arxiv:1408.5093")
def lenet5_caffe(*, in_channels: int = 1, num_classes: int = 10, width: float = 1.0, size: int = 28) -> nn.Sequential:
    """Caffe's LeNet: 20 and 50 maps, 500 units, max pooling, one ReLU; for a `size` x `size` image, at least 16x16."""
    c1, c2, f1 = (scaled(channels, width) for channels in (20, 50, 500))
    return initialised(
        nn.Sequential(
            nn.Conv2d(in_channels, c1, 5),
            nn.MaxPool2d(2),
            nn.Conv2d(c1, c2, 5),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(c2 * last_map("lenet5_caffe", size) ** 2, f1),
            nn.ReLU(inplace=True),
            nn.Linear(f1, num_classes),
        )
    )
