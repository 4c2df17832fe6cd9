"""Hinge, exponential and logistic loss against loops over images and rivals, torch's own, and their binary forms."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from danlu.errors import UsageError
from danlu.losses import losses
from danlu.spec import read

LABELS = torch.tensor([0, 1, 2, 3, 0])
FUNCTIONS: dict[str, Callable[[float], float]] = {
    "hinge": lambda m: max(0.0, 1 - m),
    "hinge(margin=2.5, power=2)": lambda m: max(0.0, 2.5 - m) ** 2,
    "exponential": lambda m: math.exp(-m),
    "logistic": lambda m: math.log(1 + math.exp(-m)),
}


def loss(text: str, outputs: Tensor, targets: Tensor) -> float:
    return float(read(losses, text)(outputs, targets))


def logits(seed: int = 0) -> Tensor:
    return torch.randn(5, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_rivals(text: str, rivals: str) -> str:
    name, _, rest = text.partition("(")
    return f"{name}(rivals='{rivals}'" + (f", {rest}" if rest else ")")


@pytest.mark.parametrize("text", FUNCTIONS)
@pytest.mark.parametrize("rivals", ["best", "all"])
def test_a_loop_over_images_labels_and_rivals(text: str, rivals: str) -> None:
    shares = logits(4).softmax(1)
    for targets, wanted in ((LABELS, torch.eye(4)[LABELS]), (shares, shares)):
        total = 0.0
        for row, weights in zip(logits().tolist(), wanted.tolist(), strict=True):
            for y, share in enumerate(weights):
                margins = [row[y] - z for j, z in enumerate(row) if j != y]
                kept = [min(margins)] if rivals == "best" else margins
                total += share * sum(FUNCTIONS[text](m) for m in kept)
        assert loss(with_rivals(text, rivals), logits(), targets) == pytest.approx(total / 5)


def test_torchs_multi_margin_loss_is_all_rivals_over_their_classes() -> None:
    for power in (1, 2):
        expected = float(F.multi_margin_loss(logits(), LABELS, p=power, margin=0.7)) * 4
        assert loss(f"hinge(margin=0.7, power={power}, rivals='all')", logits(), LABELS) == pytest.approx(expected)


def test_two_classes_and_a_single_output_are_the_binary_losses() -> None:
    f, labels = logits()[:, 0], LABELS % 2
    y = 2.0 * labels - 1
    expected = {
        "hinge": (1 - y * f).clamp(min=0).mean(),
        "exponential": (-y * f).exp().mean(),
        "logistic": (1 + (-y * f).exp()).log().mean(),
    }
    torchs = F.hinge_embedding_loss(y * f, -torch.ones(5, dtype=torch.float64))  # max(0, 1 - x) for targets of -1
    assert float(expected["hinge"]) == pytest.approx(float(torchs))
    assert float(expected["logistic"]) == pytest.approx(float(F.soft_margin_loss(f, y)))
    for name, value in expected.items():
        for rivals in ("best", "all"):
            text = f"{name}(rivals='{rivals}')"
            assert loss(text, f[:, None], labels) == pytest.approx(float(value))
            assert loss(text, f[:, None], labels[:, None].double()) == pytest.approx(float(value))
            assert loss(text, torch.stack([torch.full_like(f, 3.0), f + 3], 1), labels) == pytest.approx(float(value))
    assert loss("logistic", logits()[:, :2], labels) == pytest.approx(float(F.cross_entropy(logits()[:, :2], labels)))


def test_the_exponential_goes_on_along_its_tangent() -> None:
    def at(m: float, limit: float) -> tuple[float, float]:
        z = torch.tensor([[m, 0.0]], dtype=torch.float64, requires_grad=True)
        value = read(losses, f"exponential(limit={limit})")(z, torch.tensor([0]))
        value.backward()
        return float(value.detach()), float(z.grad[0, 0])  # type: ignore[index]

    assert at(-1.99, 2.0) == pytest.approx((math.exp(1.99), -math.exp(1.99)))
    for m in (-2.01, -5.0, -100.0):
        assert at(m, 2.0) == pytest.approx((math.exp(2) * (1 - m - 2), -math.exp(2)))


def test_equal_scores_have_no_lead() -> None:
    z = torch.zeros(5, 4, dtype=torch.float64)
    assert loss("hinge", z, LABELS) == 1
    assert loss("exponential", z, LABELS) == 1
    assert loss("logistic", z, LABELS) == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hinge(margin=0)", "margin must be above 0"), ("hinge(power=0.5)", "power must be from 1"),
        ("exponential(limit=100)", "limit must be from 0 to 50"), ("logistic(rivals='some')", "'best' or 'all'"),
    ],
)  # fmt: skip
def test_margin_options_that_cannot_be_are_told(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        loss(text, logits(), LABELS)
