"""Losses of classification against loops in float64, torch's own, and numbers from the papers."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from danlu.errors import UsageError
from danlu.losses import balanced_weights, losses
from danlu.spec import read
from danlu.tasks import distillation

IMAGES, CLASSES = 7, 4
LABELS = torch.tensor([0, 1, 2, 3, 0, 1, 3])


def loss(text: str, outputs: Tensor, targets: Tensor, **context: object) -> float:
    return float(read(losses, text)(outputs, targets, **context))


def logits(seed: int = 0, size: float = 2.0) -> Tensor:
    return size * torch.randn(IMAGES, CLASSES, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def probabilities(row: list[float]) -> list[float]:
    powers = [math.exp(z) for z in row]
    return [power / sum(powers) for power in powers]


SHARES = logits(9).softmax(1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_smooths_labels_and_shares(smoothing: float) -> None:
    for targets, wanted in ((LABELS, torch.eye(4, dtype=torch.float64)[LABELS]), (SHARES, SHARES)):
        total = 0.0
        for row, shares in zip(logits().tolist(), wanted.tolist(), strict=True):
            for p, share in zip(probabilities(row), shares, strict=True):
                total -= ((1 - smoothing) * share + smoothing / CLASSES) * math.log(p)
        assert loss(f"cross_entropy(label_smoothing={smoothing})", logits(), targets) == pytest.approx(total / IMAGES)
        # The setting of a training reaches every loss that has the option, unless it is written.
        assert loss("cross_entropy", logits(), targets, label_smoothing=smoothing) == pytest.approx(total / IMAGES)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [[1.0, 2, 3, 4], [0, 1, 1, 10]])
def test_weighted_cross_entropy_is_a_weighted_mean(weights: list[float], smoothing: float) -> None:
    text = f"weighted_cross_entropy(weights={weights}, label_smoothing={smoothing})"
    for targets, wanted in ((LABELS, torch.eye(4, dtype=torch.float64)[LABELS]), (SHARES, SHARES)):
        total = weight = 0.0
        for row, shares in zip(logits().tolist(), wanted.tolist(), strict=True):
            for w, p, share in zip(weights, probabilities(row), shares, strict=True):
                total -= w * ((1 - smoothing) * share + smoothing / CLASSES) * math.log(p)
                weight += w * share
        assert loss(text, logits(), targets) == pytest.approx(total / weight)
    torchs = F.cross_entropy(logits(), LABELS, torch.tensor(weights, dtype=torch.float64), label_smoothing=smoothing)
    assert loss(text, logits(), LABELS) == pytest.approx(float(torchs))


def test_balanced_weights_let_every_class_weigh_the_same() -> None:
    counts = [100, 50, 10, 0]
    weights = balanced_weights(counts)
    assert weights == pytest.approx([160 / 300, 160 / 150, 160 / 30, 0])
    assert sum(w * n for w, n in zip(weights, counts, strict=True)) == pytest.approx(160), "the mean image weighs 1"
    z, labels = logits(), LABELS % 3
    written = loss(f"weighted_cross_entropy(weights={weights})", z, labels)
    assert loss("weighted_cross_entropy(counts=[100, 50, 10, 0])", z, labels) == pytest.approx(written)
    assert loss(f"weighted_cross_entropy(weights={weights})", z, labels, counts=[1, 1, 1, 1]) == pytest.approx(written)
    # Repeating each image of a rare class until all classes have as many gives the plain loss of the repeated set.
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    repeated = torch.tensor([0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 6, 6])
    plain = loss("cross_entropy", z[repeated], labels[repeated])
    assert loss("weighted_cross_entropy(counts=[4, 2, 1, 0])", z, labels) == pytest.approx(plain)


def test_a_batch_without_a_class_that_weighs_costs_nothing() -> None:
    assert loss("weighted_cross_entropy(weights=[1, 0, 0, 0])", logits()[:2], torch.tensor([1, 2])) == 0


def test_focal_is_a_loop_over_images_and_its_published_factor() -> None:
    weights = [0.25, 0.75, 1.0, 2.0]
    for gamma in (0.0, 0.5, 1.0, 2.0, 5.0):
        for targets, wanted in ((LABELS, torch.eye(4, dtype=torch.float64)[LABELS]), (SHARES, SHARES)):
            total = 0.0
            for row, shares in zip(logits().tolist(), wanted.tolist(), strict=True):
                for w, p, share in zip(weights, probabilities(row), shares, strict=True):
                    total -= w * share * (1 - p) ** gamma * math.log(p)
            found = loss(f"focal(gamma={gamma}, weights={weights})", logits(), targets)
            assert found == pytest.approx(total / IMAGES)
    assert loss("focal(gamma=0)", logits(), SHARES) == pytest.approx(loss("cross_entropy", logits(), SHARES))
    # Section 3.2 of the paper: with gamma = 2 an image with p = 0.9 has a loss 100 times lower, with p about 0.968 1000 times.
    for p, factor in ((0.9, 100), (0.968, 1000)):
        z, label = torch.tensor([[math.log(p / (1 - p)), 0.0]], dtype=torch.float64), torch.tensor([0])
        assert loss("cross_entropy", z, label) / loss("focal", z, label) == pytest.approx(factor, rel=0.03)


@pytest.mark.parametrize("gamma", [0.3, 0.5, 1.0, 2.0])
def test_focal_has_a_gradient_where_the_answer_is_certain(gamma: float) -> None:
    z = torch.tensor([[1000.0, 0.0], [0.0, 40.0]], requires_grad=True)
    read(losses, f"focal(gamma={gamma})")(z, torch.tensor([0, 1])).backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()


def test_kl_is_a_loop_and_cross_entropy_less_the_entropy_of_the_targets() -> None:
    total = entropy = 0.0
    for row, shares in zip(logits().tolist(), SHARES.tolist(), strict=True):
        for p, t in zip(probabilities(row), shares, strict=True):
            total += t * math.log(t / p)
            entropy -= t * math.log(t)
    assert loss("kl", logits(), SHARES) == pytest.approx(total / IMAGES)
    assert loss("kl", logits(), SHARES) == pytest.approx(loss("cross_entropy", logits(), SHARES) - entropy / IMAGES)
    assert loss("kl", SHARES.log(), SHARES) == pytest.approx(0, abs=1e-12)
    assert loss("kl", SHARES.log(), logits().softmax(1)) != pytest.approx(loss("kl", logits(), SHARES)), "it is not symmetric"


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_soft_is_distillation_from_probabilities(temperature: float) -> None:
    teacher = logits(3)
    found = loss(f"soft(temperature={temperature})", logits(), teacher.softmax(1))
    assert found == pytest.approx(float(distillation(logits(), teacher, temperature)))
    # A label has no other classes to flatten: cross-entropy of the flattened logits.
    hard = temperature**2 * float(F.cross_entropy(logits() / temperature, LABELS))
    assert loss(f"soft(temperature={temperature})", logits(), LABELS) == pytest.approx(hard)


def test_sigmoid_cross_entropy_asks_about_each_class_alone() -> None:
    several = torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.float64)
    z, total = logits()[:3], 0.0
    for row, there in zip(z.tolist(), several.tolist(), strict=True):
        for score, t in zip(row, there, strict=True):
            s = 1 / (1 + math.exp(-score))
            total -= t * math.log(s) + (1 - t) * math.log(1 - s)
    assert loss("sigmoid_cross_entropy", z, several) == pytest.approx(total / 3)
    torchs = F.binary_cross_entropy_with_logits(logits(), SHARES) * CLASSES
    assert loss("sigmoid_cross_entropy", logits(), SHARES) == pytest.approx(float(torchs))
    # A single output is the score of "yes": the loss of two classes of which the other one scores 0.
    one, labels = logits()[:, :1], LABELS % 2
    two = float(F.cross_entropy(torch.cat([torch.zeros_like(one), one], 1), labels))
    assert loss("sigmoid_cross_entropy", one, labels) == pytest.approx(two)


def test_zero_one_counts_wrong_answers_and_lies_below_the_losses_that_stand_for_it() -> None:
    z = torch.tensor([[3.0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]])
    assert loss("zero_one", z, torch.tensor([0, 2, 1])) == pytest.approx(1 / 3)
    assert loss("zero_one", z, torch.tensor([[0.7, 0.3, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]])) == pytest.approx((0.3 + 1 + 0) / 3)
    for row, label in zip(logits().split(1), LABELS.split(1), strict=True):
        wrong = loss("zero_one", row, label)
        assert wrong in (0, 1)
        for stand_in, share in (("hinge", 1.0), ("exponential", 1.0), ("logistic", math.log(2)), ("cross_entropy", math.log(2))):
            assert loss(stand_in, row, label) / share >= wrong


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("weighted_cross_entropy", "needs weights=[...] or counts=[...]"),
        ("weighted_cross_entropy(weights=[1, 2])", "2 weights do not go with 4 classes"),
        ("weighted_cross_entropy(weights=[1, 2, 3, -1])", "from 0 and not all 0"),
        ("weighted_cross_entropy(weights=[0, 0, 0, 0])", "from 0 and not all 0"),
        ("weighted_cross_entropy(counts=[1, 1, 1, -1])", "from 0 and not all 0"),
        ("weighted_cross_entropy(weights='balanced')", "weights takes a list of a number"),
        ("focal(gamma=-1)", "gamma must be from 0, got -1"), ("focal(weights=[1])", "1 weights do not go with 4 classes"),
        ("focal(label_smoothing=2)", "from 0 to 1"), ("cross_entropy(label_smoothing=-0.1)", "from 0 to 1"),
        ("soft(temperature=0)", "temperature must be above 0, got 0"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_told(text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        loss(text, logits(), LABELS)
    assert said in str(error.value)
