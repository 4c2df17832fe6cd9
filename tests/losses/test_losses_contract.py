"""What holds for every loss, whatever it computes: text, shapes, types, means, slopes, limits and errors."""

import ast
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from danlu.errors import UsageError
from danlu.losses import TASKS, losses
from danlu.registry import Entry
from danlu.spec import read

# Options without which a loss cannot be called; equal weights, so that what holds for all losses holds for these.
NEEDED = {"weighted_cross_entropy": "weighted_cross_entropy(weights=[2, 2, 2, 2])"}
# More arguments than outputs and targets, by the name of the parameter.
BESIDE: dict[str, Callable[[Tensor], Any]] = {
    "features": lambda outputs: lambda images: [images, images.square()],
    "gap": lambda outputs: torch.linspace(3, 5, outputs.numel()).view_as(outputs).to(outputs),
    "norms": lambda outputs: torch.linspace(0, 2, len(outputs)).to(outputs),
}
IMAGES, CLASSES = 6, 4


def of(*tasks: str) -> pytest.MarkDecorator:
    found = [entry for entry in losses if entry.facts["task"] in tasks]
    return pytest.mark.parametrize("entry", found, ids=lambda entry: entry.name)


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def call(entry: Entry[Any], outputs: Tensor, targets: Tensor | None, **options: Any) -> Tensor:
    beside = [make(outputs) for name, make in BESIDE.items() if name in inspect.signature(entry.build).parameters]
    found: Tensor = read(losses, NEEDED.get(entry.name, entry.name), tuple(options))(outputs, targets, *beside, **options)
    return found


def shares(seed: int = 5) -> Tensor:
    return numbers(IMAGES, CLASSES, seed=seed).softmax(1)


LABELS = torch.tensor([0, 1, 2, 3, 0, 1])


@of(*TASKS)
def test_it_says_what_it_is_and_where_it_is_from(entry: Entry[Any]) -> None:
    module, doc = inspect.getmodule(entry.build), inspect.getdoc(entry.build) or ""
    assert "\nSource: " in (inspect.getdoc(module) or "")
    assert len((inspect.getdoc(module) or "").split("\n\n")[0].splitlines()) <= 3
    assert entry.summary.endswith(".")
    assert "Shape: " in doc
    assert "Raises: " in doc
    assert entry.facts["task"] in TASKS
    assert entry.facts["paper"].startswith(("arxiv:", "doi:", "https://"))
    for name, option in entry.options().items():
        assert name == "side" or ast.literal_eval(repr(option.default)) == option.default


@of(*TASKS)
def test_an_unknown_option_and_one_of_another_type_are_refused(entry: Entry[Any]) -> None:
    with pytest.raises(UsageError, match="nothing"):
        read(losses, f"{entry.name}(nothing=1)")
    for name in entry.options():
        with pytest.raises(UsageError, match=name):
            read(losses, f"{entry.name}({name}={{'a': None}})")


@of("classify", "judge")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_classification_gives_a_scalar_of_the_type_of_the_outputs(entry: Entry[Any], dtype: torch.dtype) -> None:
    z = numbers(IMAGES, CLASSES, dtype=dtype)
    for targets in (LABELS, LABELS.int(), shares(), shares().float()):
        loss = call(entry, z, targets)
        assert loss.shape == ()
        assert loss.dtype == dtype
        assert float(loss) >= 0


@of("classify", "judge")
def test_a_label_is_the_same_as_its_share_of_one(entry: Entry[Any]) -> None:
    z, one_hot = numbers(IMAGES, CLASSES), torch.eye(CLASSES, dtype=torch.float64)[LABELS]
    assert torch.allclose(call(entry, z, LABELS), call(entry, z, one_hot), rtol=1e-12)


@of("classify", "judge")
def test_a_batch_is_the_mean_over_its_images_in_any_order_of_images_and_classes(entry: Entry[Any]) -> None:
    z, order = numbers(IMAGES, CLASSES), torch.tensor([2, 0, 3, 1])
    for targets in (LABELS, shares()):
        whole = call(entry, z, targets)
        each = torch.stack([call(entry, z[i : i + 1], targets[i : i + 1]) for i in range(IMAGES)])
        assert torch.allclose(whole, each.mean(), rtol=1e-12)
        moved = order.argsort()[targets] if targets.ndim == 1 else targets[:, order]
        assert torch.allclose(whole, call(entry, z[:, order], moved), rtol=1e-12)


@of("classify")
def test_its_gradient_is_the_one_of_its_values(entry: Entry[Any]) -> None:
    z = numbers(IMAGES, CLASSES).requires_grad_(True)
    for targets in (LABELS, shares()):
        assert torch.autograd.gradcheck(lambda z, targets=targets: call(entry, z, targets), (z,))


@of("classify")
def test_a_surer_right_answer_never_costs_more(entry: Entry[Any]) -> None:
    z = numbers(IMAGES, CLASSES)
    right = torch.eye(CLASSES, dtype=torch.float64)[LABELS]
    costs = [float(call(entry, z + lead * right, LABELS)) for lead in (-30, -5, -1, 0, 1, 5, 30)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > costs[3] > costs[-1]


@of("classify")
def test_a_step_down_its_slope_makes_it_smaller(entry: Entry[Any]) -> None:
    for targets in (LABELS, shares()):
        z = numbers(IMAGES, CLASSES).requires_grad_(True)
        before = call(entry, z, targets)
        before.backward()
        assert float(call(entry, z.detach() - 1e-3 * z.grad, targets)) < float(before.detach())  # type: ignore[operator]


@of("classify")
@pytest.mark.parametrize("size", [0.0, 1e-30, 100.0, 1e4, 1e6])
def test_it_and_its_gradient_are_finite_for_any_logits(entry: Entry[Any], size: float) -> None:
    z = torch.tensor([[1.0, -1, 0, 1], [-1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, -1]]) * size
    for targets in (torch.tensor([0, 0, 1, 3]), torch.eye(4)[[1, 2, 3, 0]], torch.full((4, 4), 0.25)):
        outputs = z.clone().requires_grad_(True)
        loss = call(entry, outputs, targets)
        loss.backward()
        assert loss.isfinite()
        assert outputs.grad is not None
        assert outputs.grad.isfinite().all()


@of("classify", "judge")
def test_targets_of_another_task_are_refused(entry: Entry[Any]) -> None:
    z = numbers(IMAGES, CLASSES)
    for targets in (numbers(IMAGES), LABELS[:3], torch.zeros(IMAGES, CLASSES, dtype=torch.int64), numbers(IMAGES, CLASSES + 1)):
        with pytest.raises(UsageError, match=entry.name if not entry.facts.get("head") else "shares"):
            call(entry, z, targets)
    with pytest.raises(UsageError):
        call(entry, numbers(IMAGES), LABELS)


@of("judge")
def test_a_judge_has_no_gradient(entry: Entry[Any]) -> None:
    assert not call(entry, numbers(IMAGES, CLASSES).requires_grad_(True), LABELS).requires_grad


@of("regress", "perceive")
def test_a_distance_is_0_and_flat_where_both_agree(entry: Entry[Any]) -> None:
    x = numbers(2, 3, 4, 4).requires_grad_(True)
    loss = call(entry, x, x.detach().clone())
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(x.grad, torch.zeros_like(x))  # type: ignore[arg-type]


@of("regress")
def test_a_distance_is_a_mean_that_grows_with_each_difference_to_either_side(entry: Entry[Any]) -> None:
    target, d = numbers(40), torch.linspace(0.1, 5, 40, dtype=torch.float64)
    each = [float(call(entry, target[i : i + 1] + d[i], target[i : i + 1])) for i in range(40)]
    assert each == sorted(each)
    assert float(call(entry, target + d, target)) == pytest.approx(sum(each) / 40)
    assert float(call(entry, target - d, target)) == pytest.approx(sum(each) / 40)


@of("regress")
def test_the_gradient_of_a_distance(entry: Entry[Any]) -> None:
    x, y = numbers(3, 5).requires_grad_(True), numbers(3, 5, seed=1).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x, y: call(entry, x, y), (x, y))


@of("regress", "perceive")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_distance_is_finite_has_its_type_and_takes_equal_shapes_only(entry: Entry[Any], dtype: torch.dtype) -> None:
    for size in (1e-30, 1e-4, 1.0, 1e4):
        x = (size * numbers(2, 3, 4, 4, dtype=dtype)).requires_grad_(True)
        loss = call(entry, x, numbers(2, 3, 4, 4, seed=1))
        loss.backward()
        assert loss.isfinite()
        assert loss.dtype == dtype
        assert x.grad is not None
        assert x.grad.isfinite().all()
    for wrong in (numbers(2, 1, 4, 4), torch.zeros(2, 3, 4, 4, dtype=torch.int64), torch.zeros(2, dtype=torch.int64)):
        with pytest.raises(UsageError, match=f"{entry.name} takes float outputs and targets of one shape"):
            call(entry, numbers(2, 3, 4, 4), wrong)


@of("embed")
def test_embeddings_may_be_moved_turned_and_shuffled(entry: Entry[Any]) -> None:
    x, order = numbers(IMAGES, 3), torch.tensor([3, 0, 5, 1, 4, 2])
    turn, _ = torch.linalg.qr(numbers(3, 3, seed=1))
    loss = call(entry, x, LABELS)
    assert float(loss) > 0
    assert torch.allclose(loss, call(entry, x @ turn + numbers(1, 3, seed=2), LABELS))
    assert torch.allclose(loss, call(entry, x[order], LABELS[order]))
    assert torch.allclose(loss, call(entry, x, 7 - LABELS))


@of("embed")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_embeddings_give_a_gradient_also_where_images_coincide(entry: Entry[Any], dtype: torch.dtype) -> None:
    for size in (0.0, 1e-30, 1.0, 1e4):
        x = (size * numbers(IMAGES, 3, dtype=dtype)).requires_grad_(True)
        loss = call(entry, x, LABELS)
        loss.backward()
        assert loss.dtype == dtype
        assert loss.isfinite()
        assert x.grad is not None
        assert x.grad.isfinite().all()
    assert torch.autograd.gradcheck(lambda x: call(entry, x, LABELS), (numbers(IMAGES, 3).requires_grad_(True),))


@of("embed")
def test_embeddings_need_identities(entry: Entry[Any]) -> None:
    for targets in (shares(), LABELS[:2], LABELS.double()):
        with pytest.raises(UsageError, match=f"{entry.name} takes embeddings"):
            call(entry, numbers(IMAGES, CLASSES), targets)
    with pytest.raises(UsageError, match="batch"):
        call(entry, numbers(1, 3), LABELS[:1])


@of("generate")
@pytest.mark.parametrize("shape", [(8,), (8, 1)])
def test_generator_and_critic_pull_the_scores_of_generated_images_apart(entry: Entry[Any], shape: tuple[int, ...]) -> None:
    slopes = {}
    for side in ("critic", "generator"):
        f = (0.5 + 0.1 * numbers(*shape)).requires_grad_(True)
        loss = call(entry, f, None if side == "generator" else 0.5 + 0.1 * numbers(*shape, seed=1), side=side)
        assert loss.shape == ()
        assert loss.dtype == torch.float64
        loss.backward()
        slopes[side] = f.grad
    assert (slopes["critic"] * slopes["generator"] < 0).all()


@of("generate")
def test_scores_of_any_size_give_finite_losses_and_slopes(entry: Entry[Any]) -> None:
    for side in ("critic", "generator"):
        for size in (0.0, 100.0, 1e4):
            f = (size * numbers(8, dtype=torch.float32)).requires_grad_(True)
            loss = call(entry, f, size * numbers(8, seed=1, dtype=torch.float32), side=side)
            loss.backward()
            assert loss.isfinite()
            assert f.grad is not None
            assert f.grad.isfinite().all()


@of("generate")
def test_the_gradients_of_both_sides_and_a_critic_without_real_images(entry: Entry[Any]) -> None:
    f, r = numbers(8).requires_grad_(True), numbers(8, seed=1).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda f: call(entry, f, None, side="generator"), (f,))
    assert torch.autograd.gradcheck(lambda f, r: call(entry, f, r, side="critic"), (f, r))
    with pytest.raises(UsageError, match="scores of real images"):
        call(entry, f, None, side="critic")
