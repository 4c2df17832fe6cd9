"""Network in network: behind each convolution a small perceptron at every pixel, which is 1x1 convolutions (cccp layers).

    mlpconv     y = relu(W2 relu(W1 relu(W * x)))       W a k x k filter, W1 and W2 1x1

No linear layer at the end: the last 1x1 convolution gives one map for each class, whose mean is the logit.

Source: Lin, Chen and Yan 2013, https://arxiv.org/abs/1312.4400; the layers of the ImageNet net are those of the authors' Caffe
release (29 MB: 7.6 M parameters). The column's experiment with 0 to 7 cccp layers, https://github.com/longpeng2008/yousan.ai.
"""

from collections import OrderedDict

from torch import nn

from ..errors import UsageError
from ._init import initialised
from ._knobs import dropout as dropout_layer
from ._knobs import scaled
from ._registry import models

# Channels, kernel, stride and padding of each convolution, and how many cccp layers it has behind it.
BLOCKS = ((96, 11, 4, 0, 2), (256, 5, 1, 2, 2), (384, 3, 1, 1, 2), (1024, 3, 1, 1, 1))
MOST = 7


@models(input=(3, 224, 224), smallest=(3, 64, 64), params=7_595_176, macs=1_100_188_800, year=2013, paper="arxiv:1312.4400")
def nin(
    *, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, cccp: int = 7, dropout: float = 0.5
) -> nn.Sequential:
    """Network in network for ImageNet: 11x11, 5x5 and two 3x3 convolutions, seven 1x1 between them.

    `cccp` keeps the first so many of the seven, 0 to 7; the 1x1 convolution that classifies is always there.
    """
    if isinstance(cccp, bool) or not isinstance(cccp, int) or not 0 <= cccp <= MOST:
        raise UsageError(f"cccp is the number of 1x1 layers that are kept, 0 to {MOST}; got {cccp!r}")
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    number = 0
    for i, (published, kernel, stride, padding, count) in enumerate(BLOCKS, start=1):
        channels = scaled(published, width)
        if i > 1:
            parts[f"pool{i - 1}"] = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        if i == len(BLOCKS):
            parts["dropout"] = dropout_layer(dropout)
        parts[f"conv{i}"] = nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=padding)
        parts[f"relu{i}"] = nn.ReLU(inplace=True)
        for _ in range(count):
            number += 1
            if number <= cccp:
                parts[f"cccp{number}"] = nn.Conv2d(channels, channels, 1)
                parts[f"cccp_relu{number}"] = nn.ReLU(inplace=True)
        in_channels = channels
    parts["classifier"] = nn.Conv2d(in_channels, num_classes, 1)
    parts["classifier_relu"] = nn.ReLU(inplace=True)
    parts.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())
    return initialised(nn.Sequential(parts))
