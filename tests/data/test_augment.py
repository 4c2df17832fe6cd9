"""Batched crops and flips, against a loop over single images."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from danlu.data.augment import Augment, shifted, warped
from danlu.data.spec import Input
from danlu.errors import UsageError


def images(b: int, h: int, w: int, c: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(b * h).integers(1, 256, (b, h, w, c), dtype=np.uint8))


@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]), st.integers(1, 4), st.integers(0, 99))
def test_crop_is_a_window_into_the_padded_image(b: int, h: int, w: int, c: int, pad: int, seed: int) -> None:
    x = images(b, h, w, c)
    rng = np.random.default_rng(seed)
    top, left = rng.integers(0, 2 * pad + 1, (2, b))
    found = shifted(x, torch.from_numpy(top), torch.from_numpy(left), pad)
    for i in range(b):
        padded = np.pad(x[i].numpy(), ((pad, pad), (pad, pad), (0, 0)))
        assert np.array_equal(found[i].numpy(), padded[top[i] : top[i] + h, left[i] : left[i] + w])


def test_flip_and_crop_together_follow_the_same_numbers() -> None:
    x = images(64, 6, 5, 3)
    before = x.clone()
    found = Augment(crop=2, flip=True)(x, np.random.default_rng(7))
    rng = np.random.default_rng(7)
    top, left = rng.integers(0, 5, (2, 64))
    mirrored = rng.random(64) < 0.5
    assert 10 < mirrored.sum() < 54
    for i in range(64):
        padded = np.pad(before[i].numpy(), ((2, 2), (2, 2), (0, 0)))
        expected = padded[top[i] : top[i] + 6, left[i] : left[i] + 5]
        assert np.array_equal(found[i].numpy(), expected[:, ::-1] if mirrored[i] else expected)
    assert torch.equal(x, before)


def test_flip_alone_leaves_its_input() -> None:
    x = images(32, 4, 4, 1)
    before = x.clone()
    found = Augment(flip=True)(x, np.random.default_rng(0))
    assert torch.equal(x, before)
    kept = (found == before).flatten(1).all(1)
    turned = (found == before.flip(2)).flatten(1).all(1)
    assert bool((kept | turned).all())
    assert bool(kept.any())
    assert bool(turned.any())


def test_nothing_to_do() -> None:
    x = images(3, 4, 4, 1)
    assert torch.equal(Augment()(x, np.random.default_rng(0)), x)


def test_places_are_uniform() -> None:
    dot = torch.zeros(9000, 3, 3, 1, dtype=torch.uint8)
    dot[:, 1, 1] = 255
    moved = Augment(crop=1)(dot, np.random.default_rng(3)).float().mean(0)[:, :, 0] / 255
    assert moved.sum().item() == pytest.approx(1)
    assert (moved - 1 / 9).abs().max() < 5 * (1 / 9 * 8 / 9 / 9000) ** 0.5


@pytest.mark.parametrize(
    ("size", "crop"), [((8, 8), 1), ((28, 28), 4), ((32, 32), 4), ((64, 48), 6), ((224, 224), 28), ((2, 2), 1)]
)
def test_named_levels(size: tuple[int, int], crop: int) -> None:
    for flip in (False, True):
        source = SimpleNamespace(input=Input(size, 1, (0.0,), (1.0,)), flip=flip)
        assert Augment.named("none", source) == Augment()
        assert Augment.named("crop", source) == Augment(crop)
        assert Augment.named("crop+flip", source) == Augment(crop, True)
        assert Augment.named("auto", source) == Augment(crop, flip)
        with pytest.raises(UsageError, match="did you mean crop"):
            Augment.named("crops", source)


def test_negative_crop() -> None:
    with pytest.raises(UsageError, match="crop must be"):
        Augment(crop=-1)


def test_an_affine_map_of_nothing_changes_nothing() -> None:
    images = torch.randint(0, 256, (3, 9, 7, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    identity = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).expand(3, 2, 3)
    assert torch.equal(warped(images, identity), images)


def test_an_affine_quarter_turn_is_a_quarter_turn() -> None:
    images = torch.randint(0, 256, (2, 8, 8, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    turn = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]).expand(2, 2, 3)
    assert torch.equal(warped(images, turn), images.rot90(-1, (1, 2)))


def test_an_affine_shift_by_whole_pixels_is_a_crop() -> None:
    images = torch.randint(0, 256, (1, 6, 10, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    right = torch.tensor([[[1.0, 0.0, 2 * 3 / 10], [0.0, 1.0, 0.0]]])
    moved = warped(images, right)
    assert torch.equal(moved[:, :, :7], images[:, :, 3:])
    assert not moved[:, :, 7:].any()


def test_affine_maps_stay_within_their_bounds() -> None:
    maps = Augment(affine=10.0)._maps(2000, np.random.default_rng(0)).double()
    wide = (maps[:, 0, 0].square() + maps[:, 1, 0].square()).sqrt()
    angle = torch.atan2(maps[:, 1, 0], maps[:, 0, 0]).rad2deg()
    assert 0.9 <= wide.min() < 0.91 < 1.09 < wide.max() <= 1.1
    assert -10 <= angle.min() < -9.9 < 9.9 < angle.max() <= 10
    assert maps[:, :, 2].abs().max() <= 0.1
    area = maps[:, 0, 0] * maps[:, 1, 1] - maps[:, 0, 1] * maps[:, 1, 0]  # a shear keeps it
    assert 0.81 <= area.min() <= area.max() <= 1.21


def test_affine_augmentation_is_named_and_bounded() -> None:
    source = SimpleNamespace(input=Input((8, 8), 1, (0.0,), (1.0,)), flip=True)
    assert Augment.named("affine", source) == Augment(affine=12.0)
    with pytest.raises(UsageError, match="0 to 45"):
        Augment(affine=90.0)
