"""Side classifiers beside a trunk: they help the gradient into a deep net while it trains, and are left out afterwards.

    loss = (L + sum_i w_i L_i) / (1 + sum_i w_i)          w_i = 0.3 in GoogLeNet

The training loop divides by the sum of the weights, where the paper adds the losses up, so that a usual learning rate stays one.

Source: Szegedy et al. 2014, Going deeper with convolutions, https://arxiv.org/abs/1409.4842, section 5.
"""

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ._registry import layers


@layers(paper="arxiv:1409.4842")
class SideClassified(nn.Sequential):
    """A trunk in order, by name; a part named in `sides` reads what stands before it and leaves it as it is.

    `sides` has the weight of each one's loss; the loss of the net's own classifier weighs 1. All of them are `exit_weights`.

    Shape: [B, C, H, W] -> [B, exits, K] in training mode, the net's own classifier last; [B, K] in eval mode
    """

    def __init__(self, parts: "OrderedDict[str, nn.Module]", sides: Mapping[str, float]) -> None:
        super().__init__(parts)
        self.sides = tuple(sides)
        self.exit_weights = (*sides.values(), 1.0)

    def exits(self, input: Tensor) -> list[Tensor]:
        """The logits of every classifier, in running order, the net's own last. Shape: [B, C, H, W] -> exits times [B, K]."""
        logits = []
        for name, layer in self.named_children():
            if name in self.sides:
                logits.append(layer(input))
            else:
                input = layer(input)
        return [*logits, input]

    def forward(self, input: Tensor) -> Tensor:
        """Shape: [B, C, H, W] -> [B, exits, K] in training mode, [B, K] in eval mode."""
        if self.training:
            return torch.stack(self.exits(input), dim=1)
        for name, layer in self.named_children():
            if name not in self.sides:
                input = layer(input)
        return input

    def extra_repr(self) -> str:
        """Which children are beside the trunk, and what the losses weigh."""
        return f"sides={list(self.sides)}, exit_weights={list(self.exit_weights)}"
