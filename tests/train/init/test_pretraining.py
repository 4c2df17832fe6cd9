"""RBMs and autoencoders: energies by counting all states, transposes by matrices, learning by what it should arrive at."""

import itertools
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from danlu.data import Source
from danlu.errors import UsageError
from danlu.spec import read
from danlu.train import Interrupted, TrainConfig, fit
from danlu.train.init import CONTEXT, inits
from danlu.train.init.autoencoder import Autoencoder
from danlu.train.init.rbm import RBM

LAYERS: dict[str, Callable[[], Any]] = {
    "linear": lambda: nn.Linear(5, 3), "conv": lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1),
    "grouped": lambda: nn.Conv2d(4, 6, 2, groups=2, bias=False), "transposed": lambda: nn.ConvTranspose2d(2, 3, 2, stride=2),
}  # fmt: skip
SHAPES = {"linear": (5,), "conv": (2, 4, 4), "grouped": (4, 3, 3), "transposed": (2, 2, 2)}


def machine(kind: str, binary: bool = False, seed: int = 0) -> tuple[RBM, Tensor]:
    """An RBM with large weights, and inputs for it."""
    torch.manual_seed(seed)
    v = torch.rand(4, *SHAPES[kind], dtype=torch.float64)
    pair = RBM(LAYERS[kind]().double(), v, binary=binary)
    for parameter in (pair.layer.weight, pair.visible, pair.hidden):
        nn.init.normal_(parameter)
    if pair.layer.bias is not None:
        nn.init.zeros_(pair.layer.bias)
    return pair, v.round() if binary else v


def matrix(pair: RBM, v: Tensor) -> Tensor:
    """The layer as a plain matrix. Shape: [out, in] of one image."""
    eye = torch.eye(v[0].numel(), dtype=v.dtype).view(-1, *v.shape[1:])
    with torch.no_grad():
        return pair.layer(eye).flatten(1).T


@pytest.mark.parametrize("kind", LAYERS)
def test_up_and_down_are_a_matrix_and_its_transpose(kind: str) -> None:
    pair, v = machine(kind)
    w, z = matrix(pair, v), pair.up(v)
    b, c = pair.visible.expand(v.shape[1:]).flatten(), pair.hidden.expand(z.shape[1:]).flatten()
    torch.testing.assert_close(z.flatten(1), v.flatten(1) @ w.T + c)
    h = torch.rand_like(z)
    down = pair.down(h, v)
    assert down.shape == v.shape
    torch.testing.assert_close(down.flatten(1), h.flatten(1) @ w + b)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_free_energy_sums_over_all_hidden_states(kind: str, binary: bool) -> None:
    """exp(-F(v)) = sum_h exp(-E(v, h)),  E = -c.h - h.Wv - b.v, or |v - b|^2 / 2 in the place of -b.v"""
    pair, v = machine(kind, binary)
    w, z = matrix(pair, v), pair.up(v)
    b, c = pair.visible.expand(v.shape[1:]).flatten(), pair.hidden.expand(z.shape[1:]).flatten()
    own = -(v.flatten(1) @ b) if binary else (v.flatten(1) - b).square().sum(1) / 2
    field = v.flatten(1) @ w.T + c
    # The sum over states factorises over pieces of the hidden units: 8 at a time are counted.
    counted = torch.zeros(len(v), dtype=v.dtype)
    for piece in field.split(8, dim=1):
        states = torch.tensor(list(itertools.product((0.0, 1.0), repeat=piece.shape[1])), dtype=v.dtype)
        counted += torch.logsumexp(piece @ states.T, 1)
    torch.testing.assert_close(pair.free_energy(v), own - counted)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_the_gradient_of_the_free_energy_is_that_of_finite_differences(kind: str, binary: bool) -> None:
    pair, v = machine(kind, binary)
    names = ("layer.weight", "visible", "hidden")
    values = [dict(pair.named_parameters())[name].detach().clone().requires_grad_() for name in names]

    def energy(*given: Tensor) -> Tensor:
        return torch.func.functional_call(_Energy(pair), {f"pair.{n}": p for n, p in zip(names, given, strict=True)}, (v,))

    assert torch.autograd.gradcheck(energy, values)


class _Energy(nn.Module):
    def __init__(self, pair: RBM) -> None:
        super().__init__()
        self.pair = pair

    def forward(self, v: Tensor) -> Tensor:
        return self.pair.free_energy(v)


@pytest.mark.parametrize("binary", [True, False])
def test_sampling_follows_the_probabilities(binary: bool) -> None:
    """The mean of v behind one round, over all hidden states by their probabilities."""
    pair, v = machine("linear", binary)
    with torch.no_grad():
        states = torch.tensor(list(itertools.product((0.0, 1.0), repeat=3)), dtype=v.dtype)
        p = pair.up(v[:1]).sigmoid()
        chances = (states * p + (1 - states) * (1 - p)).prod(1)
        means = states @ pair.layer.weight + pair.visible
        expected = chances @ (means.sigmoid() if binary else means)
        torch.manual_seed(0)
        found = pair.sampled(v[:1].expand(20_000, -1)).mean(0)
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0.05)


def bars(count: int = 200) -> Tensor:
    """3x3 images, each of one full row or one full column."""
    rows = torch.eye(3).repeat_interleave(3, 1)
    columns = torch.eye(3).repeat(1, 3)
    return torch.cat([rows, columns])[torch.arange(count) % 6]


def likelihood(pair: RBM, v: Tensor) -> float:
    """The mean log probability of v, with the partition function counted over all 512 images."""
    every = torch.tensor(list(itertools.product((0.0, 1.0), repeat=9)))
    with torch.no_grad():
        return float(-pair.free_energy(v).mean() - torch.logsumexp(-pair.free_energy(every), 0))


def test_contrastive_divergence_makes_the_data_likely() -> None:
    torch.manual_seed(0)
    v = bars()
    layer = nn.Linear(9, 8)
    nn.init.zeros_(layer.bias)
    pair = RBM(layer, v, binary=True)
    before, wrong = likelihood(pair, v), pair.error(v)
    optimizer = torch.optim.Adam([layer.weight, pair.visible, pair.hidden], lr=0.02)
    for _ in range(400):
        optimizer.zero_grad()
        pair.loss(v).backward()
        optimizer.step()
    # Independent pixels of the right brightness give 9 (1/3 log 1/3 + 2/3 log 2/3) = -5.73; the bars alone -log 6 = -1.79.
    assert before == pytest.approx(9 * (math.log(1 / 3) / 3 + 2 * math.log(2 / 3) / 3), abs=0.05)
    assert likelihood(pair, v) > -3.5
    assert wrong == pytest.approx(1, abs=0.05)
    assert pair.error(v) < 0.2


def test_a_linear_autoencoder_arrives_at_the_principal_components() -> None:
    torch.manual_seed(0)
    v = torch.randn(500, 6) @ torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.5, 0.4, 0.3])) @ torch.linalg.qr(torch.randn(6, 6))[0]
    net = nn.Sequential(nn.Linear(6, 2), nn.Linear(2, 3))
    said: list[str] = []

    def feed() -> Iterator[Tensor]:
        while True:
            yield v

    read(inits, "autoencoder(steps=300, rate=0.02)", CONTEXT)(net, images=v, feed=feed, say=said.append)
    best = float(torch.linalg.svdvals(v - v.mean(0))[2:].square().sum() / (v - v.mean(0)).square().sum())
    found = re.fullmatch(r"autoencoder: layer 1 of 2, error [\d.]+ -> ([\d.]+) of the variance", said[0])
    assert found is not None
    assert float(found[1]) == pytest.approx(best, abs=0.01)
    assert len(said) == 1  # the last layer is not trained
    assert float(net[0](v).detach().var()) == pytest.approx(1, rel=1e-3)


def test_corruption_hides_that_share_of_the_inputs() -> None:
    torch.manual_seed(0)
    pair = Autoencoder(nn.Linear(50, 50, bias=False), torch.randn(9, 50), None, corruption=0.3)
    pair.layer.weight.data.copy_(torch.eye(50))
    pair.visible.data.zero_()
    v = torch.ones(400, 50)
    # The code is the input itself, so that what is drawn again lacks exactly what was hidden.
    assert float(pair.loss(v).detach()) == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("name", ["rbm", "autoencoder"])
def test_each_layer_but_the_last_draws_its_inputs_better(name: str, few: Source, net: Any) -> None:
    said: list[str] = []
    config = TrainConfig(steps=1, batch_size=32, precision="fp32", memory_format="nchw", init=f"{name}(steps=30, rate=0.02)")
    done = fit(net(), few, config, log=said.append)
    rows = [re.search(r"layer (\d) of 3, error ([\d.]+) -> ([\d.]+) of", line) for line in said if line.startswith(name)]
    assert [row[1] for row in rows if row] == ["1", "2"]
    assert all(float(row[3]) < float(row[2]) - 0.1 for row in rows if row)
    assert bool(done.model[0].weight.isfinite().all())


@pytest.mark.parametrize("name", ["rbm(steps=5, unit_variance=False)", "autoencoder(steps=5, unit_variance=False)"])
def test_a_layer_behind_it_answers_to_inputs_as_they_are(name: str) -> None:
    """Inputs a thousand times larger give weights a thousand times smaller, and the same outputs."""
    outputs = []
    for scale in (1.0, 1000.0):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2))
        x = scale * torch.randn(30, 6, generator=torch.Generator().manual_seed(1))
        read(inits, name, CONTEXT)(net, images=x, feed=lambda x=x: itertools.repeat(x))
        outputs.append(net[0](x))
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-3, rtol=1e-3)


def test_binary_units_refuse_other_inputs() -> None:
    net, x = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2)), 3 * torch.ones(5, 6).cumsum(0)
    with pytest.raises(UsageError, match="binary units take inputs from 0 to 1, got 3 to 15"):
        read(inits, "rbm(visible='binary')", CONTEXT)(net, images=x, feed=lambda: itertools.repeat(x))


def test_a_rate_that_diverges_is_told() -> None:
    net, x = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2)), torch.randn(5, 6)
    with pytest.raises(UsageError, match="layer 1 of 2 diverged at rate 1e\\+30"):
        read(inits, "autoencoder(rate=1e30, steps=5)", CONTEXT)(net, images=x, feed=lambda: itertools.repeat(x))


def test_pretraining_starts_a_net_of_sigmoids_that_does_not_start_otherwise(digits: Source) -> None:
    def accuracy(init: str) -> float:
        layers = [layer for _ in range(5) for layer in (nn.Linear(64, 64), nn.Sigmoid())]
        net = nn.Sequential(nn.Flatten(), *layers, nn.Linear(64, 10))
        settings = {"batch_size": 64, "precision": "fp32", "memory_format": "nchw", "optimizer": "momentum", "schedule": "fixed"}
        return fit(net, digits, TrainConfig(epochs=2, init=init, lr=0.05, **settings)).best_accuracy  # type: ignore[arg-type]

    assert accuracy("xavier") < 0.13
    assert accuracy("rbm(steps=40, unit_variance=False)") > 0.19


def test_pretraining_stops_when_asked_to_and_leaves_time_to_train(few: Source, net: Any, tmp_path: Path) -> None:
    settings = {"batch_size": 32, "precision": "fp32", "memory_format": "nchw", "init": "autoencoder(steps=100000)"}
    asked = itertools.count()
    with pytest.raises(Interrupted, match="before the first step"):
        fit(net(), few, TrainConfig(steps=1, **settings), run=tmp_path, stop=lambda: next(asked) > 5)  # type: ignore[arg-type]
    assert not list(tmp_path.rglob("*.safetensors"))
    with pytest.raises(UsageError, match="takes more than half of the time; write fewer steps"):
        fit(net(), few, TrainConfig(seconds=0.2, **settings))  # type: ignore[arg-type]


class Gated(nn.Module):
    """A branch that nothing arrives at, and a layer that is called by the name of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.dead, self.head = nn.Linear(6, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(input=x)
        out: Tensor = self.head(x + self.dead(0 * x))
        return out


@pytest.mark.parametrize("name", ["rbm", "autoencoder"])
def test_a_layer_where_nothing_arrives_stays_as_xavier_draws_it(name: str) -> None:
    x = torch.randn(30, 6, generator=torch.Generator().manual_seed(1))
    drawn = {}
    for init in (f"{name}(steps=3)", "xavier"):
        torch.manual_seed(0)
        net = Gated()
        read(inits, init, CONTEXT)(net, images=x, feed=lambda: itertools.repeat(x))
        drawn[init] = net
    trained, plain = drawn.values()
    assert torch.equal(trained.dead.weight, plain.dead.weight)
    assert torch.equal(trained.head.weight, plain.head.weight)
    assert not torch.equal(trained.first.weight, plain.first.weight)
