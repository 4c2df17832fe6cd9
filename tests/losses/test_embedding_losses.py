"""Contrastive and triplet loss against loops over pairs and triplets, and torch's own for triplets that are given."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from danlu.errors import UsageError
from danlu.losses import contrastive_pairs, losses, triplets
from danlu.spec import read

LABELS = torch.tensor([0, 1, 0, 2, 1, 0, 1])


def loss(text: str, outputs: Tensor, targets: Tensor) -> float:
    return float(read(losses, text)(outputs, targets))


def embeddings(seed: int = 0, images: int = 7) -> Tensor:
    return torch.randn(images, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("margin", [0.5, 2.0])
def test_contrastive_is_a_mean_over_pairs(margin: float) -> None:
    x, costs, same = embeddings(), [], []
    for i, j in itertools.combinations(range(7), 2):
        d = math.dist(x[i].tolist(), x[j].tolist())
        same.append(bool(LABELS[i] == LABELS[j]))
        costs.append(d * d / 2 if same[-1] else max(0.0, margin - d) ** 2 / 2)
    assert loss(f"contrastive(margin={margin})", x, LABELS) == pytest.approx(sum(costs) / 21)
    pairs = torch.tensor(list(itertools.combinations(range(7), 2)))
    found = contrastive_pairs(x[pairs[:, 0]], x[pairs[:, 1]], torch.tensor(same), margin=margin)
    assert float(found) == pytest.approx(sum(costs) / 21)


def cost(near: float, far: float, form: str, margin: float) -> float:
    if form == "margin":
        return max(0.0, margin + near - far)
    if form == "soft":
        return math.log(1 + math.exp(near - far))
    return (math.exp(near) / (math.exp(near) + math.exp(far))) ** 2


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("form", ["margin", "soft", "ratio"])
@pytest.mark.parametrize("mining", ["all", "active", "hard"])
def test_triplet_is_a_loop_over_anchors_positives_and_negatives(mining: str, form: str, squared: bool) -> None:
    x, costs = embeddings(), []
    d = [[math.dist(a, b) ** (2 if squared else 1) for b in x.tolist()] for a in x.tolist()]
    for a in range(7):
        positives = [d[a][p] for p in range(7) if p != a and LABELS[p] == LABELS[a]]
        negatives = [d[a][n] for n in range(7) if LABELS[n] != LABELS[a]]
        if mining == "hard" and positives:
            costs.append(cost(max(positives), min(negatives), form, 0.3))
        elif mining != "hard":
            costs += [cost(p, n, form, 0.3) for p in positives for n in negatives]
    if mining == "active":
        costs = [found for found in costs if found > 0]
    text = f"triplet(margin=0.3, mining='{mining}', form='{form}', squared={squared})"
    assert loss(text, x, LABELS) == pytest.approx(sum(costs) / len(costs))


def test_given_triplets_are_torchs_triplet_margin_loss() -> None:
    a, p, n = (embeddings(seed) for seed in (1, 2, 3))
    assert float(triplets(a, p, n, margin=0.7)) == pytest.approx(float(F.triplet_margin_loss(a, p, n, margin=0.7, eps=0)))
    squares = ((a - p).square().sum(1) - (a - n).square().sum(1) + 0.2).clamp(min=0).mean()
    assert float(triplets(a, p, n, squared=True)) == pytest.approx(float(squares))


def test_the_ratio_is_the_softmax_of_the_two_distances() -> None:
    """Hoffer and Ailon 2014: |(d+, d- - 1)|^2 of the softmax (d+, d-) is twice d+ squared."""
    a, p, n = (embeddings(seed) for seed in (1, 2, 3))
    shares = torch.stack([(a - p).norm(dim=1), (a - n).norm(dim=1)], 1).softmax(1)
    wanted = (shares - torch.tensor([0.0, 1.0])).square().sum(1).mean() / 2
    assert float(triplets(a, p, n, form="ratio")) == pytest.approx(float(wanted))


def test_classes_that_lie_apart_cost_nothing() -> None:
    x = 100.0 * torch.eye(3, dtype=torch.float64)[LABELS] + 1e-3 * embeddings()
    assert loss("contrastive", x, LABELS) < 1e-5
    for mining in ("all", "active", "hard"):
        assert loss(f"triplet(mining='{mining}')", x, LABELS) == 0


def test_near_pairs_keep_their_digits_far_from_the_origin() -> None:
    x = (1000 + 1e-3 * embeddings()).float()
    exact = loss("triplet(margin=0.001)", x.double(), LABELS)
    assert loss("triplet(margin=0.001)", x, LABELS) == pytest.approx(exact, rel=1e-5)


def test_batches_and_options_that_cannot_be() -> None:
    for targets in (torch.arange(7), torch.zeros(7, dtype=torch.int64)):
        with pytest.raises(UsageError, match="draw several of each identity"):
            loss("triplet", embeddings(), targets)
    for text, said in (
        ("contrastive(margin=0)", "above 0"),
        ("triplet(margin=-1)", "from 0"),
        ("triplet(mining='easy')", "'hard'"),
    ):
        with pytest.raises(UsageError, match=said):
            loss(text, embeddings(), LABELS)
    with pytest.raises(UsageError, match="one shape"):
        triplets(embeddings(), embeddings(), embeddings(images=6))
    with pytest.raises(UsageError, match="same"):
        contrastive_pairs(embeddings(), embeddings(), torch.ones(3))
