"""Advice for small batches: said where it is true, and only there."""

import pytest
from torch import nn

from danlu.train import TrainConfig, fit
from danlu.train.advice import small_batch_advice
from danlu.zoo import create


def test_few_images_and_batch_norm_are_told() -> None:
    net = create("resnet8", num_classes=10)
    text = small_batch_advice(net, 15)
    assert text is not None
    assert "see 15 images a step" in text
    assert "swap_norm(to='group')" in text
    assert text.startswith("7 batch norms")
    assert small_batch_advice(net, 16) is None
    for other in ("resnet8 | swap_norm(to='group')", "resnet8 | swap_norm(to='batch_renorm')", "lenet5"):
        assert small_batch_advice(create(other, num_classes=10), 2) is None
    assert "1 batch norms" in (small_batch_advice(nn.Sequential(nn.BatchNorm1d(3)), 2) or "")


@pytest.mark.parametrize("batch", [8, 16])
def test_a_training_says_it(batch: int, digits) -> None:
    said: list[str] = []
    config = TrainConfig(steps=1, batch_size=batch, precision="fp32", memory_format="nchw")
    fit(create("resnet8 | fit_input(size=8)", num_classes=10, in_channels=1), digits, config, log=said.append)
    assert any("batch norms see 8 images a step" in line for line in said) == (batch == 8)
