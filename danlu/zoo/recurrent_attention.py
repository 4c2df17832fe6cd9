"""RA-CNN: look, choose where to look closer, look again: three nets at three scales, each zoomed into a box that the one before
proposes from what it saw. It finds the beak that tells two birds apart without being told about beaks.

    logits_s, map_s = net_s(x_s),   box_s = proposal_s(map_s),   x_{s+1} = crop(x_s, box_s)         s = 1, 2, 3

In training the logits of all scales are given, [B, 3, K], like those of a net with early exits, and `exit_weights` are their
weights in the loss. The answer in eval mode is the mean of their log-probabilities.

Source: Fu et al. 2017, Look closer to see better, https://doi.org/10.1109/CVPR.2017.476; VGG-19: Simonyan and Zisserman 2014.
Differs: the mean of each last map stands before the classifiers, in the place of VGG's two linear layers of 4096. A box is
inside the image by construction, a third to all of its side. The paper joins the scales by one more linear layer, trained
behind the finished nets. Its loss adds `rank_loss` and trains proposals and nets in turns; `danlu.fit` has no place for either
and trains all on the classification losses, whose gradient reaches the proposals through the crops. For the paper's way, call
`rank_loss` in a loop of your own.
"""

import torch
from torch import Tensor, nn

from ..nn import AttentionCrop
from ._init import initialised
from ._knobs import scaled, side
from ._registry import models

PAPER = "doi:10.1109/CVPR.2017.476"
VGG19 = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)
HIDDEN = 1024
SCALES = 3
SMALLEST = 32  # the five max pools of VGG leave one pixel
LEAST_SIDE = 1 / 3


def rank_loss(logits: Tensor, targets: Tensor, *, margin: float = 0.05) -> Tensor:
    """Asks each scale to be surer of the right class than the one before it.

        L = mean over images of sum_s max(0, p_s - p_{s+1} + margin),   p_s = probability of the target at scale s

    Shape: logits [B, S, K], targets int64 [B] -> scalar
    """
    chosen = targets[:, None, None].expand(-1, logits.shape[1], 1)
    p = logits.softmax(2).gather(2, chosen).squeeze(2)
    return (p[:, :-1] - p[:, 1:] + margin).clamp(min=0).sum(1).mean()


def trunk(in_channels: int, width: float, batch_norm: bool) -> nn.Sequential:
    """The sixteen convolutions of VGG-19 with their pools."""
    layers: list[nn.Module] = []
    for stage in VGG19:
        for published in stage:
            out = scaled(published, width)
            layers.append(nn.Conv2d(in_channels, out, 3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(out))
            layers.append(nn.ReLU(inplace=True))
            in_channels = out
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


class Proposal(nn.Sequential):
    """Two linear layers that turn the last map into a box inside the image: centre x, centre y, side, as shares of the image.

        (a, b, c) = sigmoid(fc2(tanh(fc1(map)))),   side = 1/3 + 2/3 c,   centre = side / 2 + (1 - side) (a, b)

    Shape: [B, channels, pixels, pixels] -> [B, 3]
    """

    def __init__(self, channels: int, pixels: int, hidden: int) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(channels * pixels * pixels, hidden)
        self.tanh = nn.Tanh()
        self.fc2 = nn.Linear(hidden, 3)
        self.sigmoid = nn.Sigmoid()

    def forward(self, input: Tensor) -> Tensor:
        """Shape: [B, channels, pixels, pixels] -> [B, 3]."""
        share = super().forward(input)
        side = LEAST_SIDE + (1 - LEAST_SIDE) * share[:, 2:]
        return torch.cat([side / 2 + (1 - side) * share[:, :2], side], dim=1)


class RecurrentAttention(nn.Module):
    """Three trunks and classifiers, two proposals and crops between them.

    Shape: [B, C, size, size] -> [B, 3, K] in training mode, [B, K] in eval mode.
    """

    def __init__(self, in_channels: int, num_classes: int, size: int, *, width: float, batch_norm: bool) -> None:
        super().__init__()
        self.exit_weights = (1.0,) * SCALES
        closer = max(size // 2, SMALLEST)
        channels, hidden = scaled(VGG19[-1][-1], width), scaled(HIDDEN, width)
        pixels = (size // 32, closer // 32)
        self.trunks = nn.ModuleList(trunk(in_channels, width, batch_norm) for _ in range(SCALES))
        self.proposals = nn.ModuleList(Proposal(channels, side, hidden) for side in pixels)
        self.crops = nn.ModuleList(AttentionCrop(closer) for _ in pixels)
        self.classifiers = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)) for _ in range(SCALES)
        )

    def scales(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The logits of all scales and the two boxes. Shape: [B, C, size, size] -> [B, 3, K], 2 times [B, 3]."""
        logits, boxes = [], []
        for i, (trunk, classifier) in enumerate(zip(self.trunks, self.classifiers, strict=True)):
            seen = trunk(x)
            logits.append(classifier(seen))
            if i < len(self.proposals):
                boxes.append(self.proposals[i](seen))
                x = self.crops[i](x, boxes[i])
        return torch.stack(logits, dim=1), boxes

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, C, size, size] -> [B, 3, K] in training mode, [B, K] in eval mode."""
        logits, _ = self.scales(x)
        return logits if self.training else logits.log_softmax(2).mean(1)


def ra(net: str, *, in_channels: int, num_classes: int, width: float, size: int, batch_norm: bool) -> nn.Module:
    """The net of an entry, with fresh weights."""
    size = side(net, size, smallest=SMALLEST)
    return initialised(RecurrentAttention(in_channels, num_classes, size, width=width, batch_norm=batch_norm))


@models(input=(3, 448, 448), smallest=(3, 32, 32), params=188_839_710, macs=117_179_336_704, year=2017, paper=PAPER)
def ra_cnn(*, in_channels: int = 3, num_classes: int = 200, width: float = 1.0, size: int = 448) -> nn.Module:
    """RA-CNN: VGG-19 at 448 pixels, then twice at 224 on what it chose to see closer; 200 kinds of birds.

    `size` is the side of the input in pixels, 32 to 1024; the crops are half of it, but 32 at least.
    """
    return ra("ra_cnn", in_channels=in_channels, num_classes=num_classes, width=width, size=size, batch_norm=False)


@models(input=(3, 448, 448), smallest=(3, 32, 32), params=188_872_734, macs=117_179_336_704, year=2017, paper=PAPER)
def ra_cnn_bn(*, in_channels: int = 3, num_classes: int = 200, width: float = 1.0, size: int = 448) -> nn.Module:
    """RA-CNN with batch norm after every convolution, which lets its three VGG-19 train from scratch."""
    return ra("ra_cnn_bn", in_channels=in_channels, num_classes=num_classes, width=width, size=size, batch_norm=True)
