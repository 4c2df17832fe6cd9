"""The large-margin loss: one image at a time with the right logit replaced, labels and shares, and what it does to angles."""

import inspect
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.errors import UsageError
from danlu.losses import losses
from danlu.nn import LargeMarginLinear, large_margin_head
from danlu.spec import read

LABELS = torch.tensor([0, 1, 2, 3, 0])


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    found: Tensor = read(losses, "large_margin_softmax")(outputs, targets)
    return found


def rows(size: float = 2.0, dtype: torch.dtype = torch.float64) -> Tensor:
    plain = size * torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    less = size * torch.rand(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return torch.stack([plain - less, plain], 1).to(dtype)


def test_the_logit_of_the_right_class_is_replaced_by_the_one_with_the_margin() -> None:
    shares = torch.randn(5, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64).softmax(1)
    for targets, wanted in ((LABELS, torch.eye(4)[LABELS]), (shares, shares)):
        total = 0.0
        for (wide, plain), weights in zip(rows().tolist(), wanted.tolist(), strict=True):
            for y, share in enumerate(weights):
                replaced = [wide[k] if k == y else plain[k] for k in range(4)]
                total -= share * (replaced[y] - math.log(sum(map(math.exp, replaced))))
        assert float(loss(rows(), targets)) == pytest.approx(total / 5)


def test_without_a_margin_and_in_eval_mode_it_is_cross_entropy() -> None:
    plain = rows()[:, 1]
    expected = float(F.cross_entropy(plain, LABELS))
    assert float(loss(torch.stack([plain, plain], 1), LABELS)) == pytest.approx(expected)
    assert float(loss(plain, LABELS)) == pytest.approx(expected)


def test_its_gradient_is_that_of_its_values() -> None:
    shares = torch.randn(5, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64).softmax(1)
    for targets in (LABELS, shares):
        assert torch.autograd.gradcheck(lambda both, targets=targets: loss(both, targets), (rows().requires_grad_(True),))


@pytest.mark.parametrize("size", [0.0, 1e-30, 30.0, 1e4])
def test_logits_of_any_size_give_finite_losses_and_slopes(size: float) -> None:
    for plain in (torch.eye(4) * size, -torch.eye(4) * size, torch.full((4, 4), size)):
        both = torch.stack([plain - size / 2, plain], 1).requires_grad_(True)
        for targets in (LABELS[:4], torch.full((4, 4), 0.25)):
            found = loss(both, targets)
            (slope,) = torch.autograd.grad(found, both)
            assert found.isfinite()
            assert slope.isfinite().all()
    exact = float(loss(rows(size), LABELS))
    assert float(loss(rows(size, torch.float32), LABELS)) == pytest.approx(exact, rel=1e-4)


def test_it_draws_the_images_of_a_class_closer_to_its_weights() -> None:
    """Points around three directions, the features learned: the angle to the own weights ends smaller with a margin."""
    angles = {}
    for margin in (1, 2):
        torch.manual_seed(0)
        x, labels = torch.randn(150, 6), torch.arange(3).repeat(50)
        x[torch.arange(150), labels] += 3
        features = nn.Linear(6, 3, bias=False)
        head = LargeMarginLinear(3, 3, False, margin=margin, base=10.0, gamma=0.05)
        optimizer = torch.optim.Adam([*features.parameters(), *head.parameters()], lr=0.05)
        for _ in range(100):
            optimizer.zero_grad()
            loss(head(features(x)), labels).backward()
            optimizer.step()
        with torch.no_grad():
            right = F.cosine_similarity(features(x), head.weight[labels])
            assert float((head.eval()(features(x)).argmax(1) == labels).float().mean()) > 0.9
        angles[margin] = float(right.clamp(-1, 1).acos().mean())
    assert angles[2] < 0.85 * angles[1]


def test_other_shapes_are_refused() -> None:
    for outputs in (torch.zeros(5, 3, 4), torch.zeros(5)):
        with pytest.raises(UsageError):
            loss(outputs, LABELS)
    with pytest.raises(UsageError, match="large_margin_softmax takes logits"):
        loss(rows(), LABELS[:2])


def test_the_options_of_the_loss_are_those_of_the_classifier() -> None:
    of_loss = {name: option.default for name, option in losses["large_margin_softmax"].options().items()}
    of_layer = {
        name: option.default for name, option in inspect.signature(large_margin_head).parameters.items() if name != "model"
    }
    assert of_loss == of_layer
    layer = LargeMarginLinear(2, 2)
    assert of_loss == {name: getattr(layer, name) for name in of_loss}
