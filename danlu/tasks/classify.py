"""Classification: one class per image, from logits.

    loss = (1 - alpha) L(logits, labels) + alpha T^2 KL(softmax(teacher / T) || softmax(logits / T))

L is cross-entropy, or another loss of `danlu.losses` that is for classification.
The second term stands only where there is a teacher; KL is the mean over the images of a batch. T^2 keeps the gradients of the
soft targets at the size of the hard ones.

A net with early exits gives the logits of all of them while it trains, [B, E, K]; its loss is the weighted mean of theirs,
sum_e w_e loss_e / sum_e w_e, so that a usual learning rate stays one.

Source: Hinton et al. 2015, https://arxiv.org/abs/1503.02531; label smoothing: Szegedy et al. 2015,
https://arxiv.org/abs/1512.00567.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import UsageError
from ..losses import losses
from ..spec import Spec, read
from ._registry import Task, tasks


@dataclass(frozen=True)
class Classify(Task):
    """Shape: outputs [B, K] logits of the K `classes`, or [B, E, K] of E exits; targets int64 [B], or float [B, K] shares.

    `criterion` is the loss as text: "cross_entropy", "focal(gamma=2)"; `label_smoothing` and `counts`, the training images of
    each class, are for those that take them.
    `exit_weights` are those of the exits in the loss; all weigh the same without.
    """

    classes: tuple[str, ...]
    label_smoothing: float = 0.0
    temperature: float = 4.0
    alpha: float = 0.9
    exit_weights: tuple[float, ...] = ()
    criterion: str = "cross_entropy"
    counts: tuple[int, ...] = ()

    primary = "accuracy"
    higher_is_better = True

    def check(self, outputs: Tensor) -> None:
        if not isinstance(outputs, Tensor):
            raise UsageError(f"the model must return a tensor of logits, got {type(outputs).__name__}")
        if outputs.ndim != 2 or outputs.shape[1] != len(self.classes):
            raise UsageError(
                f"the model must give [batch, {len(self.classes)}] logits, one for each class of the data, "
                f"got {list(outputs.shape)}; create it with num_classes={len(self.classes)}"
            )
        # Tried once, so that options that do not go with these classes are told before anything starts.
        self._hard(outputs, torch.zeros(len(outputs), dtype=torch.int64, device=outputs.device))

    def loss(self, outputs: Tensor, targets: Tensor, teacher: Tensor | None = None) -> Tensor:
        spec = _criterion(self.criterion)
        margins = outputs.ndim == 3 and spec.entry.facts.get("head", False)  # two rows of one classifier, not exits
        if outputs.ndim == 3 and not margins:
            weights = self.exit_weights or (1.0,) * outputs.shape[1]
            if len(weights) != outputs.shape[1]:
                raise UsageError(f"{len(weights)} exit weights are not those of a net with {outputs.shape[1]} exits")
            losses = [weight * self.loss(outputs[:, i], targets, teacher) for i, weight in enumerate(weights)]
            return torch.stack(losses).sum() / sum(weights)
        if teacher is None:
            return self._hard(outputs, targets)
        soft = distillation(outputs[:, -1] if margins else outputs, teacher, self.temperature)
        if self.alpha == 1:
            return soft
        return (1 - self.alpha) * self._hard(outputs, targets) + self.alpha * soft

    def _hard(self, outputs: Tensor, targets: Tensor) -> Tensor:
        spec = _criterion(self.criterion)
        if self.label_smoothing and "label_smoothing" not in spec.entry.options():
            smooth = ", ".join(entry.name for entry in losses if "label_smoothing" in entry.options())
            raise UsageError(f"loss {spec.entry.name!r} has no label_smoothing; those that have are {smooth}")
        given = {"label_smoothing": self.label_smoothing} | ({"counts": self.counts} if self.counts else {})
        loss: Tensor = spec(outputs, targets, **given)
        return loss

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        last = outputs[:, -1] if outputs.ndim == 3 else outputs
        labels = targets.argmax(1) if targets.ndim == 2 else targets
        return (last.argmax(1) == labels).sum()

    def decode(self, outputs: Tensor) -> list[dict[str, Any]]:
        """The most likely class and its probability: [{"class": "rose", "probability": 0.93}, ...]."""
        probability, answer = outputs.softmax(1).max(1)
        return [{"class": self.classes[i], "probability": p} for i, p in zip(answer.tolist(), probability.tolist(), strict=True)]


@tasks()
def classify(
    classes: Sequence[str],
    *,
    label_smoothing: float = 0.0,
    temperature: float = 4.0,
    alpha: float = 0.9,
    exit_weights: Sequence[float] = (),
    criterion: str = "cross_entropy",
    counts: Sequence[int] = (),
) -> Classify:
    """One class per image."""
    return Classify(tuple(classes), label_smoothing, temperature, alpha, tuple(exit_weights), criterion, tuple(counts))


@lru_cache
def _criterion(text: str) -> Spec[Callable[..., Tensor]]:
    """The loss that a text names; UsageError when it is not one for classification."""
    spec = read(losses, text)
    if spec.entry.facts["task"] != "classify":
        allowed = ", ".join(entry.name for entry in losses if entry.facts["task"] == "classify")
        raise UsageError(f"loss {text!r} is not one for classification; those are {allowed}")
    return spec


def distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)), the mean over images. Shape: both [B, K] -> scalar."""
    known = torch.log_softmax(teacher / temperature, dim=1)
    learned = torch.log_softmax(student / temperature, dim=1)
    return functional.kl_div(learned, known, reduction="batchmean", log_target=True) * temperature**2
