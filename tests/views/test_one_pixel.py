"""The one-pixel attack against the best pixel of a linear classifier, which can be listed."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from danlu.errors import UsageError
from danlu.metrics import wilson
from danlu.views import Subject
from danlu.views.one_pixel import attack, margins, one_pixel, painted, three_others


@pytest.fixture
def linear(subject: Callable[..., Subject]) -> Subject:
    """The sign of the difference of both halves, with labels that a fixed linear classifier gives."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    looked = subject(model, images=12)
    looked.labels[:] = looked.logits(looked.x).argmax(1)
    return looked


def best_margins(looked: Subject) -> torch.Tensor:
    """The lowest margin that one pixel can give: margins are linear in a value, so it is at 0 or 255, anywhere."""
    margins_of = []
    for i in range(len(looked.labels)):
        images = looked.pixels[i].repeat(128, 1, 1, 1)
        for place in range(64):
            images[2 * place, place // 8, place % 8] = 0
            images[2 * place + 1, place // 8, place % 8] = 255
        z, truth = looked.logits(looked.normalised(images)), int(looked.labels[i])
        others = torch.cat([z[:, :truth], z[:, truth + 1 :]], 1)
        margins_of.append((z[:, truth] - others.max(1).values).min())
    return torch.stack(margins_of)


def test_it_finds_what_listing_all_pixels_finds(linear: Subject) -> None:
    best = best_margins(linear)
    which = torch.arange(len(linear.labels))
    found = attack(linear, which, pixels=1, population=60, generations=40)
    reached = margins(linear, which, found.best[:, None])[:, 0]
    assert (reached >= best - 1e-4).all()  # never better than the best
    fooled = found.answers != linear.labels
    assert torch.equal(fooled, best < 0)  # all that can be fooled are, no others
    held = ~fooled
    assert torch.allclose(reached[held], best[held], atol=0.05)  # where it searches to the end it comes close to the best
    assert (found.questions[held] == 60 * 41).all()
    assert (found.questions[fooled] <= 60 * 41).all()
    assert 0 < int(fooled.sum()) < len(which)


def test_the_report_is_that_of_the_attack(linear: Subject) -> None:
    values = one_pixel(linear, population=30, generations=10).values
    assert values["attacked"] == 12
    assert values["fooled"] == sum(row["fooled"] for row in values["images"])
    assert values["interval"] == list(wilson(values["fooled"], 12))
    for row in values["images"]:
        changed = linear.pixels[row["image"] : row["image"] + 1].clone()
        (pixel,) = row["pixels"]
        changed[0, pixel["row"], pixel["column"]] = torch.tensor(pixel["value"], dtype=torch.uint8)
        z = linear.logits(linear.normalised(changed))[0]
        assert linear.classes[int(z.argmax())] == row["answer"]
        assert row["fooled"] is (row["answer"] != row["truth"])
        assert float(z.double().softmax(0)[linear.labels[row["image"]]]) == pytest.approx(row["confidence_after"], abs=1e-6)
        assert row["questions"] <= values["budget"] == 30 * 11


def test_parents_are_three_others_all_equally_often() -> None:
    found = three_others(20_000, 5, torch.Generator().manual_seed(0))
    whole = torch.cat([torch.arange(5).expand(20_000, 5)[..., None], found], -1)
    assert (whole.sort(-1).values.diff(dim=-1) > 0).all()
    for place in range(3):
        for i in range(5):
            share = torch.bincount(found[:, i, place], minlength=5) / 20_000
            assert share[i] == 0
            assert torch.allclose(share[torch.arange(5) != i], torch.tensor(0.25), atol=0.015)
    assert three_others(1, 4, torch.Generator()).sort(-1).values.tolist() == [[[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]]


def test_several_pixels_are_painted() -> None:
    images = torch.zeros(2, 4, 5, 3, dtype=torch.uint8)
    candidates = torch.tensor([[[[0.0, 0, 1, 2, 3], [3, 4, 7, 8, 9.4]]], [[[1.0, 1, 4, 5, 6], [2, 0, 250, 251, 255]]]])
    found = painted(images, candidates)
    assert found.shape == images.shape
    assert found[0, 0, 0].tolist() == [1, 2, 3]
    assert found[0, 3, 4].tolist() == [7, 8, 9]
    assert found[1, 2, 0].tolist() == [250, 251, 255]
    assert int((found > 0).any(3).sum()) == 4


def test_only_images_that_are_right_are_attacked(linear: Subject) -> None:
    linear.labels[:5] = (linear.labels[:5] + 1) % 10
    values = one_pixel(linear, population=4, generations=0).values
    assert [row["image"] for row in values["images"]] == list(range(5, 12))
    linear.labels[5:] = (linear.labels[5:] + 1) % 10
    with pytest.raises(UsageError, match="none of these 12 is"):
        one_pixel(linear)
