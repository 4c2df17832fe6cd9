"""The average of the weights, against its recurrence in numpy."""

import numpy as np
import torch
from torch import nn

from danlu.train.ema import Ema


def test_recurrence_with_warmup() -> None:
    net = nn.Linear(3, 2)
    expected = net.weight.detach().numpy().astype(np.float64).copy()
    ema = Ema(net, decay=0.5)
    rng = np.random.default_rng(0)
    for t in range(20):
        new = rng.normal(size=(2, 3)).astype(np.float32)
        with torch.no_grad():
            net.weight.copy_(torch.from_numpy(new))
        ema.update(t)
        decay = min(0.5, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * new
    assert np.allclose(ema.sync().weight.numpy(), expected, atol=1e-6)
    assert not np.allclose(net.weight.detach().numpy(), expected, atol=1e-2)


def test_buffers_are_copied_not_averaged() -> None:
    net = nn.BatchNorm1d(4)
    ema = Ema(net, decay=0.99)
    net.train()(torch.randn(8, 4) + 5)
    ema.update(0)
    averaged = ema.sync()
    assert torch.equal(averaged.running_mean, net.running_mean)
    assert int(averaged.num_batches_tracked) == 1
    assert not averaged.training
    assert not any(p.requires_grad for p in averaged.parameters())
