"""The time-delay neural network: units that see a few frames of speech, and are the same at every moment; the first net with
weights shared over time, which is a convolution.

    spectrogram 16 x 15 -> 8 units that see 3 frames -> a unit for each class that sees 5 -> its mean over the 9 moments

Here an image is a spectrogram: H are the frequency bands, W the frames. A unit of the first layer sees all 16 bands; on a taller
image it is moved over the bands too.

Source: Waibel et al. 1989, Phoneme recognition using time-delay neural networks, https://doi.org/10.1109/29.21701 (B, D, G).
Differs: logits in the place of the last sigmoid.
"""

from collections import OrderedDict

from torch import nn

from ._few import few
from ._init import initialised
from ._registry import models

BANDS = 16  # mel-scale coefficients of a frame; a frame is 10 ms


@models(input=(1, BANDS, 15), smallest=(1, BANDS, 15), params=521, macs=6_075, year=1989, paper="doi:10.1109/29.21701")
def tdnn(*, in_channels: int = 1, num_classes: int = 3, width: float = 1.0) -> nn.Sequential:
    """The TDNN for three phonemes: 8 hidden units of 3 frames, one of 5 frames for each class, 6,233 connections.

    The logit of a class is the mean over time of its own unit, with a weight and a bias.
    """
    hidden = few(8, width)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        hidden1=nn.Conv2d(in_channels, hidden, (BANDS, 3)),
        sigmoid1=nn.Sigmoid(),
        hidden2=nn.Conv2d(hidden, num_classes, (1, 5)),
        sigmoid2=nn.Sigmoid(),
        integrate=nn.AdaptiveAvgPool2d(1),
        output=nn.Conv2d(num_classes, num_classes, 1, groups=num_classes),
        flatten=nn.Flatten(),
    )
    return initialised(nn.Sequential(parts))
