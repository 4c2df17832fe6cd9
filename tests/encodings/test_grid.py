"""Grid and BlockGrid: integers and scales against brute force, straight-through training, exact symbols."""

import numpy as np
import pytest
import torch
from torch import nn

from danlu.encodings import BlockGrid, Grid, bake, encode
from danlu.encodings.grid import best_scales, least_squares


def weights(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) / 10


def linear(weight, encoding):
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter(weight.clone())
    encode(layer, "weight", encoding)
    return layer


def error(row, scale, q):
    return float(np.square(row - np.clip(np.round(row / scale), -q, q) * scale).sum())


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_the_scale_is_as_good_as_a_search_of_thousands(bits):
    rows, q = weights(3, 400), 2 ** (bits - 1) - 1
    for row, scale in zip(rows.double().numpy(), best_scales(rows, q).tolist(), strict=True):
        finest = min(error(row, s, q) for s in np.linspace(0.02, 1, 4000) * np.abs(row).max() / q)
        assert error(row, scale, q) <= (1.01 if bits < 8 else 1.05) * finest
        assert scale == float(np.float16(scale))


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("per", ["channel", "layer"])
def test_values_are_multiples_up_to_q(bits, per):
    w = weights(5, 3, 3, 3)
    grid = Grid.of(w, bits=bits, channels=5 if per == "channel" else 1)
    n = grid(w).double() / grid.scale.double().view(-1, 1, 1, 1)
    assert torch.equal(n, n.round())
    assert n.abs().max() <= 2 ** (bits - 1) - 1


def test_max_clips_nothing_and_stays_in_training():
    w = weights(4, 50)
    layer = linear(w, Grid.of(w, bits=4, channels=4, fit=False))
    grid = layer.parametrizations.weight[0]
    assert grid.scale.tolist() == pytest.approx((w.abs().amax(1) / 7).tolist(), rel=2**-11)
    assert ((layer.weight - w).abs() <= grid.scale[:, None] * 0.51).all()
    with torch.no_grad():
        layer.parametrizations.weight.original.mul_(3)
    before = grid.scale.clone()
    _ = layer.train().weight
    assert torch.equal(grid.scale, before)


def test_the_scale_follows_the_weights_in_training_only():
    w = weights(4, 50)
    layer = linear(w, Grid.of(w, bits=4, channels=4)).eval()
    grid = layer.parametrizations.weight[0]
    with torch.no_grad():
        layer.parametrizations.weight.original.mul_(1.5)
    before = grid.scale.clone()
    _ = layer.weight
    assert torch.equal(grid.scale, before)
    layer.train()
    for _ in range(30):
        _ = layer.weight
    assert (grid.scale > 1.2 * before).all()


def test_a_least_squares_step_is_the_projection_on_its_integers():
    rows, scale = weights(2, 60).double(), torch.tensor([0.05, 0.08], dtype=torch.float64)
    new = least_squares(rows, scale, 3)
    for row, old, found in zip(rows.numpy(), scale.tolist(), new.tolist(), strict=True):
        n = np.clip(np.round(row / old), -3, 3)
        best = np.linalg.lstsq(n[:, None], row, rcond=None)[0][0]
        assert found == pytest.approx(best, rel=2**-11)


def test_the_gradient_goes_straight_through():
    w = weights(3, 10)
    layer = linear(w, Grid.of(w, bits=2, channels=3))
    upstream = weights(3, 10, seed=1)
    (layer.weight * upstream).sum().backward()
    assert torch.equal(layer.parametrizations.weight.original.grad, upstream)


def test_held_zeros_stay_zero_and_get_no_gradient():
    w = weights(3, 40)
    w[w.abs() < 0.08] = 0
    layer = linear(w, Grid.of(w, bits=4, channels=3, held=True))
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0, momentum=0.9)
    for _ in range(5):
        (layer.weight * weights(3, 40, seed=2)).sum().backward()
        optimizer.step()
    assert ((layer.weight == 0) | (w != 0)).all()
    assert torch.equal(layer.parametrizations.weight.original[w == 0], torch.zeros(int((w == 0).sum())))


@pytest.mark.parametrize(("shape", "axis", "channels"), [((6, 5), 0, 6), ((6, 5), 0, 1), ((4, 6, 3, 3), 1, 6)])
@pytest.mark.parametrize("bits", [2, 5, 8])
def test_levels_give_the_weight_bit_for_bit(shape, axis, channels, bits):
    w = weights(*shape)
    w[w.abs() < 0.03] = 0
    grid = Grid.of(w, bits=bits, channels=channels, held=True, axis=axis)
    levels, q = grid.levels(w), 2 ** (bits - 1) - 1
    assert torch.equal(levels.weight(), grid(w))
    assert levels.table.tolist() == [list(range(-q, q + 1))]
    assert levels.zero == q
    assert torch.equal(levels.indices == q, grid(w) == 0)
    assert torch.equal(levels.scale, levels.scale.half().float())


def test_channels_of_zeros_and_tiny_weights_stay_finite():
    w = torch.stack([torch.zeros(8), torch.full((8,), 1e-12), weights(8)])
    layer = linear(w, Grid.of(w, bits=4, channels=3))
    layer.weight.sum().backward()
    assert layer.weight[0].tolist() == [0] * 8
    assert layer.weight.isfinite().all()


@pytest.mark.parametrize(("shape", "axis"), [((6, 10, 3, 3), 0), ((6, 10), 0), ((10, 6, 2, 2), 1), ((6, 1, 3, 3), 0)])
@pytest.mark.parametrize("block", [1, 4, 64])
def test_blocks_are_undone_exactly(shape, axis, block):
    w = weights(*shape)
    grid = BlockGrid(bits=4, block=block, axis=axis, shape=shape)
    assert torch.equal(grid.unblocked(grid.blocks(w), shape), w)


@pytest.mark.parametrize("bits", [2, 4])
def test_block_grid_against_loops(bits):
    w, block, q = weights(3, 10, 2, 2), 4, 2 ** (bits - 1) - 1
    layer = nn.Conv2d(10, 3, 2, bias=False)
    layer.weight = nn.Parameter(w.clone())
    encode(layer, "weight", BlockGrid.of(w, bits=bits, block=block))
    got = layer.weight.detach().double().numpy()
    for c in range(3):
        for start in range(0, 10, block):
            for y in range(2):
                for x in range(2):
                    part = w[c, start : start + block, y, x].double().numpy()
                    whole = float(np.float16(np.abs(part).max() / q))
                    n = np.clip(np.round(part / whole), -q, q)
                    shift = (part * n).sum() / np.square(n).sum()
                    assert got[c, start : start + block, y, x] == pytest.approx(shift * n, rel=2**-10)


def test_block_grid_trains_its_shifts_and_not_its_integers():
    w = weights(4, 8, 3, 3)
    layer = nn.Conv2d(8, 4, 3, bias=False)
    layer.weight = nn.Parameter(w.clone())
    encode(layer, "weight", BlockGrid.of(w, bits=4, block=4))
    grid = layer.parametrizations.weight[0]
    before = grid.integers.clone()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    old = layer.weight.detach().clone()
    layer(weights(2, 8, 5, 5)).square().sum().backward()
    assert layer.parametrizations.weight.original.grad.abs().min() > 0
    assert grid.channel.grad.abs().min() > 0
    optimizer.step()
    assert torch.equal(grid.integers, before)
    assert not torch.equal(layer.weight, old)
    assert torch.equal((layer.weight == 0), before == 0)


@pytest.mark.parametrize(
    "encoding", [lambda w: Grid.of(w, bits=3, channels=4, held=True), lambda w: BlockGrid.of(w, bits=3, block=4)]
)
def test_is_rebuilt_from_its_options_and_state_and_baked(encoding):
    w = weights(4, 6)
    layer = linear(w, encoding(w))
    part = layer.parametrizations.weight[0]
    again = nn.Linear(6, 4, bias=False)
    encode(again, "weight", type(part)(**part.options(), shape=w.shape))
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again.weight, layer.weight)
    assert torch.equal(bake(layer).weight, layer.weight)
