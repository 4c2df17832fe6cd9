"""What every registered regulariser promises: it says where it is from, acts in training alone, leaves nothing, resumes."""

import copy
import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from danlu.data import Source
from danlu.errors import UsageError
from danlu.registry import Entry
from danlu.spec import read
from danlu.train import Interrupted, TrainConfig, fit
from danlu.train import plan as planning
from danlu.train.regularizers import regularizers

Config = Callable[..., TrainConfig]
DOCS = Path(__file__).parents[3] / "docs" / "regularisation.md"
NAMES = regularizers.names()


class Residual(nn.Module):
    """A net with everything that a regulariser may look for: convolutions, a residual branch, linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.branch = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.hidden, self.head = nn.Linear(8 * 16, 16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.relu(x + self.branch(x))
        return self.head(torch.relu(self.hidden(x.flatten(1))))


def made(seed: int = 0) -> Residual:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Residual()
        for parameter in net.parameters():  # large enough for a projection to act
            parameter.data.mul_(9)
        return net


def images(count: int = 6, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(count)).to(dtype)


def stepped(name: str, seed: int, dtype: torch.dtype = torch.float32, count: int = 6) -> tuple[Tensor, list[Tensor]]:
    """The loss with the penalty, and the gradients, then the weights behind an update."""
    net, kept = made().to(dtype).train(), read(regularizers, name)()
    kept.prepare(net)
    torch.manual_seed(seed)
    loss = nn.functional.cross_entropy(net(images(count, dtype)), torch.arange(count) % 10)
    penalty = kept.penalty(net)
    loss = loss if penalty is None else loss + penalty
    loss.backward()
    gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    kept.after_step(net)
    return loss.detach(), [*gradients, *(parameter.detach() for parameter in net.parameters())]


@pytest.mark.parametrize("entry", regularizers, ids=lambda entry: entry.name)
def test_says_what_it_is(entry: Entry) -> None:
    module = inspect.getmodule(entry.build)
    assert module is not None
    assert "Source: " in (module.__doc__ or "")
    assert len((module.__doc__ or "").split("\n\n")[0].splitlines()) <= 3
    assert entry.summary.endswith(".")
    assert "Raises: UsageError" in (entry.build.__doc__ or "")
    assert entry.facts["paper"]
    assert all(parameter.default is not parameter.empty for parameter in entry.options().values())
    assert f"| `{entry.name}` |" in DOCS.read_text()


@pytest.mark.parametrize("name", NAMES)
def test_a_step_is_a_function_of_the_seed_and_differs_from_one_without(name: str) -> None:
    (a, first), (b, second), (_, other) = stepped(name, 1), stepped(name, 1), stepped(name, 2)
    assert torch.equal(a, b)
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))
    assert all(bool(x.isfinite().all()) for x in first)
    net = made().train()
    nn.functional.cross_entropy(net(images()), torch.arange(6)).backward()
    plain = [parameter.grad for parameter in net.parameters()] + [parameter.detach() for parameter in net.parameters()]
    assert not all(torch.equal(x, y) for x, y in zip(first, plain, strict=True))
    if name in ("l1", "l2", "max_norm"):
        assert all(torch.equal(x, y) for x, y in zip(first, other, strict=True))
    else:
        assert not all(torch.equal(x, y) for x, y in zip(first, other, strict=True))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_keeps_the_dtype(name: str, dtype: torch.dtype) -> None:
    loss, found = stepped(name, 0, dtype, count=2)
    assert loss.dtype == dtype
    assert all(tensor.dtype == dtype and bool(tensor.isfinite().all()) for tensor in found)


@pytest.mark.parametrize("name", NAMES)
def test_names_stay_and_nothing_acts_in_eval_mode_or_behind_restore(name: str) -> None:
    net, kept, x = made(), read(regularizers, name)(), images()
    before, answer = copy.deepcopy(net.state_dict()), net.eval()(x)
    trained = copy.deepcopy(net).train()(x)
    parameters = [id(parameter) for parameter in net.parameters()]
    kept.prepare(net)
    assert torch.equal(net.eval()(x), answer)
    twin = copy.deepcopy(net)
    net.train()(x)
    assert [id(parameter) for parameter in net.parameters()] == parameters
    assert net.state_dict().keys() == before.keys()
    net.load_state_dict(before)
    kept.restore(net)
    torch.manual_seed(0)
    assert torch.equal(net.train()(x), trained)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert torch.equal(twin.eval()(x), answer)  # an average of the weights is such a copy


@pytest.mark.parametrize("name", NAMES)
def test_frozen_weights_stay(name: str) -> None:
    net, kept = made().requires_grad_(False), read(regularizers, name)()
    before = copy.deepcopy(list(net.parameters()))
    kept.prepare(net.train())
    net(images())
    assert kept.penalty(net) is None
    kept.after_step(net)
    assert all(torch.equal(old, new) for old, new in zip(before, net.parameters(), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_trains_with_an_average_and_resumes_bit_for_bit(
    name: str, few: Source, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "SAVE_SECONDS", (0.0, 20.0))
    monkeypatch.setattr(planning, "SAVE_SHARE", float("inf"))
    settings = config(epochs=2, regularize=name, lr=0.02, ema=0.9)
    straight = fit(made(), few, settings)
    steps = iter(range(1, 100))
    with pytest.raises(Interrupted):
        fit(made(), few, settings, run=tmp_path, stop=lambda: next(steps) >= 7)
    resumed = fit(made(), few, settings, run=tmp_path, resume=True)
    weights = resumed.model.state_dict()
    assert all(torch.equal(tensor, weights[key]) for key, tensor in straight.model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in straight.model.modules())


@pytest.mark.parametrize("entry", regularizers, ids=lambda entry: entry.name)
def test_refuses_options_that_cannot_be(entry: Entry) -> None:
    numbers = [option for option, parameter in entry.options().items() if isinstance(parameter.default, float)]
    assert numbers
    for option in numbers:
        for value in (-1, 0.0, "'a'"):
            with pytest.raises(UsageError):
                read(regularizers, f"{entry.name}({option}={value})")()
    for option, parameter in entry.options().items():
        if isinstance(parameter.default, str) and option != "at":
            with pytest.raises(UsageError, match="nothing"):
                read(regularizers, f"{entry.name}({option}='nothing')")()
            with pytest.raises(UsageError, match="nothing"):
                entry.build(**{option: "nothing"})
    if "at" in entry.options():
        with pytest.raises(UsageError, match="nothing"):
            entry.build(at="nothing").prepare(made())
