"""The state of a training: stored and loaded, it goes on as if nothing had happened."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from danlu.errors import UsageError
from danlu.train import TrainConfig
from danlu.train.state import State

Make = Callable[..., nn.Sequential]


def work(state: State, steps: int) -> None:
    for _ in range(steps):
        generator = torch.Generator().manual_seed(state.step)
        x, y = torch.randn(8, 1, 8, 8, generator=generator), torch.randint(0, 10, (8,), generator=generator)
        state.set_rate(1.0)
        loss = nn.functional.cross_entropy(state.model(x), y)
        loss.backward()
        state.optimizer.step()
        state.optimizer.zero_grad()
        if state.ema:
            state.ema.update(state.step)
        state.count(loss, torch.tensor(3), 8)
        if state.step == 2:
            state.judge(0.5, float(loss.detach()), True)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_load_continues_bit_for_bit(net: Make, optimizer: str, layout: torch.memory_format) -> None:
    config = TrainConfig(epochs=1, optimizer=optimizer, ema=0.9, lr=0.01)

    def fresh(seed: int) -> State:
        return State(net(seed).to(memory_format=layout), config)

    straight = fresh(0)
    work(straight, 6)
    first = fresh(0)
    work(first, 3)
    tensors, facts = first.snapshot()
    # Through a file layouts are lost: everything comes back contiguous.
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    second = fresh(1)
    second.load(tensors, facts)
    work(second, 3)
    assert second.facts() == straight.facts()
    mine, other = second.tensors(), straight.tensors()
    assert mine.keys() == other.keys()
    for name, tensor in mine.items():
        assert torch.equal(tensor, other[name]), name


def test_snapshot_does_not_follow(net: Make) -> None:
    state = State(net(), TrainConfig(epochs=1))
    work(state, 2)
    tensors, facts = state.snapshot()
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    state.history.append({"x": 1})
    work(state, 2)
    assert facts["step"] == 2
    assert facts["history"] == []
    assert all(torch.equal(tensors[name], before[name]) for name in before)
    state.load(tensors, facts)
    assert state.step == 2
    assert torch.equal(state.model[0].weight, before["model.0.weight"])


def test_another_network_is_refused(net: Make) -> None:
    tensors, facts = State(net(), TrainConfig(epochs=1)).snapshot()
    with pytest.raises(UsageError, match="does not fit this network"):
        State(nn.Linear(3, 2), TrainConfig(epochs=1)).load(tensors, facts)


def test_ties_go_to_the_smaller_loss(net: Make) -> None:
    state = State(net(), TrainConfig(epochs=1))
    assert state.judge(0.8, 1.0, True)
    assert not state.judge(0.7, 0.1, True)
    assert state.judge(0.8, 0.9, True)
    assert not state.judge(0.8, 0.9, True)
    assert state.worse == 1
    assert state.best is not None
    assert state.best.loss == 0.9


def test_lower_is_better(net: Make) -> None:
    state = State(net(), TrainConfig(epochs=1))
    assert state.judge(0.8, 1.0, False)
    assert state.judge(0.7, 2.0, False)
    assert not state.judge(0.75, 0.1, False)


def test_means_are_per_image(net: Make) -> None:
    state = State(net(), TrainConfig(epochs=1))
    state.count(torch.tensor(2.0), torch.tensor(1), 4)
    state.count(torch.tensor(5.0), torch.tensor(2), 2)
    assert state.means() == pytest.approx(((2 * 4 + 5 * 2) / 6, 3 / 6))
    assert state.images == 0


def test_finite(net: Make) -> None:
    state = State(net(), TrainConfig(epochs=1))
    assert state.is_finite()
    with torch.no_grad():
        state.model[1].running_var[0] = float("inf")
    assert state.losses_are_finite()
    assert not state.is_finite()
    state = State(net(), TrainConfig(epochs=1))
    state.count(torch.tensor(float("nan")), torch.tensor(0), 4)
    assert not state.losses_are_finite()
