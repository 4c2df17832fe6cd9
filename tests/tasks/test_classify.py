"""The classification task: its losses against closed forms."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from danlu.errors import UsageError
from danlu.tasks import classify, distillation, tasks

NAMES = ("ant", "bee", "cat", "dog")


def logits(seed: int, images: int = 6) -> torch.Tensor:
    return torch.randn(images, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def log_softmax(x: np.ndarray) -> np.ndarray:
    x = x - x.max(1, keepdims=True)
    return x - np.log(np.exp(x).sum(1, keepdims=True))


LABELS = torch.tensor([0, 1, 2, 3, 0, 1])


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_cross_entropy_with_smoothed_targets(smoothing: float) -> None:
    target = (1 - smoothing) * np.eye(4)[LABELS.numpy()] + smoothing / 4
    expected = -(target * log_softmax(logits(0).numpy())).sum(1).mean()
    assert float(classify(NAMES, label_smoothing=smoothing).loss(logits(0), LABELS)) == pytest.approx(expected)


@pytest.mark.parametrize(("temperature", "alpha"), [(1.0, 0.5), (4.0, 0.9), (2.0, 1.0), (3.0, 0.0)])
def test_distillation_is_the_weighted_sum(temperature: float, alpha: float) -> None:
    student, teacher = logits(0), logits(1)
    p = np.exp(log_softmax(teacher.numpy() / temperature))
    kl = (p * (np.log(p) - log_softmax(student.numpy() / temperature))).sum(1).mean()
    hard = -log_softmax(student.numpy())[np.arange(6), LABELS.numpy()].mean()
    loss = classify(NAMES, temperature=temperature, alpha=alpha).loss(student, LABELS, teacher)
    assert float(loss) == pytest.approx((1 - alpha) * hard + alpha * temperature**2 * kl)


def test_a_student_that_equals_its_teacher_has_nothing_to_learn() -> None:
    student = logits(0).requires_grad_(True)
    loss = distillation(student, logits(0), 4.0)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-12)
    assert student.grad is not None
    assert float(student.grad.abs().max()) < 1e-12


def test_hot_limit_is_matching_logits() -> None:
    """Hinton et al., section 2.1: for a high temperature and logits of zero mean, T^2 dKL/dz_i -> (z_i - v_i) / K."""
    student, teacher = logits(0), logits(1)
    student, teacher = student - student.mean(1, keepdim=True), teacher - teacher.mean(1, keepdim=True)
    student.requires_grad_(True)
    distillation(student, teacher, 1e4).backward()
    assert torch.allclose(student.grad * 6, (student.detach() - teacher) / 4, atol=1e-3)  # type: ignore[operator]


def test_gradient_of_cross_entropy() -> None:
    student = logits(3).requires_grad_(True)
    classify(NAMES).loss(student, LABELS).backward()
    assert torch.allclose(student.grad, (student.detach().softmax(1) - functional.one_hot(LABELS, 4)) / 6)  # type: ignore[arg-type]


def test_score_counts_right_answers() -> None:
    outputs = torch.tensor([[3.0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]])
    assert int(classify(NAMES).score(outputs, torch.tensor([0, 2, 1]))) == 2


def test_decode_names_the_class_and_its_probability() -> None:
    answer = classify(NAMES).decode(torch.log(torch.tensor([[0.1, 0.2, 0.6, 0.1]])))
    assert answer[0]["class"] == "cat"
    assert answer[0]["probability"] == pytest.approx(0.6)


@pytest.mark.parametrize("outputs", [torch.zeros(2, 5), torch.zeros(2, 4, 1), [torch.zeros(2, 4)]])
def test_other_outputs_are_refused(outputs: object) -> None:
    with pytest.raises(UsageError, match="must"):
        classify(NAMES).check(outputs)  # type: ignore[arg-type]
    classify(NAMES).check(torch.zeros(2, 4))


def test_registered() -> None:
    task = tasks["classify"].build(NAMES)
    assert task.primary == "accuracy"
    assert task.higher_is_better


def test_the_loss_of_several_exits_is_the_weighted_mean_of_theirs() -> None:
    task, exits = classify(NAMES, label_smoothing=0.1, exit_weights=(1.0, 0.5, 0.3)), [logits(i) for i in range(3)]
    single = classify(NAMES, label_smoothing=0.1)
    for teacher in (None, logits(9)):
        losses = [float(single.loss(z, LABELS, teacher)) for z in exits]
        expected = (losses[0] + 0.5 * losses[1] + 0.3 * losses[2]) / 1.8
        assert float(task.loss(torch.stack(exits, 1), LABELS, teacher)) == pytest.approx(expected)
    assert float(single.loss(torch.stack(exits, 1), LABELS)) == pytest.approx(
        sum(float(single.loss(z, LABELS)) for z in exits) / 3
    )
    assert task.score(torch.stack(exits, 1), LABELS) == single.score(exits[-1], LABELS), "the last exit is the net itself"
    with pytest.raises(UsageError, match="3 exit weights"):
        task.loss(torch.stack(exits[:2], 1), LABELS)
