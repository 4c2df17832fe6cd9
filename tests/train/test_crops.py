"""Crops of an image: by hand, by their count, and refused where they cannot be."""

import numpy as np
import pytest
import torch

from danlu.errors import UsageError
from danlu.train.crops import Crops


def image(height: int, width: int) -> torch.Tensor:
    return torch.arange(2 * height * width * 3).remainder(251).to(torch.uint8).view(2, height, width, 3)


def test_ten_crops_are_the_corners_the_centre_and_their_mirror_images() -> None:
    crops = Crops(10, scale=1.25)
    assert crops.resized((8, 12)) == (10, 15)
    x = image(10, 15)
    found = crops.cut(x, (8, 12))
    by_hand = [x[:, :8, :12], x[:, :8, -12:], x[:, -8:, :12], x[:, -8:, -12:], x[:, 1:9, 1:13]]
    assert found.shape == (10, 2, 8, 12, 3)
    for crop, wanted in zip(found[:5], by_hand, strict=True):
        assert torch.equal(crop, wanted)
    assert torch.equal(found[5:], found[:5].flip(3))
    assert torch.equal(Crops(5, scale=1.25).cut(x, (8, 12)), found[:5])


@pytest.mark.parametrize(
    ("count", "side", "mirrored"), [(1, 1, False), (2, 1, True), (4, 2, False), (9, 3, False), (18, 3, True)]
)
def test_a_grid_reaches_from_border_to_border(count: int, side: int, mirrored: bool) -> None:
    crops = Crops(count, scale=2.0)
    places = crops.places((6, 4))
    assert (len(places), crops.mirrored) == (side * side, mirrored)
    down, across = np.linspace(0, 6, side), np.linspace(0, 4, side)
    if side > 1:
        assert places == [(round(top), round(left)) for top in down for left in across]
    else:
        assert places == [(3, 2)]
    assert crops.cut(image(12, 8), (6, 4)).shape == (count, 2, 6, 4, 3)


def test_without_a_scale_the_image_is_as_large_as_the_crops_need() -> None:
    assert Crops(10).resized((224, 224)) == (256, 256)
    assert Crops(1).resized((224, 224)) == Crops(2).resized((224, 224)) == (224, 224)
    for count in (4, 5, 9, 10, 144, 288):
        for side in (1, 8, 9, 31):
            crops = Crops(count)
            assert len(crops.places((side, side + 1))) * (1 + crops.mirrored) == count


def test_a_centre_crop_is_where_the_resize_rule_puts_it() -> None:
    from danlu.data import Input, resize

    pixels = np.random.default_rng(0).integers(0, 256, (11, 11, 3), dtype=np.uint8)
    rule = Input((8, 11), 3, (0.0,) * 3, (1.0,) * 3, "short_side_crop")
    cut = Crops(1, scale=1.375).cut(torch.from_numpy(pixels)[None], (8, 8))[0, 0]
    assert np.array_equal(cut.numpy(), resize(pixels, rule)[:, 1:9])


def test_the_whole_image_is_not_cut() -> None:
    crops = Crops(2, scale=1.5, whole=True)
    x = image(12, 9)
    assert crops.fed((8, 6)) == crops.resized((8, 6)) == (12, 9)
    assert torch.equal(crops.cut(x, (8, 6)), torch.stack([x, x.flip(2)]))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Crops(7), "got 7, the nearest are 5 and 8|got 7, the nearest are 8 and 9"),
        (lambda: Crops(0), "got 0"),
        (lambda: Crops(10, scale=0.9), "from 1 to 16.*got 0.9"),
        (lambda: Crops(1, scale=float("nan")), "got nan"),
        (lambda: Crops(5, whole=True), "must be 1, or 2.*got 5"),
        (lambda: Crops(9, scale=1.0).places((8, 8)), "9 crops of 8x8 in an image of 8x8 are not all different"),
        (lambda: Crops(10, scale=1.1).places((8, 8)), "use a larger scale"),
    ],
)
def test_refusals(make, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make()
