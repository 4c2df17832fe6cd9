"""Perceptual loss: two images are alike when a trained network sees the same in them; pixels may differ.

    L = sum_j w_j mean ( phi_j(output) - phi_j(target) )^2          mean over the C_j H_j W_j numbers of map j, and the batch

The network phi stays as it is; gradients go through it to the image.

Source: Johnson et al. 2016, https://arxiv.org/abs/1603.08155, equation 2.
Differs: any network, not VGG-16 alone, and several maps at once; |d| in place of d^2 as an option.
"""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UsageError, unknown
from ._check import check_alike, class_numbers
from ._registry import losses


class Features(nn.Module):
    """The outputs of named layers of a network, a frozen copy in eval mode: features for `perceptual`.

    Shape: [B, C, H, W] -> a list of the layers' outputs, in the order of `layers`
    Raises: UsageError for a name that is no layer, or a layer that the images do not reach exactly once.
    """

    def __init__(self, model: nn.Module, layers: Sequence[str]) -> None:
        super().__init__()
        names = [name for name, _ in model.named_modules() if name]
        for layer in layers:
            if layer not in names:
                raise unknown("layer", layer, names)
        if isinstance(layers, str) or not layers:
            raise UsageError(f"layers is a list of module names, got {layers!r}")
        self.layers = tuple(layers)
        self.model = copy.deepcopy(model).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Features":
        """The network stays in eval mode: what it sees must not depend on the batch."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Shape: [B, C, H, W] -> list of tensors."""
        seen: dict[str, list[Tensor]] = {name: [] for name in self.layers}

        def keep(name: str, module: nn.Module, inputs: object, output: Tensor) -> None:
            # A copy: the layer behind may be an activation that works in place.
            seen[name].append(output.clone())

        hooks = [self.model.get_submodule(name).register_forward_hook(partial(keep, name)) for name in self.layers]
        try:
            self.model(images)
        finally:
            for hook in hooks:
                hook.remove()
        for name, maps in seen.items():
            if len(maps) != 1:
                raise UsageError(f"layer {name!r} runs {len(maps)} times for an image; take one that runs once")
        return [maps[0] for maps in seen.values()]


@losses(task="perceive", paper="arxiv:1603.08155")
def perceptual(
    outputs: Tensor,
    targets: Tensor,
    features: Callable[[Tensor], Tensor | Sequence[Tensor]],
    *,
    distance: Literal["l2", "l1"] = "l2",
    weights: Sequence[float] = (),
) -> Tensor:
    """The distance of two images in the maps of a network; `weights` has one number a map, all 1 without.

    `features` gives a map or several: a function of yours, or Features(model, ["features.8"]) of a trained network.

    Shape: outputs and targets [B, C, H, W] -> scalar
    Raises: UsageError for other shapes, or weights that are not one number from 0 for each map.
    """
    check_alike("perceptual", outputs, targets)
    with torch.no_grad():
        wanted = features(targets.to(outputs.dtype))
    got = features(outputs)
    far = F.mse_loss if distance == "l2" else F.l1_loss
    if isinstance(got, Tensor) or isinstance(wanted, Tensor):
        got, wanted = [got], [wanted]  # type: ignore[list-item]
    found = torch.stack([far(a, b) for a, b in zip(got, wanted, strict=True)])
    if weights:
        if len(weights) != len(found):
            raise UsageError(f"perceptual: {len(weights)} weights do not go with {len(found)} maps; give one for each")
        found = found * class_numbers("perceptual", "weights", weights, found[None])
    return found.sum()
