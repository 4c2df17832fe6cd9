"""Judging a model on a split: outputs, and the scores made from them."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..data import Source, batches
from ..data.layout import SPLITS
from ..errors import UsageError, unknown
from ..metrics import classification_metrics, wilson
from ..tasks import Task, classify
from .autotune import Tune
from .crops import Crops
from .members import combined, of_model


@dataclass(frozen=True)
class Scores:
    """How good a classifier is on `n` images; `interval` is the 95 % interval of its accuracy (Wilson).

    `metrics` are those of `danlu.metrics.classification_metrics`. Shape: logits [N, K], labels [N].
    """

    accuracy: float
    n: int
    interval: tuple[float, float]
    metrics: dict[str, Any]
    logits: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """`accuracy`, `n`, `interval` and every other metric, side by side."""
        return {"accuracy": self.accuracy, "n": self.n, "interval": list(self.interval), **self.metrics}


def score_logits(logits: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> Scores:
    """Scores of outputs from anywhere, an exported file for one. Shape: logits [N, K], labels [N]."""
    metrics = classification_metrics(logits, labels, classes)
    accuracy = metrics.pop("accuracy")
    right = int((logits.argmax(1) == labels).sum())
    return Scores(accuracy, len(labels), wilson(right, len(labels)), metrics, logits, np.asarray(labels))


def evaluate(
    model: nn.Module | Sequence[nn.Module], source: Source, *, split: str = "test", device: str | torch.device = "cpu",
    batch_size: int = 512, crops: Crops | None = None,
) -> Scores:  # fmt: skip
    """Judge `model` on a split of `source` ("train", "val" or "test"), in fp32 and eval mode. The model stays as it is.

    Of several models, or several crops of each image, the probabilities are averaged: `crops=Crops(10)`.
    Raises: UsageError for another split, no models, or a model whose outputs are not one logit per class.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if not isinstance(model, nn.Module) or crops is not None:
        members = [
            of_model("the model", one, source.input, device) for one in ([model] if isinstance(model, nn.Module) else model)
        ]
        if not members:
            raise UsageError("there is no model to judge")
        logits = combined([member.logits(source, split, crops or Crops(), batch_size) for member in members])
        return score_logits(logits, getattr(source, split).labels, source.classes)
    task = classify(source.classes)
    tune = Tune("fp32", "channels_last")
    judged = tune.place(copy.deepcopy(model), device).eval()
    part = getattr(source, split)
    found = []
    with torch.no_grad():
        for x, _ in batches(part, source.input, batch_size, device=device):
            outputs = judged(x)
            task.check(outputs)
            found.append(outputs.float().cpu())
    return score_logits(torch.cat(found).numpy(), part.labels, source.classes)


def validate(
    model: nn.Module, feed: Callable[[], Iterator[tuple[Tensor, Tensor]]], task: Task, tune: Tune, device: str | torch.device
) -> tuple[float, float]:
    """(loss, primary metric) per image over one pass, in the precision of training. Leaves the model in the mode it was in."""
    was_training = model.training
    model.eval()
    loss_sum, score_sum = torch.zeros((), device=device), torch.zeros((), device=device)
    images = 0
    with torch.no_grad(), tune.autocast(device):
        for x, y in feed():
            outputs = model(x).float()
            loss_sum += task.loss(outputs, y) * len(y)
            score_sum += task.score(outputs, y)
            images += len(y)
    model.train(was_training)
    return float(loss_sum) / images, float(score_sum) / images
