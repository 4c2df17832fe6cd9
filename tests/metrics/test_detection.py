"""Boxes, average precision and mAP against the loops of the development kit, and published toy cases."""

import numpy as np
import pytest
import torch

from danlu.errors import UsageError
from danlu.metrics import average_precision, box_iou, mean_ap, mean_iou

# Twenty boxes, six of them faces: a worked example widely passed on. Score and truth of boxes 1 to 20.
SCORES = [
    0.23, 0.76, 0.01, 0.91, 0.13, 0.45, 0.121, 0.03, 0.38, 0.11, 0.03, 0.09, 0.65, 0.07, 0.12, 0.24, 0.10, 0.23, 0.46, 0.08,
]  # fmt: skip
FACES = [box in (4, 2, 7, 9, 16, 20) for box in range(1, 21)]

# R. Padilla, Object-Detection-Metrics (MIT licence), sample_2: image, x, y, width, height; detections with their score behind the
# image. Its two detections of score .95 stand in the order of its table: one is .951 here. It counts pixels, last ones included.
OBJECTS = """1 25 16 38 56; 1 129 123 41 62; 2 123 11 43 55; 2 38 132 59 45; 3 16 14 35 48; 3 123 30 49 44; 3 99 139 47 47;
4 53 42 40 52; 4 154 43 31 34; 5 59 31 44 51; 5 48 128 34 52; 6 36 89 52 76; 6 62 58 44 67; 7 28 31 55 63; 7 58 67 50 58"""
FOUND = """1 .88 5 67 31 48; 1 .70 119 111 40 67; 1 .80 124 9 49 67; 2 .71 64 111 64 58; 2 .54 26 140 60 47; 2 .74 19 18 43 35;
3 .18 109 15 77 39; 3 .67 86 63 46 45; 3 .38 160 62 36 53; 3 .91 105 131 47 47; 3 .44 18 148 40 44; 4 .35 83 28 28 26;
4 .78 28 68 42 67; 4 .45 87 89 25 39; 4 .14 10 155 60 26; 5 .62 50 38 28 46; 5 .44 95 11 53 28; 5 .951 29 131 72 29;
5 .23 29 163 72 29; 6 .45 43 48 74 38; 6 .84 17 155 29 35; 6 .43 95 110 25 42; 7 .48 16 20 101 88; 7 .95 33 116 37 49"""


def table(text: str) -> np.ndarray:
    rows = np.array([[float(number) for number in row.split()] for row in text.split(";")])
    rows[:, -2:] += rows[:, -4:-2] + 1
    return np.insert(rows, 1, 0, axis=1)


def drawn(seed: int, images: int = 6, objects: int = 30, guesses: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Detections near the objects of three classes, many doubles, scores all different."""
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 20, (objects, 2)), rng.uniform(4, 12, (objects, 2))
    truths = np.column_stack([rng.integers(0, images, objects), rng.integers(0, 3, objects), corner, corner + size])
    of = rng.integers(0, objects, guesses)
    shifted = truths[of, 2:] + rng.normal(0, 1.5, (guesses, 2)).repeat(2, 0).reshape(guesses, 4)
    classes = np.where(rng.random(guesses) < 0.8, truths[of, 1], rng.integers(0, 5, guesses))
    return np.column_stack([truths[of, 0], classes, rng.permutation(guesses) / guesses, shifted]), truths


def devkit(found: np.ndarray, truths: np.ndarray, least: float, eleven: bool) -> float:
    """The loops of the PASCAL VOC development kit, with boxes that are continuous."""
    values = []
    for one in sorted(set(truths[:, 1])):
        objects = truths[truths[:, 1] == one]
        taken = [False] * len(objects)
        hits = []
        for row in sorted(found[found[:, 1] == one].tolist(), key=lambda row: -row[2]):
            best, which = -1.0, -1
            for index, thing in enumerate(objects.tolist()):
                if thing[0] != row[0]:
                    continue
                wide = min(row[5], thing[4]) - max(row[3], thing[2])
                high = min(row[6], thing[5]) - max(row[4], thing[3])
                if wide > 0 and high > 0:
                    areas = (row[5] - row[3]) * (row[6] - row[4]) + (thing[4] - thing[2]) * (thing[5] - thing[3])
                    if wide * high / (areas - wide * high) > best:
                        best, which = wide * high / (areas - wide * high), index
            hit = best >= least and not taken[which]
            if hit:
                taken[which] = True
            hits.append(hit)
        points = [(sum(hits[: i + 1]) / len(objects), sum(hits[: i + 1]) / (i + 1)) for i in range(len(hits))]
        if eleven:
            values.append(sum(max([p for r, p in points if r >= t / 10 - 1e-12], default=0) for t in range(11)) / 11)
        else:
            area, before = 0.0, 0.0
            for i, (reached, _) in enumerate(points):
                area += (reached - before) * max(p for _, p in points[i:])
                before = reached
            values.append(area)
    return sum(values) / len(values)


@pytest.mark.parametrize("eleven", [False, True])
@pytest.mark.parametrize("least", [0.3, 0.5, 0.75])
@pytest.mark.parametrize("seed", [0, 1])
def test_mean_ap_against_the_development_kit(seed: int, least: float, eleven: bool) -> None:
    found, truths = drawn(seed)
    value = mean_ap(found, truths, iou=least, points="eleven" if eleven else "all")
    assert value == pytest.approx(devkit(found, truths, least, eleven), abs=1e-12)
    assert 0.05 < value < 0.95


def test_published_detections() -> None:
    """24.56 % over all points and 26.84 % over eleven, at an IoU of 0.3."""
    found, truths = table(FOUND), table(OBJECTS)
    assert mean_ap(found, truths, iou=0.3) == pytest.approx(0.2456, abs=1e-4)
    assert mean_ap(found, truths, iou=0.3, points="eleven") == pytest.approx(0.2684, abs=1e-4)


def test_worked_example_of_twenty_boxes() -> None:
    """The best precisions at recall 1/6 to 6/6 are 1, 1, 4/7, 4/7, 5/11 and 6/16."""
    assert average_precision(SCORES, FACES) == pytest.approx((1 + 1 + 4 / 7 + 4 / 7 + 5 / 11 + 6 / 16) / 6)
    at_tenths = [1, 1, 1, 1, 4 / 7, 4 / 7, 4 / 7, 5 / 11, 5 / 11, 6 / 16, 6 / 16]
    assert average_precision(SCORES, FACES, points="eleven") == pytest.approx(sum(at_tenths) / 11)


def test_recall_at_exact_tenths() -> None:
    """Three of ten objects found reach a recall of 0.3, which in binary is not 3 * 0.1."""
    assert average_precision([3, 2, 1], [1, 1, 1], points="eleven", positives=10) == pytest.approx(4 / 11)
    assert average_precision([3, 2, 1], [1, 1, 1], positives=10) == pytest.approx(0.3)


def test_equal_scores_enter_together() -> None:
    assert average_precision([1, 1], [True, False]) == 0.5
    assert average_precision([1, 1], [False, True]) == 0.5
    box, away = [0, 0, 10, 10], [50, 50, 60, 60]
    for order in ((box, away), (away, box)):
        assert mean_ap([[0, 0, 0.5, *b] for b in order], [[0, 0, *box]]) == 0.5


def test_doubles_other_classes_and_other_images_are_wrong() -> None:
    box = [0, 0, 10, 10]
    truths = [[0, 0, *box], [1, 1, *box]]
    assert mean_ap([[0, 0, 0.9, *box], [1, 1, 0.8, *box]], truths) == 1.0
    assert mean_ap([[0, 0, 0.9, *box], [0, 0, 0.8, *box], [1, 1, 0.7, *box]], truths) == 1.0  # the double comes last in its class
    assert mean_ap([[0, 1, 0.9, *box], [1, 1, 0.8, *box]], truths) == 0.25  # class 0 is missed, class 1 has a wrong one first
    assert mean_ap([[7, 0, 0.9, *box]], truths) == 0.0
    assert mean_ap([], truths) == 0.0
    assert mean_ap([[0, 9, 0.9, *box]], truths) == 0.0  # a class without an object


def test_an_object_covered_second_best_is_not_given() -> None:
    """Both detections cover the first object best; the worse of them is wrong, as in the development kit, not in COCO."""
    truths = [[0, 0, 0, 0, 10, 10], [0, 0, 0, 4, 10, 14]]
    found = [[0, 0, 0.9, 0, 0, 10, 10], [0, 0, 0.8, 0, 1, 10, 11]]
    assert mean_ap(found, truths, iou=0.4) == 0.5


def test_box_iou() -> None:
    boxes = [[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 6, 6], [0, 0, 0, 0]]
    expected = [[1, 1 / 7, 0, 0], [1 / 7, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert box_iou(boxes, boxes) == pytest.approx(np.array(expected))
    rng = np.random.default_rng(0)
    a, b = (np.sort(rng.integers(0, 12, (5, 2, 2)), axis=1).reshape(5, 4) for _ in range(2))
    y, x = np.mgrid[:12, :12]
    for i, j in np.ndindex(5, 5):
        inside = [(x >= q[0]) & (x < q[2]) & (y >= q[1]) & (y < q[3]) for q in (a[i], b[j])]
        union = (inside[0] | inside[1]).sum()
        assert box_iou(a, b)[i, j] == pytest.approx((inside[0] & inside[1]).sum() / union if union else 0)


def test_mean_iou_against_a_loop() -> None:
    draws = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 4, (2, 8, 8), generator=draws)
    answers = torch.where(torch.rand(truth.shape, generator=draws) < 0.6, truth, (truth + 2) % 6)
    values = []
    for one in range(6):
        a, t = answers == one, truth == one
        if (a | t).any():
            values.append(float((a & t).sum()) / float((a | t).sum()))
    assert mean_iou(answers, truth) == pytest.approx(sum(values) / len(values), rel=1e-6)
    assert mean_iou([[0, 0]], [[0, 0]]) == 1.0
    assert mean_iou([[0, 1, 1, 1]], [[0, 0, 1, 1]]) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_mean_iou_without_the_pixels_that_do_not_count() -> None:
    draws = np.random.default_rng(1)
    answers, truth = draws.integers(0, 4, (2, 9, 8)), draws.integers(0, 5, (2, 9, 8))
    truth[truth == 4] = 255
    left = truth != 255
    assert mean_iou(answers, truth, ignore=255) == mean_iou(answers[left], truth[left])
    assert mean_iou(answers, truth, ignore=7) == mean_iou(answers, truth) < mean_iou(answers, truth, ignore=255)
    for bad in (-1, 3):
        with pytest.raises(UsageError, match="mean_iou"):
            mean_iou(answers, np.full_like(truth, 3), ignore=bad)


def test_refusals() -> None:
    box = [0, 0, 10, 10]
    with pytest.raises(UsageError, match="no object"):
        mean_ap([[0, 0, 1, *box]], [])
    with pytest.raises(UsageError, match="ends before"):
        mean_ap([[0, 0, 1, 10, 10, 5, 5]], [[0, 0, *box]])
    with pytest.raises(UsageError, match=r"\[N, 7\]"):
        mean_ap([[0, 0, *box]], [[0, 0, *box]])
    with pytest.raises(UsageError, match="whole numbers"):
        mean_ap([[0.5, 0, 1, *box]], [[0, 0, *box]])
    with pytest.raises(UsageError, match="iou"):
        mean_ap([[0, 0, 1, *box]], [[0, 0, *box]], iou=0.0)
    with pytest.raises(UsageError, match="eleven"):
        mean_ap([[0, 0, 1, *box]], [[0, 0, *box]], points="elevn")
    with pytest.raises(UsageError, match="more than positives"):
        average_precision([1, 2], [1, 1], positives=1)
    with pytest.raises(UsageError, match="nothing to find"):
        average_precision([1, 2], [0, 0])
    with pytest.raises(UsageError, match="same pixels"):
        mean_iou([[0, 1]], [[0], [1]])
    with pytest.raises(UsageError, match="x1, y1, x2, y2"):
        box_iou([[0, 0, 1]], [box])
