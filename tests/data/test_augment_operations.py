"""Operations of augmentation policies against Pillow, to which the papers' own code hands them."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from danlu.data.policies import OPERATIONS, applied
from danlu.data.policies.operations import IDENTITY

Picture = Image.Image


def affine(*rows: float) -> Callable[[Picture], Picture]:
    grey = {"RGB": (128,) * 3, "L": 128}
    return lambda image: image.transform(image.size, Image.Transform.AFFINE, rows, fillcolor=grey[image.mode])


def pillow(name: str, amount: float, image: Picture) -> Picture:
    grey = (128,) * 3 if image.mode == "RGB" else 128
    width, height = image.size
    known: dict[str, Callable[[Picture], Picture]] = {
        "shear_x": affine(1, amount, 0, 0, 1, 0),
        "shear_y": affine(1, 0, 0, amount, 1, 0),
        "translate_x": affine(1, 0, int(amount * width), 0, 1, 0),
        "translate_y": affine(1, 0, 0, 0, 1, int(amount * height)),
        "rotate": lambda image: image.rotate(amount, fillcolor=grey),
        "brightness": lambda image: ImageEnhance.Brightness(image).enhance(amount),
        "colour": lambda image: ImageEnhance.Color(image).enhance(amount),
        "contrast": lambda image: ImageEnhance.Contrast(image).enhance(amount),
        "sharpness": lambda image: ImageEnhance.Sharpness(image).enhance(amount),
        "posterize": lambda image: ImageOps.posterize(image, int(amount)),
        "solarize": lambda image: ImageOps.solarize(image, int(amount)),
        "autocontrast": ImageOps.autocontrast,
        "equalize": ImageOps.equalize,
        "invert": ImageOps.invert,
    }
    return known[name](image)


AMOUNTS: dict[str, list[float]] = {
    "shear_x": [0.13, -0.3, 0.0],
    "shear_y": [0.17, -0.29, 0.0],
    "translate_x": [0.45, -0.2, 0.0],
    "translate_y": [0.31, -0.45, 0.0],
    "rotate": [17.0, -29.0, 0.0],
    "brightness": [0.1, 0.63, 1.0, 1.9],
    "colour": [0.1, 0.37, 1.0, 1.9],
    "contrast": [0.1, 0.77, 1.0, 1.9],
    "sharpness": [0.1, 0.77, 1.0, 1.9],
    "posterize": [1, 4, 5, 7, 8],
    "solarize": [0, 57, 200, 256],
    "autocontrast": [0],
    "equalize": [0],
    "invert": [0],
}
NOTHING = {
    **dict.fromkeys(("shear_x", "shear_y", "translate_x", "translate_y", "rotate"), 0.0),
    **dict.fromkeys(("brightness", "colour", "contrast", "sharpness"), 1.0),
    "posterize": 8, "solarize": 256,
}  # fmt: skip


def pictures(height: int, width: int, channels: int) -> torch.Tensor:
    """Noise, smooth, dark, narrow in range, of one value, and almost of one."""
    rng = np.random.default_rng(height * width + channels)
    noise = rng.integers(0, 256, (2, height, width, channels))
    smooth = 60 + 2 * np.arange(height)[:, None, None] + 3 * np.arange(width)[:, None] + 5 * np.arange(channels)
    dark, narrow = rng.integers(0, 40, (height, width, channels)), rng.integers(99, 140, (height, width, channels))
    flat, nearly = np.full((height, width, channels), 77), np.full((height, width, channels), 9)
    nearly[0, 0] = 200
    return torch.from_numpy(np.stack([*noise, np.clip(smooth, 0, 255), dark, narrow, flat, nearly]).astype(np.uint8))


def test_every_operation_is_compared() -> None:
    assert AMOUNTS.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("size", [(16, 16), (20, 9), (3, 5)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_is_that_of_pillow(name: str, channels: int, size: tuple[int, int]) -> None:
    batch = pictures(*size, channels)
    before = batch.clone()
    for amount in AMOUNTS[name]:
        found = OPERATIONS[name](batch, torch.full((len(batch),), float(amount)))
        assert found.dtype == torch.uint8
        assert found.shape == batch.shape
        for image, got in zip(batch.numpy(), found.numpy(), strict=True):
            expected = np.asarray(pillow(name, amount, Image.fromarray(image if channels == 3 else image[..., 0])))
            off = np.abs(expected.reshape(got.shape).astype(int) - got)
            if name in ("shear_x", "shear_y", "rotate"):  # a place on the border of two pixels may fall to either
                assert (off.max(-1) > 0).mean() <= 0.02, (amount, off.max())
            else:
                assert off.max() <= 1, amount
                assert (off > 0).mean() <= (0.1 if name == "autocontrast" else 0.02), amount
    assert torch.equal(batch, before)


@pytest.mark.parametrize("name", NOTHING)
def test_no_strength_no_change(name: str) -> None:
    for channels in (1, 2, 3, 4):
        batch = pictures(7, 6, channels)
        assert torch.equal(OPERATIONS[name](batch, torch.full((len(batch),), float(NOTHING[name]))), batch)


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("name", OPERATIONS)
def test_other_channels_and_single_pixels(name: str, channels: int) -> None:
    for size in ((5, 4), (1, 1), (2, 7)):
        batch = pictures(*size, channels)
        found = OPERATIONS[name](batch, torch.full((len(batch),), float(AMOUNTS[name][0])))
        assert found.shape == batch.shape
        assert found.dtype == torch.uint8


def test_each_image_gets_its_own_operation_and_amount() -> None:
    batch = pictures(9, 11, 3)
    names = [*OPERATIONS, IDENTITY]
    rng = np.random.default_rng(0)
    for _ in range(10):
        which = rng.integers(0, len(names), len(batch))
        amounts = np.array([rng.choice(AMOUNTS.get(names[code], [0.0])) for code in which])
        found = applied(batch, names, which, amounts)
        for i, code in enumerate(which):
            alone = batch[i : i + 1]
            if names[code] != IDENTITY:
                alone = OPERATIONS[names[code]](alone, torch.tensor([amounts[i]], dtype=torch.float32))
            assert torch.equal(found[i], alone[0])
