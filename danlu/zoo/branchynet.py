"""BranchyNet: nets with side classifiers, through which easy images leave early; LeNet, AlexNet and ResNet with theirs.

In training mode a net gives the logits of all its exits [B, E, K], in eval mode the answer [B, K] of the first exit that is sure
of it. `danlu.deploy.calibrate_exits` sets the thresholds, `export_exits` writes the file that stops. `add_exits` is the edit
that adds exits to any net.

Source: Teerapittayanon, McDanel and Kung 2016, https://arxiv.org/abs/1709.01686; the sizes of LeNet and AlexNet are those of the
authors' code, https://github.com/kunglab/branchynet.
Differs: maps are averaged to the size of the paper's inputs before linear layers, so that other inputs fit. In the ResNet the
trunk is that of He et al., whose first convolution keeps the size; the first exit is behind the first block, not inside it, and
its head has three convolutions and a linear layer, where the authors' latest code has two of each, and 26 M weights in them.
"""

from collections import OrderedDict

from torch import nn

from ..nn import EarlyExit, ExitPoint
from ._init import initialised
from ._knobs import dropout as dropout_layer
from ._knobs import scaled
from ._registry import models
from .resnet import BasicBlock
from .resnet_cifar import resnet_cifar

PAPER = "arxiv:1709.01686"
THRESHOLD = 0.1  # entropy as a share of log K below which an exit answers, until the exits are calibrated
EARLY_WEIGHT, LAST_WEIGHT = 1.0, 0.3  # of the exits in the loss


def with_exits(net: nn.Sequential, heads: dict[str, nn.Sequential]) -> EarlyExit:
    """Hang a head, with weights of its own, behind each of these modules of `net`."""
    points = []
    for place, head in heads.items():
        points.append(ExitPoint(net.get_submodule(place), initialised(head)))
        net.set_submodule(place, points[-1])
    names = {module: name for name, module in net.named_modules()}  # an exit inside another has a longer one now
    places = [names[point] for point in points]
    return EarlyExit(net, places, [THRESHOLD] * len(points), [EARLY_WEIGHT] * len(points) + [LAST_WEIGHT])


def classify(channels: int, side: int, num_classes: int) -> OrderedDict[str, nn.Module]:
    """Maps of side x side, whatever they were, and a linear layer on them."""
    linear = nn.Linear(channels * side * side, num_classes)
    return OrderedDict(avgpool=nn.AdaptiveAvgPool2d(side), flatten=nn.Flatten(), fc=linear)


@models(input=(1, 28, 28), smallest=(1, 16, 16), params=74_694, macs=1_247_720, year=2016, paper=PAPER)
def branchy_lenet(*, in_channels: int = 1, num_classes: int = 10, width: float = 1.0) -> EarlyExit:
    """B-LeNet: three convolutions of 5x5 and two linear layers, an exit behind the first convolution."""
    c1, c2, c3, hidden, side = (scaled(channels, width) for channels in (5, 10, 20, 84, 10))
    net = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(in_channels, c1, 5, padding=3),
            pool1=nn.MaxPool2d(2, ceil_mode=True),
            relu1=nn.ReLU(inplace=True),
            conv2=nn.Conv2d(c1, c2, 5, padding=3),
            pool2=nn.MaxPool2d(2, ceil_mode=True),
            relu2=nn.ReLU(inplace=True),
            conv3=nn.Conv2d(c2, c3, 5, padding=3),
            pool3=nn.MaxPool2d(2, ceil_mode=True),
            relu3=nn.ReLU(inplace=True),
            avgpool=nn.AdaptiveAvgPool2d(6),
            flatten=nn.Flatten(),
            fc1=nn.Linear(c3 * 6 * 6, hidden),
            fc2=nn.Linear(hidden, num_classes),
        )
    )
    head = OrderedDict(
        pool1=nn.MaxPool2d(2, ceil_mode=True),
        relu1=nn.ReLU(inplace=True),
        conv=nn.Conv2d(c1, side, 3, padding=1),
        pool2=nn.MaxPool2d(2, ceil_mode=True),
        relu2=nn.ReLU(inplace=True),
        **classify(side, 8, num_classes),
    )
    return with_exits(initialised(net), {"conv1": nn.Sequential(head)})


def normed_pool() -> OrderedDict[str, nn.Module]:
    """ReLU, overlapping max pool, and local response normalisation over 3 channels."""
    # torch divides alpha by the 3 channels, the authors' 5e-5 is for each.
    norm = nn.LocalResponseNorm(3, alpha=3 * 5e-5, beta=0.75, k=2.0)
    return OrderedDict(relu=nn.ReLU(), pool=nn.MaxPool2d(3, stride=2, ceil_mode=True), norm=norm)


@models(input=(3, 32, 32), smallest=(3, 16, 16), params=605_886, macs=30_465_536, year=2016, paper=PAPER)
def branchy_alexnet(*, in_channels: int = 3, num_classes: int = 10, width: float = 1.0, dropout: float = 0.5) -> EarlyExit:
    """B-AlexNet for CIFAR-10: five convolutions and three linear layers, exits behind the second and the third convolution."""
    c1, c2, c3, c4, c5, side, f1, f2 = (scaled(channels, width) for channels in (32, 64, 96, 96, 64, 32, 256, 128))
    net = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(in_channels, c1, 5, padding=2),
            norm1=nn.Sequential(normed_pool()),
            conv2=nn.Conv2d(c1, c2, 5, padding=2),
            norm2=nn.Sequential(normed_pool()),
            conv3=nn.Conv2d(c2, c3, 3, padding=1),
            relu3=nn.ReLU(inplace=True),
            conv4=nn.Conv2d(c3, c4, 3, padding=1),
            relu4=nn.ReLU(inplace=True),
            conv5=nn.Conv2d(c4, c5, 3, padding=1),
            relu5=nn.ReLU(inplace=True),
            pool5=nn.MaxPool2d(3, stride=2, ceil_mode=True),
            avgpool=nn.AdaptiveAvgPool2d(4),
            flatten=nn.Flatten(),
            fc1=nn.Linear(c5 * 4 * 4, f1),
            relu6=nn.ReLU(inplace=True),
            dropout1=dropout_layer(dropout),
            fc2=nn.Linear(f1, f2),
            relu7=nn.ReLU(inplace=True),
            dropout2=dropout_layer(dropout),
            fc3=nn.Linear(f2, num_classes),
        )
    )
    first = OrderedDict(
        **normed_pool(),
        conv1=nn.Conv2d(c2, side, 3, padding=1),
        relu1=nn.ReLU(inplace=True),
        conv2=nn.Conv2d(side, side, 3, padding=1),
        relu2=nn.ReLU(inplace=True),
        pool2=nn.MaxPool2d(3, stride=2, ceil_mode=True),
        **classify(side, 4, num_classes),
    )
    second = OrderedDict(
        **normed_pool(),
        conv1=nn.Conv2d(c3, side, 3, padding=1),
        relu1=nn.ReLU(inplace=True),
        pool1=nn.MaxPool2d(3, stride=2, ceil_mode=True),
        **classify(side, 2, num_classes),
    )
    return with_exits(initialised(net), {"conv2": nn.Sequential(first), "conv3": nn.Sequential(second)})


@models(input=(3, 32, 32), smallest=(3, 8, 8), params=2_277_550, macs=312_623_744, year=2016, paper=PAPER)
def branchy_resnet(*, in_channels: int = 3, num_classes: int = 10, width: float = 1.0) -> EarlyExit:
    """B-ResNet for CIFAR-10: ResNet-110 with exits behind its first block and behind its first stage, the 37th convolution.

    The first head has three convolutions and a linear layer, the second a residual block and a linear layer.
    """
    c1, wide, narrow = (scaled(channels, width) for channels in (16, 64, 32))
    net = resnet_cifar(18, in_channels=in_channels, num_classes=num_classes, width=width)
    first = OrderedDict(
        conv1=nn.Conv2d(c1, wide, 5, padding=2),
        relu1=nn.ReLU(inplace=True),
        norm1=nn.LocalResponseNorm(3, alpha=3 * 5e-5, beta=0.75, k=2.0),
        conv2=nn.Conv2d(wide, narrow, 3, padding=1),
        relu2=nn.ReLU(inplace=True),
        conv3=nn.Conv2d(narrow, narrow, 3, padding=1),
        relu3=nn.ReLU(inplace=True),
        **classify(narrow, 32, num_classes),
    )
    second = OrderedDict(block=BasicBlock(c1, c1), **classify(c1, 32, num_classes))
    return with_exits(net, {"layer1.0": nn.Sequential(first), "layer1": nn.Sequential(second)})
