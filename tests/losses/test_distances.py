"""L1, L2, smooth L1, Huber and log-cosh against their formulas, number by number."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from danlu.errors import UsageError
from danlu.losses import losses
from danlu.spec import read

D = torch.tensor([-30.0, -3, -1.0001, -0.9999, -0.5, -1e-6, 0, 1e-3, 0.3, 0.9999, 1.0001, 2, 7, 700], dtype=torch.float64)


def loss(text: str, outputs: Tensor, targets: Tensor) -> float:
    return float(read(losses, text)(outputs, targets))


def smooth(d: float, beta: float) -> float:
    return d * d / (2 * beta) if abs(d) < beta else abs(d) - beta / 2


def huber(d: float, delta: float) -> float:
    return d * d / 2 if abs(d) < delta else delta * (abs(d) - delta / 2)


FORMULAS: dict[str, Callable[[float], float]] = {
    "l1": abs,
    "l2": lambda d: d * d,
    "smooth_l1": lambda d: smooth(d, 1),
    "smooth_l1(beta=2.5)": lambda d: smooth(d, 2.5),
    "huber": lambda d: huber(d, 1),
    "huber(delta=0.4)": lambda d: huber(d, 0.4),
    "log_cosh": lambda d: math.log(math.cosh(d)),
}


@pytest.mark.parametrize("text", FORMULAS)
def test_each_difference_and_their_mean(text: str) -> None:
    target = torch.arange(len(D), dtype=torch.float64)
    for i, d in enumerate(D.tolist()):
        found = loss(text, D[i : i + 1], torch.zeros(1, dtype=torch.float64))
        assert found == pytest.approx(FORMULAS[text](d), rel=1e-9, abs=1e-30 if text != "log_cosh" else 1e-16)
    wide = (target + D).reshape(2, 7), target.reshape(2, 7)
    assert loss(text, *wide) == pytest.approx(sum(map(FORMULAS[text], D.tolist())) / len(D))


def test_log_cosh_keeps_the_digits_of_small_differences_and_does_not_overflow() -> None:
    for d, wanted in ((1e-4, 5e-9), (-3e-3, 4.49999325e-6), (1e4, 1e4 - math.log(2)), (-1e30, 1e30)):
        found = loss("log_cosh", torch.tensor([d]), torch.zeros(1))
        assert found == pytest.approx(wanted, rel=1e-6)


def test_how_far_an_outlier_pulls() -> None:
    """The slope at d = 50: 1 for L1, 2 d for L2, delta for Huber."""
    slopes = {}
    for text in FORMULAS:
        x = torch.tensor([50.0], requires_grad=True)
        read(losses, text)(x, torch.zeros(1)).backward()
        slopes[text] = float(x.grad)  # type: ignore[arg-type]
    expected = {"l1": 1, "l2": 100, "smooth_l1": 1, "smooth_l1(beta=2.5)": 1, "huber": 1, "huber(delta=0.4)": 0.4, "log_cosh": 1}
    assert slopes == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "said"), [("smooth_l1(beta=0)", "beta must be above 0"), ("huber(delta=-1)", "delta must be above 0")]
)
def test_distances_refuse_options_that_cannot_be(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        loss(text, D, D)


def test_a_column_against_a_row_is_refused_before_it_is_broadcast() -> None:
    with pytest.raises(
        UsageError, match=r"l2 takes float outputs and targets of one shape, got float32 \[4, 1\] and float32 \[4\]"
    ):
        loss("l2", torch.zeros(4, 1), torch.zeros(4))
