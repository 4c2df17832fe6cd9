"""Judging a model: the same numbers as by hand, and nothing changed."""

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from danlu.data import Source
from danlu.errors import UsageError
from danlu.metrics import wilson
from danlu.tasks import classify
from danlu.train import Tune, evaluate, score_logits
from danlu.train.evaluate import validate

Make = Callable[..., nn.Sequential]


def test_logits_are_those_of_the_model_in_order(few: Source, net: Make) -> None:
    model = net()
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    scores = evaluate(model, few, split="val", batch_size=16)
    pixels = few.val.images(np.arange(len(few.val))).float() / 255
    x = (pixels - few.input.mean[0]) / few.input.std[0]
    with torch.no_grad():
        expected = net().eval()(x)
    assert np.allclose(scores.logits, expected.numpy(), atol=1e-4)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert scores.n == len(few.val)
    assert scores.accuracy == pytest.approx((expected.argmax(1).numpy() == few.val.labels).mean())


def test_json(few: Source, net: Make) -> None:
    answer = evaluate(net(), few).to_json()
    json.dumps(answer, allow_nan=False)
    assert {"accuracy", "n", "interval", "loss", "top5", "macro_f1", "per_class_recall", "confusion", "ece"} <= answer.keys()
    assert answer["interval"] == list(wilson(round(answer["accuracy"] * answer["n"]), answer["n"]))
    assert "logits" not in answer


def test_score_logits_from_elsewhere() -> None:
    labels = np.array([0, 1, 1, 0])
    scores = score_logits(np.array([[2.0, 1], [2, 1], [0, 1], [3, 0]], np.float32), labels, ["a", "b"])
    assert scores.accuracy == 0.75
    assert scores.metrics["confusion"] == [[2, 0], [1, 1]]


def test_validate_agrees_and_keeps_the_mode(few: Source, net: Make) -> None:
    from danlu.data import batches

    model = net(dropout=0.5).train()
    loss, accuracy = validate(
        model, lambda: batches(few.val, few.input, 16), classify(few.classes, label_smoothing=0.0), Tune(), "cpu"
    )  # fmt: skip
    assert model.training
    scores = evaluate(model, few, split="val")
    assert accuracy == pytest.approx(scores.accuracy)
    assert loss == pytest.approx(scores.metrics["loss"], rel=1e-5)


def test_refusals(few: Source, net: Make) -> None:
    with pytest.raises(UsageError, match="did you mean val"):
        evaluate(net(), few, split="vall")
    with pytest.raises(UsageError, match="num_classes=10"):
        evaluate(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), few)
