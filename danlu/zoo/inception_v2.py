"""Inception v2 (BN-Inception): GoogLeNet with batch norm behind every convolution, and two 3x3 layers for each 5x5 one.

    y = [conv1x1(x); conv3x3(conv1x1(x)); conv3x3(conv3x3(conv1x1(x))); conv1x1(pool(x))]      (channels concatenated)

Two 3x3 layers see 5x5 pixels with 18 weights for 25. Maps are halved inside two blocks of stride 2, beside a max pool, and no
longer between blocks.

Source: Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167, figure 5, as in the authors' TensorFlow-Slim (`inception_v2`),
whose count without the classifier this net has; two 3x3 for 5x5: Szegedy et al. 2015, https://arxiv.org/abs/1512.00567.
Differs: the Caffe port known as BN-Inception (11.3 M parameters) has a plain 7x7 stem, wider blocks 4c and 4d, and convolutions
with bias. Padding is symmetric, where TensorFlow pads a stride of 2 on an even map below and to the right alone.
"""

from collections import OrderedDict

from torch import nn

from ..nn import Concat
from ._inception import EPS, BasicConv2d
from ._init import initialised
from ._knobs import dropout as dropout_layer
from ._knobs import scaled
from ._registry import models

DEPTHWISE = 8  # filters for each channel of the image, in the separable stem

# Figure 5 of the paper: #1x1, #3x3 reduce, #3x3, double #3x3 reduce, double #3x3, pool proj; 0 where there is none.
BLOCKS = {
    "inception3a": (64, 64, 64, 64, 96, 32),
    "inception3b": (64, 64, 96, 64, 96, 64),
    "inception3c": (0, 128, 160, 64, 96, 0),
    "inception4a": (224, 64, 96, 96, 128, 128),
    "inception4b": (192, 96, 128, 96, 128, 128),
    "inception4c": (160, 128, 160, 128, 160, 96),
    "inception4d": (96, 128, 192, 160, 192, 96),
    "inception4e": (0, 128, 192, 192, 256, 0),
    "inception5a": (352, 192, 320, 160, 224, 128),
    "inception5b": (352, 192, 320, 192, 224, 128),
}
MAX_POOLED = "inception5b"  # the other blocks of stride 1 have a mean before their projection


class Inception(Concat):
    """1x1; 1x1, 3x3; 1x1, 3x3, 3x3; pool, 1x1. Without 1x1 channels it has stride 2, and its pool passes all channels on.

    Shape: [B, in_channels, H, W] -> [B, out_channels, H, W], or [B, out_channels, ceil(H / 2), ceil(W / 2)]
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...], *, max_pool: bool) -> None:
        point, reduce3, out3, reduce_double, out_double, projected = widths
        stride = 1 if point else 2
        branches: OrderedDict[str, nn.Module] = OrderedDict()
        if point:
            branches["branch1"] = BasicConv2d(in_channels, point, 1)
        branches["branch2"] = nn.Sequential(
            BasicConv2d(in_channels, reduce3, 1), BasicConv2d(reduce3, out3, 3, stride=stride)
        )  # fmt: skip
        branches["branch3"] = nn.Sequential(
            BasicConv2d(in_channels, reduce_double, 1),
            BasicConv2d(reduce_double, out_double, 3),
            BasicConv2d(out_double, out_double, 3, stride=stride),
        )
        if projected:
            mean = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
            pool = nn.MaxPool2d(3, stride=1, padding=1) if max_pool else mean
            branches["branch4"] = nn.Sequential(pool, BasicConv2d(in_channels, projected, 1))
        else:
            branches["branch4"] = nn.MaxPool2d(3, stride=stride, padding=1)
        super().__init__(branches)
        self.out_channels = point + out3 + out_double + (projected or in_channels)


class SeparableStem(nn.Sequential):
    """7x7 of stride 2 in two steps, with nothing between them: eight filters for each channel, then 1x1; batch norm, ReLU.

    Shape: [B, in_channels, H, W] -> [B, out_channels, ceil(H / 2), ceil(W / 2)]
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        between = DEPTHWISE * in_channels
        self.depthwise = nn.Conv2d(in_channels, between, 7, stride=2, padding=3, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(between, out_channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=EPS)
        self.relu = nn.ReLU(inplace=True)


@models(
    input=(3, 224, 224), smallest=(3, 32, 32), params=11_188_288, macs=1_934_857_216, year=2015, paper="arxiv:1502.03167"
)  # fmt: skip
def inception_v2(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.0) -> nn.Sequential:
    """BN-Inception: ten inception blocks, two of them of stride 2. No dropout: batch norm regularises, the paper says."""
    stem, channels = scaled(64, width), scaled(192, width)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=SeparableStem(in_channels, stem),
        maxpool1=nn.MaxPool2d(3, stride=2, padding=1),
        conv2=BasicConv2d(stem, stem, 1),
        conv3=BasicConv2d(stem, channels, 3),
        maxpool2=nn.MaxPool2d(3, stride=2, padding=1),
    )
    for name, published in BLOCKS.items():
        widths = tuple(scaled(value, width) if value else 0 for value in published)
        block = Inception(channels, widths, max_pool=name == MAX_POOLED)
        parts[name] = block
        channels = block.out_channels
    parts.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), dropout=dropout_layer(dropout))
    parts["fc"] = nn.Linear(channels, num_classes)
    return initialised(nn.Sequential(parts))
