"""The translation map against shifts by hand, and nets whose map is known: blind to place, and linear."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from danlu.errors import UsageError
from danlu.views import Subject
from danlu.views.translation import moved, translation


@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (1, 0), (0, -2), (-3, 2), (4, 4)])
def test_images_move_down_and_to_the_right(dy: int, dx: int) -> None:
    x = torch.randn(2, 3, 5, 6)
    for fill in (None, 0.5):
        found = moved(x, dy, dx, fill)
        for i in range(5):
            for j in range(6):
                inside = 0 <= i - dy < 5 and 0 <= j - dx < 6
                wanted = (
                    x[:, :, min(max(i - dy, 0), 4), min(max(j - dx, 0), 5)]
                    if inside or fill is None
                    else torch.full((2, 3), fill)
                )
                assert torch.equal(found[:, :, i, j], wanted)


def test_a_network_blind_to_place_does_not_notice(subject: Callable[..., Subject]) -> None:
    """Nothing leaves the image: its border is black and the shift short."""
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 10))
    looked = subject(model)
    looked.pixels[:, :2] = looked.pixels[:, -2:] = 0
    looked.pixels[:, :, :2] = looked.pixels[:, :, -2:] = 0
    values = translation(looked, shift=2, fill="black").values
    assert np.allclose(values["maps"]["distance"], 0, atol=1e-5)
    assert np.allclose(values["maps"]["agreement"], 1)
    assert len(set(np.ravel(values["maps"]["accuracy"]).tolist())) == 1


def test_a_linear_classifier_has_the_map_of_its_weights(subject: Callable[..., Subject]) -> None:
    """z(shift(x)) = z(x) with the weights shifted the other way, as long as what leaves the image is black."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, bias=False))
    looked = subject(model)
    looked.pixels[:, :1] = looked.pixels[:, -1:] = 0
    looked.pixels[:, :, :1] = looked.pixels[:, :, -1:] = 0
    values = translation(looked, shift=1, fill="black").values
    black = float(looked.normalised(torch.zeros_like(looked.pixels[:1]))[0, 0, 0, 0])
    weight = model[1].weight.detach().double().view(10, 8, 8)
    x = looked.x.double()[:, 0]
    z = torch.einsum("khw,bhw->bk", weight, x)
    for i, dy in enumerate((-1, 0, 1)):
        for j, dx in enumerate((-1, 0, 1)):
            shifted = torch.roll(weight, (-dy, -dx), (1, 2))
            there = torch.einsum("khw,bhw->bk", shifted, x - black) + black * weight.sum((1, 2))
            apart = looked.labels[:, None] != looked.labels
            scale = torch.cdist(z, z)[apart].median()
            assert values["maps"]["distance"][i][j] == pytest.approx(float((there - z).norm(dim=1).mean() / scale), abs=1e-5)
            assert values["maps"]["accuracy"][i][j] == pytest.approx(float((there.argmax(1) == looked.labels).double().mean()))
            sure = there.softmax(1).gather(1, looked.labels[:, None]).mean()
            assert values["maps"]["confidence"][i][j] == pytest.approx(float(sure), abs=1e-6)
    middle = {name: table[1][1] for name, table in values["maps"].items()}
    assert values["by_radius"][0] == pytest.approx({"radius": 0, **middle})
    edges = [values["maps"]["accuracy"][i][j] for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    assert values["by_radius"][1]["accuracy"] == pytest.approx(np.mean(edges))


def test_images_of_one_class_give_no_scale(subject: Callable[..., Subject]) -> None:
    looked = subject(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
    looked.labels[:] = 3
    with pytest.raises(UsageError, match="of one class"):
        translation(looked)
    dead = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    nn.init.zeros_(dead[1].weight)
    with pytest.raises(UsageError, match="learned nothing"):
        translation(subject(dead))
