"""Peak memory: against a simulation step by step, and by hand on nets where it is known."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from danlu.cost import profile
from danlu.cost.memory import Buffer, peak


@given(st.lists(st.tuples(st.integers(1, 100), st.integers(0, 20), st.integers(0, 20)), max_size=15))
def test_peak_is_the_most_alive_at_one_moment(items: list[tuple[int, int, int]]) -> None:
    buffers = [Buffer(size, made, 0, made + life) for size, made, life in items]
    alive = [sum(b.bytes for b in buffers if b.made <= t <= (b.last or 0)) for t in range(45)]
    best, when = peak([*buffers, Buffer(10**6, 3, 0, None)])  # what nobody reads is never stored
    assert best == max(alive)
    assert alive[when] == max(alive) or not buffers


class Block(nn.Module):
    def __init__(self, shortcut: bool) -> None:
        super().__init__()
        self.a, self.b, self.shortcut = nn.Conv2d(4, 8, 1), nn.Conv2d(8, 4, 1), shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        return y + x if self.shortcut else y


def test_a_residual_branch_is_alive_until_its_join() -> None:
    unit = 4 * 100  # bytes of one channel of 10 x 10
    plain, residual = profile(Block(False), (4, 10, 10)), profile(Block(True), (4, 10, 10))
    assert plain.peak_activation_bytes == (4 + 8) * unit
    assert residual.peak_activation_bytes == (4 + 8 + 4) * unit  # the input waits while b reads 8 and makes 4
    assert plain.activation_bytes == (8 + 4) * unit
    assert residual.rows[residual.peak_row].name == "b"


def test_in_place_and_views_make_nothing_and_dead_outputs_are_not_stored() -> None:
    unit = 4 * 64
    made = profile(nn.Sequential(nn.ReLU(), nn.ReLU(inplace=True), nn.Flatten()), (1, 8, 8))
    assert [row.activation_bytes for row in made.rows] == [unit, 0, 0]
    assert made.peak_activation_bytes == 2 * unit
    pooled = profile(nn.MaxPool2d(2), (1, 8, 8))
    assert pooled.rows[0].activation_bytes == unit // 4  # not the indices
    assert pooled.rows[0].bytes_written == unit // 4


def test_what_the_network_returns_stays() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            first = torch.relu(x)
            return {"first": first, "last": torch.sigmoid(torch.tanh(x))}

    assert profile(Two(), (4, 4)).peak_activation_bytes == 3 * 64


def test_weights_are_not_activations() -> None:
    result = profile(nn.Sequential(nn.Linear(4, 1000), nn.Linear(1000, 4)), (4,))
    assert result.peak_activation_bytes == 4 * (1000 + 4)
    assert result.param_bytes == 4 * (5000 + 4004)
