"""A net that may answer before its end: side classifiers, and the rule that picks one answer for each image.

    H(z) = -sum_k p_k log p_k / log K,   p = softmax(z)         entropy of an answer, 0 (sure) to 1 (no idea)
    answer = logits of the first exit with H < its threshold, of the last exit where there is none

Source: Teerapittayanon et al. 2016, BranchyNet, https://arxiv.org/abs/1709.01686.
Differs: the entropy is divided by its largest value, log K, so that a threshold means the same for any number of classes.
"""

import copy
import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UsageError
from ._registry import layers

INNER_KERNEL = 3  # of the convolutions of a head behind its first one


def exit_entropy(logits: Tensor) -> Tensor:
    """Entropy of softmax(logits) as a share of log K. Shape: [..., K] -> [...]."""
    return -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1) / math.log(logits.shape[-1])


class GridPool(nn.Module):
    """The maximum of each cell of a grid laid over the map, whatever its size: stride H // grid, the cells reach the end.

    Shape: [B, C, H, W] -> [B, C, grid, grid]; H and W at least `grid`. Raises: UsageError for a smaller map.
    """

    def __init__(self, grid: int) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, C, H, W] -> [B, C, grid, grid]."""
        # Written without a branch, so that torch.fx can follow; in ONNX it is one MaxPool.
        rest = self.grid - 1
        tall, wide = x.shape[2] // self.grid, x.shape[3] // self.grid
        try:
            return F.max_pool2d(x, (x.shape[2] - rest * tall, x.shape[3] - rest * wide), (tall, wide))
        except RuntimeError as error:
            if min(x.shape[2:]) >= self.grid:
                raise
            size = f"{x.shape[2]}x{x.shape[3]}"
            said = f"an exit's grid of {self.grid}x{self.grid} cells needs a map as large, got {size}"
            raise UsageError(f"{said}; feed larger images, or add the exit with grid={min(x.shape[2:])}") from error

    def extra_repr(self) -> str:
        """Its argument."""
        return str(self.grid)


@layers(paper="arxiv:1709.01686")
class ExitHead(nn.Sequential):
    """A small classifier on a map: convolutions with ReLU (none without `channels`), a grid of maxima, ReLU, a linear layer.

    `channels` has the maps of each convolution; the first has `kernel`, those behind it 3x3 at most, all have `stride`.
    Shape: [B, in_channels, H, W] -> [B, num_classes], for any H and W that leave `grid` pixels behind the strides.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        channels: Sequence[int] = (),
        kernel: int = 3,
        stride: int = 1,
        grid: int = 4,
    ) -> None:
        super().__init__()
        self.in_channels, self.num_classes = in_channels, num_classes
        self.channels, self.kernel, self.stride, self.grid = tuple(channels), kernel, stride, grid
        width = in_channels
        for i, maps in enumerate(self.channels):
            if i:
                self.add_module(f"relu{i}", nn.ReLU())
            size = kernel if i == 0 else min(kernel, INNER_KERNEL)
            self.add_module(f"conv{i + 1}", nn.Conv2d(width, maps, size, stride=stride, padding=size // 2))
            width = maps
        self.pool = GridPool(grid)
        self.relu = nn.ReLU()
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(width * grid * grid, num_classes)

    def extra_repr(self) -> str:
        """Its arguments."""
        conv = f"channels={list(self.channels)}, kernel={self.kernel}, stride={self.stride}, " if self.channels else ""
        return f"{self.in_channels}, {self.num_classes}, {conv}grid={self.grid}"


class ExitPoint(nn.Module):
    """A module with an exit behind it: gives what the module gives, and leaves the head's logits in `logits`."""

    def __init__(self, module: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.head = head
        self.logits: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Shape: as the module's."""
        y: Tensor = self.module(x)
        # What follows may be an in-place ReLU, which would take from the head the map that its gradient needs.
        self.logits = self.head(y.clone() if torch.is_grad_enabled() else y)
        return y

    def take(self) -> Tensor:
        """The logits of the last forward [B, K], once: nothing stays behind to be copied or traced."""
        logits, self.logits = self.logits, None
        if logits is None:
            raise UsageError("the forward of this net passed an exit by; place exits on modules that every image goes through")
        return logits


class EarlyExit(nn.Module):
    """A net with exits. `net` holds an ExitPoint at each of `places`, its module names in running order.

    In training mode it gives the logits of all exits, for a joint loss sum_e w_e L_e / sum_e w_e with the `exit_weights`; in
    eval mode the answer of the first exit that is sure of it. All exits are computed there, so a batch gets exactly what
    its images would get one by one; `danlu.deploy.export_exits` writes a file that stops at the exit.

    `thresholds` [E - 1] is a buffer: it is saved with the weights.

    Shape: [B, C, H, W] -> [B, E, K] in training mode, [B, K] in eval mode.
    """

    thresholds: Tensor

    def __init__(self, net: nn.Module, places: Sequence[str], thresholds: Sequence[float], exit_weights: Sequence[float]) -> None:
        super().__init__()
        self.net = net
        self.places = tuple(places)
        self.exit_weights = tuple(float(weight) for weight in exit_weights)
        self.register_buffer("thresholds", torch.tensor([float(t) for t in thresholds]))

    def point(self, place: str) -> ExitPoint:
        """The ExitPoint at one of `places`."""
        return cast(ExitPoint, self.net.get_submodule(place))

    def plain(self) -> nn.Module:
        """A copy of the net without its exits, as it was before they were added."""
        net = copy.deepcopy(self.net)
        for place in sorted(self.places, key=len, reverse=True):  # the inner ones first
            parent, _, key = place.rpartition(".")
            holder = net.get_submodule(parent)
            holder._modules[key] = cast(ExitPoint, holder._modules[key]).module
        return net

    def exits(self, x: Tensor) -> list[Tensor]:
        """The logits of every exit, in running order, the net's own last. Shape: [B, C, H, W] -> E times [B, K]."""
        last = self.net(x)
        return [*(self.point(place).take() for place in self.places), last]

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, C, H, W] -> [B, E, K] in training mode, [B, K] in eval mode."""
        exits = self.exits(x)
        if self.training:
            return torch.stack(exits, dim=1)
        answer = exits[-1]
        for i in reversed(range(len(exits) - 1)):
            sure = exit_entropy(exits[i]) < self.thresholds[i]
            answer = torch.where(sure.unsqueeze(1), exits[i], answer)
        return answer

    def extra_repr(self) -> str:
        """Where the exits are."""
        return f"places={list(self.places)}, exit_weights={list(self.exit_weights)}"
