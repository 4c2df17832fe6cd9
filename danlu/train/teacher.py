"""A teacher that learned from another input: other size, other normalisation."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..data import Input
from ..errors import UsageError


class Teacher(nn.Module):
    """Brings a student's batch into the form the teacher knows, then asks the teacher.

        x_teacher = resized((x std + mean) of the student, to the teacher's size), normalised as the teacher's images were

    Shape: [B, C, H, W] as the student sees it -> the teacher's outputs.
    Raises: UsageError for another number of channels, or another curve of the grey levels, which cannot be undone.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, model: nn.Module, knows: Input, sees: Input) -> None:
        super().__init__()
        if knows.channels != sees.channels:
            raise UsageError(f"the teacher takes {knows.channels} channels, the images have {sees.channels}")
        if knows.curve != sees.curve:
            raise UsageError(
                "the teacher and the images are normalised by different curves of the grey levels (box_cox, equalize), which "
                "cannot be turned into each other; train both with the same normalize and size"
            )
        self.model = model
        self.size = knows.size
        mean, std, my_mean, my_std = (
            torch.tensor(values).view(1, -1, 1, 1) for values in (sees.mean, sees.std, knows.mean, knows.std)
        )
        self.register_buffer("scale", std / my_std)
        self.register_buffer("shift", (mean - my_mean) / my_std)
        self.same = (knows.mean, knows.std) == (sees.mean, sees.std)

    def forward(self, x: Tensor) -> Tensor:
        if not self.same:
            x = x * self.scale + self.shift
        if x.shape[-2:] != self.size:
            x = functional.interpolate(x, self.size, mode="bilinear", align_corners=False, antialias=True)
        return self.model(x)
