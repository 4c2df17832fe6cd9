"""Dynamic capacity net: cheap layers look everywhere, rich layers only at the few patches where the answer hangs in the balance.

    c = coarse(x),  saliency_ij = |dH(top(c)) / dc_ij|,  H = entropy of the softmax
    r_ij = fine(patch_ij of x)  at the `patches` most salient places,  c_ij  elsewhere;   logits = top(r)

The saliency is written out, so that it runs in a plain forward and exports. With z = conv(c), m = max of each map of relu(z),
logits = V m + b, p = softmax:

    dH/dlogits = -p (log p + H),    dH/dm = V^T dH/dlogits,    dH/dc = conv^T(dH/dm at the places of the maxima where z > 0)

Source: Almahairi et al. 2016, https://arxiv.org/abs/1511.07838, section 4.1, the net for 100x100 cluttered MNIST, 8 patches.
Differs: no batch norm, whose batch statistics would let images see each other in the choice of patches. The squared distance
between coarse and fine vectors, a term of the paper's loss, comes from `with_hint`; `danlu.fit` trains without it.
"""

import math
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UsageError
from ._init import initialised
from ._knobs import scaled
from ._registry import models

PATCH = 14  # the side that the fine layers take to one pixel


class Top(nn.Module):
    """A convolution without padding, ReLU, the maximum of each map, a linear layer; and where its entropy is sensitive.

    It holds the weights of both layers itself: `saliency` is the derivative of these two, and an edit that changed one of
    them would leave it that of another net.

    Shape: [B, in_channels, H, W] -> [B, num_classes]
    """

    def __init__(self, in_channels: int, maps: int, num_classes: int, *, kernel: int = 4, stride: int = 2) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(maps, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(maps))
        self.class_weight = nn.Parameter(torch.empty(num_classes, maps))
        self.class_bias = nn.Parameter(torch.zeros(num_classes))
        nn.init.normal_(self.weight, std=math.sqrt(2 / (in_channels * kernel * kernel)))
        nn.init.normal_(self.class_weight, std=math.sqrt(1 / (3 * maps)))

    def forward(self, x: Tensor, *, saliency: bool = False) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, num_classes]; with `saliency` [B, H, W]."""
        if saliency:
            return self.saliency(x)
        most = F.conv2d(x, self.weight, self.bias, self.stride).relu().amax((2, 3))
        return F.linear(most, self.class_weight, self.class_bias)

    def saliency(self, x: Tensor) -> Tensor:
        """Length of the entropy's gradient at each place. Shape: [B, in_channels, H, W] -> [B, H, W]."""
        z = F.conv2d(x, self.weight, self.bias, self.stride)
        most = z.relu().amax((2, 3), keepdim=True)
        log_p = F.linear(most.flatten(1), self.class_weight, self.class_bias).log_softmax(1)
        p = log_p.exp()
        entropy = -(p * log_p).sum(1, keepdim=True)
        by_map = F.linear(-p * (log_p + entropy), self.class_weight.t())
        at_maximum = ((z == most) & (z > 0)).to(z.dtype)  # equal maxima, of measure zero, count each
        back = F.conv_transpose2d(at_maximum * by_map[:, :, None, None], self.weight, stride=self.stride)
        # A stride may leave the last rows and columns unread: their gradient is zero.
        back = F.pad(back, (0, x.shape[3] - back.shape[3], 0, x.shape[2] - back.shape[2]))
        return back.square().sum(1).sqrt()

    def extra_repr(self) -> str:
        """The sizes of its two layers."""
        maps, in_channels, kernel, _ = self.weight.shape
        return f"{in_channels}, {maps}, {len(self.class_weight)}, kernel={kernel}, stride={self.stride}"


def windows(x: Tensor, rows: int, columns: int) -> Tensor:
    """The patch of the image around each place of a rows x columns map, with zeros beyond the edges.

    Places are H // (rows + 1) pixels apart, 4 under the coarse layers of the paper, and lie centred on the image: convolutions
    without padding leave as much at both ends. Read from the sizes, they stay right when strides change.

    Shape: [B, C, H, W] -> [B, C * 14 * 14, rows * columns]
    """
    down, right = x.shape[2] // (rows + 1), x.shape[3] // (columns + 1)
    tall, wide = (rows - 1) * down + PATCH - x.shape[2], (columns - 1) * right + PATCH - x.shape[3]
    around = F.pad(x, (wide // 2, wide - wide // 2, tall // 2, tall - tall // 2))
    return F.unfold(around, PATCH, stride=(down, right))


class DynamicCapacity(nn.Module):
    """Coarse layers everywhere, fine layers at the `patches` most salient places, top layers on the map of both.

    Shape: [B, C, H, W] -> [B, num_classes], for any H and W of which the coarse layers leave `patches` places and a window of
    the top layers.
    """

    def __init__(self, coarse: nn.Sequential, fine: nn.Sequential, top: Top, patches: int) -> None:
        super().__init__()
        self.coarse, self.fine, self.top = coarse, fine, top
        self.patches = patches

    def salient(self, coarse: Tensor) -> Tensor:
        """Indices into H * W of the most salient places. Shape: [B, C, H, W] -> int64 [B, patches]."""
        return self.top(coarse.detach(), saliency=True).flatten(1).topk(self.patches, dim=1, sorted=False).indices

    def refined(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The map of both, and the coarse and the fine vectors at the salient places.

        Shape: [B, C, H, W] -> [B, channels, h, w], [B, channels, patches], [B, channels, patches]
        """
        coarse = self.coarse(x)
        places = self.salient(coarse)[:, None, :]
        patches = windows(x, coarse.shape[2], coarse.shape[3]).gather(2, places.expand(-1, x.shape[1] * PATCH * PATCH, -1))
        patches = patches.transpose(1, 2).reshape(-1, x.shape[1], PATCH, PATCH)
        # One vector a patch: the mean over a map of one pixel, or over the larger one that an edit of the strides leaves.
        fine = self.fine(patches).mean((2, 3)).unflatten(0, (-1, self.patches)).transpose(1, 2)
        vectors = coarse.flatten(2)
        places = places.expand(-1, vectors.shape[1], -1)
        both = vectors.scatter(2, places, fine).view_as(coarse)
        return both, vectors.gather(2, places), fine

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, C, H, W] -> [B, num_classes]."""
        return self.top(self.refined(x)[0])

    def with_hint(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and the paper's hint loss: sum over the salient places of |coarse - fine|^2, the mean over images.

        Shape: [B, C, H, W] -> [B, num_classes], scalar
        """
        both, coarse, fine = self.refined(x)
        return self.top(both), (coarse - fine).square().sum((1, 2)).mean()

    def extra_repr(self) -> str:
        """How many patches."""
        return f"patches={self.patches}"


def convolutions(channels: int, rows: tuple[tuple[int, int, int, int], ...], pool_after: Any = ()) -> nn.Sequential:
    """Convolutions of (channels, kernel, stride, padding) with ReLU, and 2x2 max pools after those in `pool_after`."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for i, (out, kernel, stride, padding) in enumerate(rows, start=1):
        parts[f"conv{i}"] = nn.Conv2d(channels, out, kernel, stride=stride, padding=padding)
        parts[f"relu{i}"] = nn.ReLU(inplace=True)
        if i in pool_after:
            parts[f"pool{i}"] = nn.MaxPool2d(2)
        channels = out
    return nn.Sequential(parts)


@models(input=(1, 100, 100), smallest=(1, 32, 32), params=62_218, macs=22_980_396, year=2015, paper="arxiv:1511.07838")
def dynamic_capacity_net(*, in_channels: int = 1, num_classes: int = 10, width: float = 1.0, patches: int = 8) -> nn.Module:
    """DCN for cluttered MNIST: two coarse convolutions, five fine ones at 8 salient patches of 14x14, one on top.

    `patches` is the number of places that the fine layers look at, 1 to 36.
    """
    if isinstance(patches, bool) or not 1 <= patches <= 36:
        raise UsageError(f"patches are the places that the fine layers look at, 1 to 36; got {patches!r}")
    low, maps = scaled(12, width), scaled(24, width)
    net = DynamicCapacity(
        coarse=convolutions(in_channels, ((low, 7, 2, 0), (maps, 3, 2, 0))),
        fine=convolutions(
            in_channels, ((maps, 3, 1, 0), (maps, 3, 1, 1), (maps, 3, 1, 1), (maps, 3, 1, 1), (maps, 3, 1, 0)), pool_after=(2, 4)
        ),
        top=Top(maps, scaled(96, width), num_classes),
        patches=patches,
    )
    initialised(net)
    # `initialised` takes the last convolution for the classifier, which here is in `top`; a ReLU follows this one.
    nn.init.kaiming_normal_(net.get_parameter("fine.conv5.weight"))
    return net
