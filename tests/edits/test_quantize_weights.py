"""quantize_weights: how many values, pruned zeros, composition, and the baked net in onnxruntime."""

import numpy as np
import pytest
import torch
from torch import nn

from danlu.codec import load, save
from danlu.codec.pack import pack_model
from danlu.codec.unpack import unpack_model
from danlu.data import Input
from danlu.deploy import export_onnx, session
from danlu.edits import edit
from danlu.encodings import BlockGrid, Grid, bake, encoded
from danlu.errors import UsageError
from danlu.zoo import create


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 12, 2, stride=2),
        nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(48, 5),
    )  # fmt: skip


def train(model, steps=10):
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model.train()
    for _ in range(steps):
        x, y = torch.randn(8, 3, 8, 8, generator=generator), torch.randint(5, (8,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.eval()


@pytest.mark.parametrize("bits", [2, 3, 5, 8])
def test_a_channel_has_at_most_so_many_values(bits):
    model = train(edit(net(), f"quantize_weights(bits={bits})").model)
    for layer, axis in ((model[0], 0), (model[3], 1), (model[7], 0)):
        for channel in layer.weight.detach().movedim(axis, 0):
            assert len(channel.unique()) <= 2**bits - 1
            assert torch.equal(channel.unique(), -channel.unique().flip(0)) or len(channel.unique()) < 2**bits - 1


def test_more_bits_come_closer_and_the_search_beats_the_largest():
    base = net()

    def distance(recipe):
        model = edit(base, recipe).model
        return sum((model[i].weight - base[i].weight).detach().square().sum().item() for i in (0, 3, 7))

    errors = [distance(f"quantize_weights(bits={bits})") for bits in range(2, 9)]
    assert errors == sorted(errors, reverse=True)
    for bits in (2, 3, 4):
        searched = distance(f"quantize_weights(bits={bits})")
        assert searched < distance(f"quantize_weights(bits={bits}, clip='max')")
        assert searched < distance(f"quantize_weights(bits={bits}, per='layer')")
    assert distance("quantize_weights(bits=3, method='dsconv', block=4)") < distance("quantize_weights(bits=3, clip='max')")


@pytest.mark.parametrize("method", ["uniform", "dsconv"])
def test_pruned_weights_stay_exactly_zero(method):
    pruned = edit(net(), "prune(sparsity=0.7)").model
    zeros = [pruned[i].weight == 0 for i in (0, 3, 7)]
    model = train(edit(pruned, f"quantize_weights(method='{method}', block=4)").model)
    for i, zero in zip((0, 3, 7), zeros, strict=True):
        assert zero.any()
        assert not model[i].weight[zero].any()
    again = train(edit(model, "quantize_weights(bits=3)").model)
    assert not again[0].weight[zeros[0]].any() or method == "dsconv"


def test_a_pruning_on_its_way_is_kept():
    outcome = edit(net(), "prune(sparsity=0.7, schedule='gradual') | quantize_weights")
    assert [reason for place, reason in outcome.kept if place.startswith("quantize")] == [
        "its pruning is still on the way: train it to the end first"
    ] * 3


def test_binary_layers_are_kept_and_the_ends_quantised():
    outcome = edit(net(), "binarize | quantize_weights(bits=4)")
    kinds = {name: type(chain[-1]).__name__ for name, _, _, chain in encoded(outcome.model)}
    assert kinds == {"0": "Grid", "3": "Sign", "7": "Grid"}
    assert ("quantize_weights: 3", "its weight is encoded by Sign already") in outcome.kept


def test_a_block_is_no_longer_than_the_inputs():
    model = edit(net(), "quantize_weights(method='dsconv', block=64)").model
    chains = [chain[-1] for _, _, _, chain in encoded(model)]
    assert all(isinstance(part, BlockGrid) for part in chains)
    assert [part.block for part in chains] == [3, 8, 48]


@pytest.mark.parametrize("options", ["bits=2", "bits=4, per='layer'", "method='dsconv', block=4", "bits=8, clip='max'"])
def test_baked_and_in_onnxruntime_it_gives_the_same(options, tmp_path):
    model = train(edit(net(), f"quantize_weights({options})").model)
    x = torch.randn(16, 3, 8, 8)
    expected = model(x).detach()
    torch.testing.assert_close(bake(model)(x), expected, rtol=1e-5, atol=1e-5)
    input = Input((8, 8), 3, (0.0,) * 3, (1.0,) * 3)
    runs = session(export_onnx(bake(model), tmp_path / "net.onnx", input=input, classes=tuple("abcde")))
    (got,) = runs.run(None, {runs.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("recipe", [
    "quantize_weights(bits=3)", "quantize_weights(method='dsconv')", "prune(sparsity=0.6) | quantize_weights(per='layer')",
])  # fmt: skip
def test_it_is_stored_and_read_again(recipe, tmp_path):
    model = edit(create("resnet8(width=0.5)", num_classes=10, seed=0), recipe).model.eval()
    input, classes = Input((32, 32), 3, (0.0,) * 3, (1.0,) * 3), tuple("0123456789")
    x = torch.randn(4, 3, 32, 32)
    save(model, tmp_path / "net", input=input, classes=classes)
    torch.testing.assert_close(load(tmp_path / "net")(x), model(x), rtol=0, atol=0)
    packed = pack_model(model, tmp_path / "net.danlu", input=input, classes=classes)
    torch.testing.assert_close(unpack_model(packed.path).model(x), model(x), rtol=1e-5, atol=1e-5)
    if "dsconv" not in recipe:
        weights = sum(p.numel() for p in model.parameters())
        assert packed.size_bytes < weights / 2


@pytest.mark.parametrize("options", ["bits=1", "bits=9", "method='dsconv', block=0", "per='row'"])
def test_refuses_what_cannot_be(options):
    with pytest.raises(UsageError):
        edit(net(), f"quantize_weights({options})")


def test_frozen_scales_are_those_of_the_weights_at_first():
    model = edit(net(), "quantize_weights(bits=4, clip='max')").model
    grid = next(chain[-1] for _, _, _, chain in encoded(model))
    before = grid.scale.clone()
    train(model)
    assert isinstance(grid, Grid)
    assert torch.equal(grid.scale, before)
