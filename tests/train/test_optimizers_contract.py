"""What every registered optimiser promises: it says where it is from, solves what is easy, trains, resumes, obeys the rates."""

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from danlu.data import Source
from danlu.errors import UsageError
from danlu.registry import Entry
from danlu.train import Interrupted, TrainConfig, fit
from danlu.train import plan as planning
from danlu.train.optimizers import CONTEXT, build, optimizers, set_rate

Make = Callable[..., nn.Sequential]
Config = Callable[..., TrainConfig]
NAMES = optimizers.names()
SETTINGS = {"momentum": 0.9, "nesterov": True}
DOCS = Path(__file__).parents[2] / "docs" / "training.md"


def make(name: str, net: nn.Module, **settings: object) -> torch.optim.Optimizer:
    return build(name, net, **{"lr": 0.01, "weight_decay": 0.0, **SETTINGS, **settings})


@pytest.mark.parametrize("entry", optimizers, ids=lambda entry: entry.name)
def test_says_what_it_is(entry: Entry) -> None:
    module = inspect.getmodule(entry.build)
    assert module is not None
    assert "Source" in (module.__doc__ or "")
    assert entry.summary.endswith(".")
    assert entry.facts["decay"] in ("coupled", "decoupled")
    assert entry.facts["lr"] > 0
    assert entry.facts["growth"] in (0.0, 0.5, 1.0)
    assert entry.facts["paper"]
    assert f"| `{entry.name}` |" in DOCS.read_text()
    for option, parameter in entry.options().items():
        assert parameter.default is not parameter.empty or option in CONTEXT, "an option needs a default"


@pytest.mark.parametrize("name", NAMES)
def test_solves_a_small_convex_problem(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 4, generator=generator) @ torch.diag(torch.tensor([2.0, 1.0, 1.0, 0.5]))
    y = x @ torch.randn(4, 2, generator=generator) + torch.tensor([0.5, -0.5])
    torch.manual_seed(0)
    net = nn.Linear(4, 2)
    rate = 0.1 if optimizers[name].facts["lr"] < 0.1 else optimizers[name].facts["lr"] / 5
    if name == "adadelta":
        rate = 10.0  # its unit is the size of its own earlier steps, and those begin small
    if name in ("kfac", "momentum", "nesterov", "sgd"):
        rate = 0.02
    optimizer = make(name, net, lr=rate)
    losses = []
    for step in range(400):
        set_rate(optimizer, rate * (1 - step / 400))
        loss = nn.functional.mse_loss(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 1e-3 * losses[0], losses[-1]


@pytest.mark.parametrize("name", NAMES)
def test_trains_and_resumes_bit_for_bit(
    name: str, few: Source, net: Make, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(planning, "SAVE_SECONDS", (0.0, 20.0))
    monkeypatch.setattr(planning, "SAVE_SHARE", float("inf"))
    facts = optimizers[name].facts
    rate = facts["lr"] * (5 if facts["growth"] < 1 else 0.5)  # for four epochs of five small batches
    settings = config(epochs=4, optimizer=name, rates={"0.*": 0.5, "8.*": 2}, lr=rate)
    straight = fit(net(), few, settings)
    assert straight.best_accuracy > 0.3
    assert straight.history[-1]["train_loss"] < straight.history[0]["train_loss"]
    steps = iter(range(1, 1000))
    with pytest.raises(Interrupted):
        fit(net(), few, settings, run=tmp_path, stop=lambda: next(steps) >= 7)
    weights = fit(net(), few, settings, run=tmp_path, resume=True).model.state_dict()
    assert all(torch.equal(tensor, weights[key]) for key, tensor in straight.model.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_obeys_rates_and_leaves_out_what_has_no_gradient(name: str) -> None:
    """Twice the multiplier at half the rate is the same step; a factor of 0 and a missing gradient are none."""

    def step(rates: dict[str, float], lr: float) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Linear(4, 2))
        optimizer = make(name, net, lr=lr, rates=rates)
        outputs = net[3](net[1](net[0](torch.linspace(-1, 1, 15).reshape(5, 3))))  # 2 is not in use
        outputs.square().mean().backward()
        optimizer.step()
        return net.state_dict()

    torch.manual_seed(0)
    start = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Linear(4, 2)).state_dict()
    plain, scaled, frozen = step({}, 1e-3), step({"*": 2}, 5e-4), step({"0.*": 0}, 1e-3)
    for key, weight in start.items():
        assert torch.equal(plain[key], weight) == key.startswith("2."), key
        torch.testing.assert_close(scaled[key], plain[key], rtol=1e-6, atol=1e-8)
        assert torch.equal(frozen[key], weight) == key.startswith(("0.", "2.")), key


@pytest.mark.parametrize("name", NAMES)
def test_weight_decay_is_what_it_says(name: str) -> None:
    """Without a gradient, decoupled decay shrinks the weights by rate * weight_decay; coupled decay is a gradient like any."""
    net = nn.Linear(3, 3, bias=False)
    nn.init.constant_(net.weight, 2.0)
    optimizer = make(name, net, lr=1e-3, weight_decay=0.1)
    net.weight.grad = torch.zeros_like(net.weight)
    optimizer.step()
    decoupled = 2.0 * (1 - 1e-3 * 0.1)
    if optimizers[name].facts["decay"] == "decoupled":
        torch.testing.assert_close(net.weight.detach(), torch.full((3, 3), decoupled), rtol=1e-6, atol=0)
        return
    other = nn.Linear(3, 3, bias=False)
    nn.init.constant_(other.weight, 2.0)
    optimizer = make(name, other, lr=1e-3)
    other.weight.grad = torch.full_like(other.weight, 0.2)
    optimizer.step()
    torch.testing.assert_close(net.weight, other.weight)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_keeps_the_type_and_stays_finite_without_gradients(name: str, dtype: torch.dtype) -> None:
    if name == "kfac" and dtype is torch.bfloat16:
        pytest.skip("there is no Cholesky decomposition in bf16; training keeps its weights in fp32")
    net = nn.Linear(3, 2).to(dtype)
    optimizer = make(name, net)
    for scale in (0.0, 1e-20, 1.0, 1e15):
        net.zero_grad()
        (scale * net(torch.ones(4, 3, dtype=dtype)).sum(1)).mean().backward()
        optimizer.step()
    assert net.weight.dtype == dtype
    assert bool(net.weight.isfinite().all())


@pytest.mark.parametrize("entry", optimizers, ids=lambda entry: entry.name)
def test_bad_options_are_told_before_a_training(entry: Entry) -> None:
    numbers = [name for name, p in entry.options().items() if name not in CONTEXT and isinstance(p.default, int | float)]
    for option in numbers:
        with pytest.raises(UsageError, match=option):
            TrainConfig(steps=1, optimizer=f"{entry.name}({option}=-1)")
    with pytest.raises(UsageError, match="unknown option"):
        TrainConfig(steps=1, optimizer=f"{entry.name}(lrr=1)")
    with pytest.raises(UsageError, match="given twice"):
        TrainConfig(steps=1, optimizer=f"{entry.name}(lr=0.1)", lr=0.1)
    with pytest.raises(UsageError, match="lr must be above 0"):
        TrainConfig(steps=1, optimizer=f"{entry.name}(lr=0)")
