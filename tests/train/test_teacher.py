"""A teacher of another input sees what it learned to see."""

import numpy as np
import pytest
import torch
from torch import nn

from danlu.data import Input, load_data
from danlu.errors import UsageError
from danlu.train.teacher import Teacher


def test_other_normalisation_is_undone() -> None:
    knows = Input((8, 8), 3, (0.5, 0.4, 0.3), (0.2, 0.3, 0.1))
    sees = Input((8, 8), 3, (0.1, 0.2, 0.3), (0.25, 0.3, 0.4))
    pixels = torch.rand(4, 3, 8, 8)

    def normalised(spec: Input) -> torch.Tensor:
        return (pixels - torch.tensor(spec.mean).view(1, 3, 1, 1)) / torch.tensor(spec.std).view(1, 3, 1, 1)

    assert torch.allclose(Teacher(nn.Identity(), knows, sees)(normalised(sees)), normalised(knows), atol=1e-5)
    assert torch.equal(Teacher(nn.Identity(), knows, knows)(pixels), pixels)


def test_other_size_is_resized_like_the_data() -> None:
    source = load_data("digits", size=8)
    large = load_data("digits", size=16)
    x = source.test.images(np.arange(5)).float()
    knows, sees = Input((16, 16), 1, (0.0,), (1.0,)), Input((8, 8), 1, (0.0,), (1.0,))
    seen = Teacher(nn.Identity(), knows, sees)(x)
    assert seen.shape == (5, 1, 16, 16)
    assert float((seen - large.test.images(np.arange(5)).float()).abs().mean()) < 2  # of 255


def test_other_channels_are_refused() -> None:
    with pytest.raises(UsageError, match="3 channels, the images have 1"):
        Teacher(nn.Identity(), Input((8, 8), 3, (0.0,) * 3, (1.0,) * 3), Input((8, 8), 1, (0.0,), (1.0,)))
