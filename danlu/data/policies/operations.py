"""The operations of policies by name, and a batch in which each image has its own.

An operation takes uint8 [B, H, W, C] and an amount for each image, in its own unit: a shear, a share of the side, degrees, a
factor, a threshold, bits. What a magnitude is worth says the policy.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from . import colour, geometry

Operation = Callable[[Tensor, Tensor], Tensor]

OPERATIONS: dict[str, Operation] = {
    "shear_x": geometry.shear_x,
    "shear_y": geometry.shear_y,
    "translate_x": geometry.translate_x,
    "translate_y": geometry.translate_y,
    "rotate": geometry.rotate,
    "brightness": colour.brightness,
    "colour": colour.colour,
    "contrast": colour.contrast,
    "sharpness": colour.sharpness,
    "posterize": colour.posterize,
    "solarize": colour.solarize,
    "autocontrast": colour.autocontrast,
    "equalize": colour.equalize,
    "invert": colour.invert,
}
SIGNED = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")  # to either side, by a coin
IDENTITY = "identity"


def applied(images: Tensor, names: Sequence[str], which: np.ndarray, amounts: np.ndarray) -> Tensor:
    """A new batch: image b went through the operation names[which[b]] by amounts[b]; "identity" leaves it.

    Images with the same operation go together. Shape: uint8 [B, H, W, C]; which int [B], amounts float [B].
    """
    result = images.clone()
    for number, name in enumerate(names):
        rows = np.flatnonzero(which == number)
        if len(rows) and name != IDENTITY:
            at = torch.from_numpy(rows).to(images.device)
            result[at] = OPERATIONS[name](images[at], torch.from_numpy(amounts[rows]).to(images.device, torch.float32))
    return result
