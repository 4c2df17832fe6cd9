"""Several networks and several crops: one answer, the mean of the probabilities, with its cost and its gain."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from danlu.data import Source
from danlu.errors import UsageError
from danlu.metrics import paired_difference
from danlu.train import evaluate
from danlu.train.crops import Crops
from danlu.train.ensemble import together
from danlu.train.members import mean_log, of_model, of_onnx

Make = Callable[..., nn.Sequential]


def test_an_ensemble_of_one_is_the_model(few: Source, net: Make) -> None:
    alone = evaluate(net(), few, split="val")
    assert np.allclose(evaluate([net()], few, split="val").logits, alone.logits, atol=1e-5)
    (row,) = together([of_model("a", net(), few.input)], few, split="val", seconds=0.0)
    assert np.allclose(row.scores.logits, alone.logits, atol=1e-5)
    assert (row.difference, row.times) == (None, 1.0)
    twice = evaluate([net(), net()], few, split="val")
    assert np.allclose(softmax(twice.logits), softmax(alone.logits), atol=1e-6)


def softmax(z: np.ndarray) -> np.ndarray:
    return torch.from_numpy(z).double().softmax(1).numpy()


def test_probabilities_of_networks_and_crops_are_averaged(few: Source, net: Make) -> None:
    nets, crops = [net(0).eval(), net(1).eval()], Crops(10, scale=1.5)
    larger = few.with_input(replace(few.input, size=(12, 12)))
    x = (larger.val.images(np.arange(len(few.val))).float() / 255 - few.input.mean[0]) / few.input.std[0]
    total = torch.zeros(len(few.val), 10)
    with torch.no_grad():
        for model in nets:
            for top, left in ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2)):
                crop = x[:, :, top : top + 8, left : left + 8]
                total += model(crop).softmax(1) + model(crop.flip(3)).softmax(1)
    found = evaluate(nets, few, split="val", crops=crops, batch_size=30)
    assert np.allclose(softmax(found.logits), total.numpy() / 20, atol=1e-5)

    rows = together(
        [of_model(str(i), model, few.input) for i, model in enumerate(nets)], few, split="val", crops=crops, seconds=0.0
    )
    assert [row.name for row in rows] == [
        "0", "1", "0, 10 crops at scale 1.5", "1, 10 crops at scale 1.5", "all 2, 10 crops at scale 1.5",
    ]  # fmt: skip
    assert np.allclose(rows[-1].scores.logits, found.logits, atol=1e-4)
    singles = [evaluate(model, few, split="val") for model in nets]
    for row, alone in zip(rows[:2], singles, strict=True):
        assert row.scores.accuracy == alone.accuracy
    gained = paired_difference(found.logits.argmax(1) == few.val.labels, singles[0].logits.argmax(1) == few.val.labels)
    assert rows[-1].difference == pytest.approx(gained)
    assert 0 < rows[0].ms_p10 <= rows[0].ms <= rows[0].ms_p90
    assert rows[-1].times > rows[0].times == 1.0  # twenty crops are more work than one


def test_the_mean_of_probabilities_survives_the_logarithm() -> None:
    z = np.random.default_rng(0).normal(0, 30, (3, 5, 4)).astype(np.float32)
    assert np.allclose(softmax(mean_log(z)), softmax(z.reshape(15, 4)).reshape(3, 5, 4).mean(0), atol=1e-6)
    sure = mean_log(np.array([[[1e4, 0.0]], [[1e4, 0.0]]], np.float32))  # a probability of exactly 0
    assert np.isfinite(sure).all()


def test_whole_images_need_a_network_that_takes_them(few: Source, net: Make) -> None:
    whole = Crops(1, scale=1.5, whole=True)
    with pytest.raises(UsageError, match="does not take whole images of 12x12"):
        evaluate(net(), few, split="val", crops=whole)
    free = nn.Sequential(nn.Conv2d(1, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    larger = few.with_input(replace(few.input, size=(12, 12)))
    assert np.allclose(
        evaluate(free, few, split="val", crops=whole).logits, evaluate(free, larger, split="val").logits, atol=1e-6
    )


def test_an_exported_file_answers_like_its_network(few: Source, net: Make, tmp_path) -> None:
    from danlu.codec import save

    save(net(), tmp_path / "net.onnx", input=few.input, classes=few.classes)
    members = [of_model("torch", net(), few.input), of_onnx(tmp_path / "net.onnx", threads=1)]
    rows = together(members, few, split="val", crops=Crops(5), seconds=0.0)
    assert np.allclose(softmax(rows[2].scores.logits), softmax(rows[3].scores.logits), atol=1e-5)
    with pytest.raises(UsageError, match="takes images of"):
        together(members[1:], few, split="val", crops=Crops(1, scale=2.0, whole=True))


def test_refusals(few: Source, net: Make) -> None:
    member = of_model("a", net(), few.input)
    with pytest.raises(UsageError, match="did you mean val"):
        together([member], few, split="vall")
    with pytest.raises(UsageError, match="at least one"):
        together([], few)
    with pytest.raises(UsageError, match="no model"):
        evaluate([], few)
    with pytest.raises(UsageError, match="logits of that shape"):
        evaluate([nn.Sequential(nn.Flatten(), nn.Linear(64, 3))], few)
    with pytest.raises(UsageError, match="know the same classes"):
        evaluate([nn.Sequential(nn.Flatten(), nn.Linear(64, classes)) for classes in (10, 3)], few)
