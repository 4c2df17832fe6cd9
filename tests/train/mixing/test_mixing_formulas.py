"""Each mixing against what it should do to each image, in plain loops, and how often."""

import pytest
import torch
from torch import Tensor

from danlu.errors import UsageError
from danlu.train.mixing import mixings


def one_hot(count: int, classes: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.arange(count) % classes, classes).float()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_cutout_covers_one_square_of_each_image() -> None:
    x, targets = torch.ones(500, 2, 12, 17), one_hot(500, 3)
    y, same = mixings["cutout"].build(size=5)(x, targets, seeded(0))
    assert torch.equal(same, targets)
    assert torch.equal(y[:, 0], y[:, 1])
    centres = set()
    for image in y[:, 0]:
        rows, columns = (image == 0).nonzero(as_tuple=True)
        top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
        assert not image[top:bottom, left:right].any()
        assert len(rows) == (bottom - top) * (right - left)
        assert bottom - top == 5 or top == 0 or bottom == 12
        assert right - left == 5 or left == 0 or right == 17
        centres.add((int(top), int(bottom), int(left), int(right)))
    assert len(centres) > 120  # of 12 x 17 places
    gone = (y == 0).float().mean(0)[0]
    assert float(gone[6, 8]) == pytest.approx(25 / (12 * 17), abs=0.06)
    assert float(gone[0, 0]) == pytest.approx(9 / (12 * 17), abs=0.04)  # centres within 2 pixels of the corner


def test_cutout_of_a_whole_image_is_refused() -> None:
    with pytest.raises(UsageError, match="half the side"):
        mixings["cutout"].build(size=8)(torch.ones(2, 1, 8, 8), one_hot(2, 2), seeded(0))


def test_cutmix_pastes_one_rectangle_and_counts_its_pixels() -> None:
    count = 8
    x = torch.arange(1.0, count + 1).view(count, 1, 1, 1).expand(count, 3, 14, 10)  # each image has one value: its own
    targets = torch.eye(count)
    shares = []
    for seed in range(300):
        y, found = mixings["cutmix"].build()(x, targets, seeded(seed))
        foreign = y != x
        assert torch.equal(foreign[:, :1].expand_as(foreign), foreign)
        for i in range(count):
            inside = foreign[i, 0]
            expected = torch.zeros(count)
            if inside.any():
                rows, columns = inside.nonzero(as_tuple=True)
                assert len(rows) == (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
                (partner,) = y[i, 0][inside].unique().tolist()
                expected[int(partner) - 1] = len(rows) / 140
                shares.append(len(rows) / 140)
            expected[i] += 1 - expected.sum()
            assert torch.allclose(found[i], expected, atol=1e-6)
    assert min(shares) < 0.05
    assert max(shares) > 0.8
    # E[(1 - l) cut off at the borders]: of a side s a random centre leaves s (1 - s / 4), so the area is E[s^2 (1 - s / 4)^2]
    # with s = sqrt(1 - l), l even: the integral is 1/2 - 1/5 + 1/48 = 0.3208; fewer by whole pixels.
    assert sum(shares) / (300 * (count - 1)) == pytest.approx(0.3208, abs=0.05)


def test_cutmix_chance() -> None:
    x, targets = torch.rand(4, 1, 9, 9), one_hot(4, 4)
    changed = [mixings["cutmix"].build(chance=0.25)(x, targets, seeded(seed))[0] is not x for seed in range(400)]
    assert sum(changed) / 400 == pytest.approx(0.25, abs=0.1)


def test_mixup_is_one_blend_for_the_batch() -> None:
    x, targets = torch.eye(6).view(6, 1, 1, 6), torch.eye(6)
    y, found = mixings["mixup"].build(alpha=1.0)(x, targets, seeded(3))
    assert torch.equal(y.flatten(1), found)
    share = found.diagonal().min()
    assert 0 < float(share) < 1
    for row, own in zip(found, targets, strict=True):
        rest = row - share * own
        assert torch.allclose(rest.max(), 1 - share, atol=1e-6)
        assert int((rest > 1e-6).sum()) == 1


def test_disturbed_labels_are_even_over_all_classes() -> None:
    count, classes, rate = 20_000, 5, 0.3
    x, targets = torch.zeros(count, 1), one_hot(count, classes)
    same, found = mixings["disturb_labels"].build(rate=rate)(x, targets, seeded(0))
    assert same is x
    labels, drawn = targets.argmax(1), found.argmax(1)
    assert torch.equal(found, torch.nn.functional.one_hot(drawn, classes).float())
    for own in range(classes):
        shares = torch.bincount(drawn[labels == own], minlength=classes) / (count / classes)
        for other in range(classes):
            expected = (1 - rate) * (own == other) + rate / classes
            assert float(shares[other]) == pytest.approx(expected, abs=5 * (0.25 / (count / classes)) ** 0.5)
    blended = torch.full((500, 4), 0.25)  # what a mixing before it made
    _, found = mixings["disturb_labels"].build(rate=0.5)(x, blended, seeded(1))
    assert {float(row.max()) for row in found} == {0.25, 1.0}
