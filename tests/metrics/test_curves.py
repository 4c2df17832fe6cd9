"""ROC, precision-recall, their areas and the accept rates against pairs counted one by one, and torchmetrics."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional import classification as over

from danlu.errors import UsageError
from danlu.metrics import far, frr, pr_auc, pr_curve, roc_auc, roc_curve, tar, tar_at_far

# Few levels of score: ties are the rule.
LISTS = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40).filter(
    lambda rows: len({right for _, right in rows}) == 2
)


def columns(rows: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([score for score, _ in rows], float), np.array([right for _, right in rows])


def spread(n: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(5)
    truth = torch.rand(n, generator=draws) < 0.3
    return torch.sigmoid(torch.randn(n, generator=draws) + truth), truth


@given(LISTS)
def test_auc_is_the_chance_of_a_pair_in_order(rows: list[tuple[int, bool]]) -> None:
    pairs = [(a > b) + (a == b) / 2 for a, true in rows if true for b, other in rows if not other]
    assert roc_auc(*columns(rows)) == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)


@given(LISTS)
def test_curves_against_counting_at_each_threshold(rows: list[tuple[int, bool]]) -> None:
    scores, truth = columns(rows)
    levels = sorted({score for score, _ in rows}, reverse=True)
    roc, pr = roc_curve(scores, truth), pr_curve(scores, truth)
    assert roc.thresholds.tolist() == [np.inf, *levels]
    assert pr.thresholds.tolist() == levels
    assert (roc.fpr[0], roc.tpr[0]) == (0, 0)
    for i, level in enumerate(levels):
        above = scores >= level
        assert roc.tpr[i + 1] == pr.recall[i] == tar(scores, truth, threshold=level) == above[truth].mean()
        assert roc.fpr[i + 1] == far(scores, truth, threshold=level) == above[~truth].mean()
        assert pr.precision[i] == truth[above].mean()
        assert frr(scores, truth, threshold=level) == pytest.approx((scores[truth] < level).mean())
    for limit in (0.0, 0.1, 0.5, 1.0):
        rates = [((scores[~truth] >= t).mean(), (scores[truth] >= t).mean()) for t in [np.inf, *levels]]
        assert tar_at_far(scores, truth, far=limit) == max(hit for false, hit in rates if false <= limit)


def test_against_torchmetrics() -> None:
    scores, truth = spread()
    assert roc_auc(scores, truth) == pytest.approx(float(over.binary_auroc(scores, truth.int())), rel=1e-6)
    assert pr_auc(scores, truth) == pytest.approx(float(over.binary_average_precision(scores, truth.int())), rel=1e-6)
    fpr, tpr, _ = over.binary_roc(scores, truth.int())
    ours = roc_curve(scores, truth)
    assert ours.fpr == pytest.approx(fpr.numpy(), abs=1e-6)
    assert ours.tpr == pytest.approx(tpr.numpy(), abs=1e-6)


def test_published_example_of_roc() -> None:
    """Fawcett 2006, table 1 and figure 3: twenty instances; the curve passes (0.1, 0.5), its first positive is at 0.9."""
    truth = [1, 1, 0, 1, 1, 1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0]
    scores = [
        0.9, 0.8, 0.7, 0.6, 0.55, 0.54, 0.53, 0.52, 0.51, 0.505, 0.4, 0.39, 0.38, 0.37, 0.36, 0.35, 0.34, 0.33, 0.30, 0.1,
    ]  # fmt: skip
    curve = roc_curve(scores, truth)
    at = {float(t): (float(x), float(y)) for x, y, t in zip(*curve, strict=True)}
    assert at[0.9] == (0.0, 0.1)
    assert at[0.54] == pytest.approx((0.1, 0.5))
    assert roc_auc(scores, truth) == pytest.approx(0.68)  # 68 of 100 pairs in order, counted in the table


def test_only_the_order_of_scores_counts() -> None:
    """Logits far beyond 0 .. 1 too, where a sigmoid would make them equal."""
    scores, truth = spread()
    for same in (100 * scores + 50, scores.double().exp(), -1 / scores):
        assert roc_auc(same, truth) == pytest.approx(roc_auc(scores, truth), abs=1e-12)
        assert pr_auc(same, truth) == pytest.approx(pr_auc(scores, truth), abs=1e-12)
    assert roc_auc([30.0, 60.0, 80.0, 90.0], [0, 0, 1, 1]) == 1.0


def test_extremes() -> None:
    assert roc_auc([3, 2, 1, 0], [1, 1, 0, 0]) == 1.0
    assert roc_auc([0, 1, 2, 3], [1, 1, 0, 0]) == 0.0
    assert roc_auc([1, 1, 1, 1], [1, 1, 0, 0]) == 0.5
    assert pr_auc([1, 1, 1, 1], [1, 0, 0, 0]) == 0.25
    assert tar_at_far([1, 1, 1, 1], [1, 1, 0, 0], far=0.5) == 0.0
    assert tar_at_far([3, 2, 1, 0], [1, 0, 1, 0], far=0.0) == 0.5


def test_refusals() -> None:
    for metric in (roc_auc, roc_curve, tar_at_far):
        for one in ([True, True], [False, False]):
            with pytest.raises(UsageError, match="true and false"):
                metric([0.1, 0.2], one)
    with pytest.raises(UsageError, match="true target"):
        pr_auc([0.1], [False])
    with pytest.raises(UsageError, match="no true target"):
        tar([0.1], [False])
    with pytest.raises(UsageError, match="no false target"):
        far([0.1], [True])
    with pytest.raises(UsageError, match="true or false"):
        roc_auc([0.1, 0.2], [1, 2])
    with pytest.raises(UsageError, match=r"0 \.\. 1"):
        tar_at_far([0.1, 0.2], [1, 0], far=1.5)
    with pytest.raises(UsageError, match="nan"):
        tar([0.1, 0.2], [1, 0], threshold=float("nan"))
