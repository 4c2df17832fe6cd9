"""Levels of augmentation by their parts, and what each part does to images, each on its own."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from danlu.data.augment import Augment, augmentations, chained, fields_of, warped
from danlu.data.policies import CIFAR10, OPERATIONS, AutoAugment, RandAugment
from danlu.data.policies.randaugment import NAMES
from danlu.data.spec import Input
from danlu.errors import UsageError
from danlu.registry import Entry
from danlu.train import TrainConfig

LEVELS = (
    "crop", "flip", "resize", "rotate", "affine", "colour", "crop+flip+rotate", "crop+flip+resize+rotate+colour",
    "crop+flip+rotate+colour", "randaugment(n=2, m=9)", "autoaugment", "none+randaugment", "auto+rotate(degrees=30)+affine",
)  # fmt: skip


def source(flip: bool = True, size: tuple[int, int] = (32, 32), channels: int = 3) -> Any:
    return SimpleNamespace(input=Input(size, channels, (0.0,) * channels, (1.0,) * channels), flip=flip)


def noise(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8))


@pytest.mark.parametrize(
    ("level", "flip", "expected"),
    [
        ("crop+flip+rotate", False, Augment(4, True, rotate=10.0)),
        ("crop+flip+rotate+colour", False, Augment(4, True, rotate=10.0, colour=0.4)),
        ("crop + flip + resize(area=0.25)", False, Augment(4, True, resize=0.25)),
        ("crop(pixels=2)", True, Augment(2)),
        ("auto+affine(degrees=5)", False, Augment(4, affine=5)),
        ("randaugment(n=3, m=5)", True, Augment(4, True, policy=RandAugment(3, 5))),
        ("randaugment", False, Augment(4, policy=RandAugment(2, 9))),
        ("autoaugment", True, Augment(4, True, policy=AutoAugment())),
        ("none+autoaugment", True, Augment(policy=AutoAugment())),
        ("flip+autoaugment", False, Augment(flip=True, policy=AutoAugment())),
    ],
)
def test_a_level_is_the_sum_of_its_parts(level: str, flip: bool, expected: Augment) -> None:
    assert Augment.named(level, source(flip)) == expected
    assert TrainConfig(epochs=1, augment=level).augment == level


@pytest.mark.parametrize(
    ("level", "said"),
    [
        ("crop+flop", "did you mean flip"), ("crop+crop", "twice"), ("auto+flip", "flip twice"), ("crop++flip", "empty part"),
        ("randaugment+autoaugment", "twice"), ("randaugment(k=2)", "option of randaugment"), ("randaugment(n=0)", "n must be"),
        ("randaugment(m=11)", "m must be"), ("rotate(degrees=200)", "0 to 180"), ("resize(area=0)", "share of the area"),
        ("colour(strength=2)", "0 to 1"), ("crop(pixels=-1)", "from 0"), ("affine(degrees='a')", "takes a number"), ("", "empty"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told(level: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        fields_of(level)
    with pytest.raises(UsageError, match=said):
        TrainConfig(epochs=1, augment=level)


@pytest.mark.parametrize("entry", augmentations, ids=lambda entry: entry.name)
def test_every_part_says_what_it_is(entry: Entry) -> None:
    assert entry.summary.endswith(".")
    assert all(parameter.default is not parameter.empty for parameter in entry.options().values())
    Augment.named(entry.name, source())


@pytest.mark.parametrize("shape", [(6, 9, 12, 3), (1, 8, 8, 1), (5, 7, 5, 4)])
@pytest.mark.parametrize("level", LEVELS)
def test_shape_type_seed_and_independence(level: str, shape: tuple[int, int, int, int]) -> None:
    augment = Augment.named(level, source(True, shape[1:3], shape[3]))
    images = noise(*shape)
    before = images.clone()
    for seed in range(4):
        found = augment(images, np.random.default_rng(seed))
        assert (found.shape, found.dtype) == (images.shape, torch.uint8)
        assert found.is_contiguous()
        assert torch.equal(found, augment(images, np.random.default_rng(seed)))
        others = images.clone()
        others[1:] = 255 - others[1:]
        assert torch.equal(augment(others, np.random.default_rng(seed))[0], found[0])
    assert torch.equal(images, before)
    if len(images) > 1:
        assert not all(torch.equal(augment(images, np.random.default_rng(seed)), images) for seed in range(4))


def test_resize_cuts_pieces_of_the_promised_area_and_shape() -> None:
    maps = Augment(resize=0.2)._pieces(4000, np.random.default_rng(0)).double()
    wide, tall, right, down = maps[:, 0, 0], maps[:, 1, 1], maps[:, 0, 2], maps[:, 1, 2]
    assert not maps[:, 0, 1].any()
    assert not maps[:, 1, 0].any()
    assert bool(((wide + right.abs() <= 1 + 1e-6) & (tall + down.abs() <= 1 + 1e-6)).all())  # inside the image
    inside = (wide < 1) & (tall < 1)
    shape, area = wide / tall, wide * tall
    assert 0.75 - 1e-6 <= shape[inside].min() < 0.76 < 1.32 < shape[inside].max() <= 4 / 3 + 1e-6
    assert 0.2 - 1e-6 <= area.min() < 0.21
    small = area[inside & (area < 0.7)]  # all of them are there: evenly spread
    assert float(small.mean()) == pytest.approx(0.45, abs=0.02)


def test_a_resized_piece_of_whole_pixels_is_that_of_pillow() -> None:
    images = noise(1, 8, 8, 3)
    piece = warped(images, torch.tensor([[[0.5, 0.0, 0.25], [0.0, 0.5, -0.5]]]), "border")  # rows 0 to 4, columns 3 to 7
    expected = Image.fromarray(images[0].numpy()).resize((8, 8), Image.Resampling.BILINEAR, box=(3, 0, 7, 4))
    off = (piece[0].int() - torch.from_numpy(np.asarray(expected).astype(np.int32))).abs()
    assert off[1:, 1:-1].max() <= 1  # Pillow mixes nothing from outside of the box, this takes what is there


def test_rotate_turns_pixels_as_wide_as_high() -> None:
    augment = Augment(rotate=30.0)
    maps = augment._turns(3000, 2.0, np.random.default_rng(1)).double()
    scale = torch.tensor([[2.0, 0.0], [0.0, 1.0]], dtype=torch.float64)  # half sides of an image twice as wide as high
    turns = scale @ maps[:, :, :2] @ scale.inverse()
    assert torch.allclose(turns @ turns.transpose(1, 2), torch.eye(2, dtype=torch.float64).expand(3000, 2, 2), atol=1e-6)
    degrees = torch.atan2(turns[:, 1, 0], turns[:, 0, 0]).rad2deg()
    assert -30 <= degrees.min() < -29.5 < 29.5 < degrees.max() <= 30
    assert abs(float(degrees.mean())) < 5 * 30 / math.sqrt(3 * 3000)
    flat = torch.full((4, 6, 12, 1), 200, dtype=torch.uint8)
    assert torch.equal(augment(flat, np.random.default_rng(0)), flat)  # the edges go on, no black corners


def test_maps_behind_each_other_are_one() -> None:
    rng = np.random.default_rng(0)
    first, second = Augment(affine=20.0)._maps(3, rng), Augment(resize=0.3)._pieces(3, rng)
    both = chained([first, second])
    for b in range(3):
        for point in ([0.3, -0.7], [1.0, 0.5]):
            through = second[b] @ torch.tensor([*point, 1.0])
            expected = first[b] @ torch.cat([through, torch.ones(1)])
            assert torch.allclose(both[b] @ torch.tensor([*point, 1.0]), expected, atol=1e-6)


def test_colour_changes_brightness_contrast_and_saturation_within_bounds() -> None:
    grey = torch.full((2000, 4, 4, 3), 100, dtype=torch.uint8)
    found = Augment(colour=0.4)(grey, np.random.default_rng(0)).float()
    assert float(found.std((1, 2, 3)).max()) == 0  # of a grey image only the brightness can change
    assert 59 <= found.min() < 62
    assert 138 < found.max() <= 140
    images = noise(64, 6, 6, 3)
    assert torch.equal(Augment(colour=0.0)(images, np.random.default_rng(0)), images)


# Policies.


def test_the_published_policy_has_25_pairs_of_known_operations() -> None:
    assert len(CIFAR10) == 25
    steps = [step for pair in CIFAR10 for step in pair]
    assert len(steps) == 50
    assert {name for name, _, _ in steps} == {*OPERATIONS} - {"shear_x"}
    counts = {name: sum(step[0] == name for step in steps) for name in ("equalize", "autocontrast", "invert", "translate_y")}
    assert counts == {"equalize": 9, "autocontrast": 7, "invert": 3, "translate_y": 5}
    assert sum(probability for _, probability, _ in steps) == pytest.approx(26.5)


@pytest.mark.parametrize(
    ("step", "operation", "amount"),
    [
        (("contrast", 1.0, 6), "contrast", 1.3), (("posterize", 1.0, 7), "posterize", 5),
        (("solarize", 1.0, 2), "solarize", 199.1),
        (("brightness", 1.0, 0), "brightness", 0.1), (("rotate", 1.0, 9), "rotate", 30.0),
        (("translate_x", 1.0, 9), "translate_x", 150 / 331), (("shear_y", 1.0, 3), "shear_y", 0.1),
        (("equalize", 1.0, 5), "equalize", 0.0),
    ],
)  # fmt: skip
def test_magnitudes_are_those_of_the_paper(step: tuple[str, float, int], operation: str, amount: float) -> None:
    images = noise(12, 10, 10, 3)
    found = AutoAugment(((step,),))(images, np.random.default_rng(3))
    each = [OPERATIONS[operation](images, torch.full((12,), sign * amount)) for sign in (1.0, -1.0)]
    same = [[torch.equal(a, b) for a, b in zip(found, other, strict=True)] for other in each]
    if operation in ("rotate", "translate_x", "shear_y"):  # by a coin to either side
        assert all(a or b for a, b in zip(*same, strict=True))
        assert 1 < sum(same[0]) < 11
    else:
        assert all(same[0])


def test_autoaugment_draws_sub_policies_evenly_and_steps_by_their_probabilities() -> None:
    policy = ((("invert", 0.3, 0), ("solarize", 1.0, 0)), (("invert", 1.0, 0), ("solarize", 0.25, 9)))
    count = 8000
    dark = torch.full((count, 2, 2, 1), 10, dtype=torch.uint8)
    found = AutoAugment(policy)(dark, np.random.default_rng(0))[:, 0, 0, 0]
    # First pair: inverted with 0.3, solarize at 256 does nothing. Second: inverted; solarize at 0 turns it back with 0.25.
    assert float((found == 245).float().mean()) == pytest.approx(0.5 * 0.3 + 0.5 * 0.75, abs=0.025)
    assert float((found == 10).float().mean()) == pytest.approx(0.5 * 0.7 + 0.5 * 0.25, abs=0.025)


def test_randaugment_draws_every_operation_evenly() -> None:
    images = (noise(1, 20, 20, 3) // 2 + 30).expand(4000, 20, 20, 3)  # dark and large, for autocontrast and equalize to act
    found = RandAugment(1, 10)(images, np.random.default_rng(0)).flatten(1)
    counts = torch.unique(found, dim=0, return_counts=True)[1]
    signed = 4 + 4 + 1  # enhancements, shears and shifts, turns: two results each
    assert len(counts) == 2 * signed + len(NAMES) - signed
    unchanged = int((found == images.flatten(1)).all(1).sum())
    assert unchanged / 4000 == pytest.approx(1 / 14, abs=5 * (13 / 14**2 / 4000) ** 0.5)
    assert int(counts.max()) < 1.3 * 4000 / 14
    assert int(counts.min()) > 0.7 * 4000 / 28


def test_randaugment_grows_with_its_magnitude_from_nothing() -> None:
    images = noise(300, 20, 20, 3)

    def change(m: float) -> float:
        return float((RandAugment(1, m)(images, np.random.default_rng(0)).int() - images.int()).abs().float().mean())

    assert change(0) < change(3) < change(6) < change(10)
    # Noise over all values is autocontrasted already; equalize is the only one that acts at 0.
    still = [torch.equal(a, b) for a, b in zip(RandAugment(1, 0)(images, np.random.default_rng(0)), images, strict=True)]
    assert sum(still) / 300 > 11 / 14


def test_policies_refuse_what_cannot_be() -> None:
    for policy in ((), ((("invert", 0.5, 1),), (("invert", 0.5, 1), ("rotate", 0.5, 1)))):
        with pytest.raises(UsageError, match="policy"):
            AutoAugment(policy)
    for step in (("inverse", 0.5, 1), ("invert", 1.5, 1), ("invert", 0.5, 10)):
        with pytest.raises(UsageError, match=r"invert|inverse"):
            AutoAugment(((step,),))
