"""share: k-means against its optimum, zeros that stay, bits per layer, what is refused."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from danlu.codec.entropy import entropy_bits
from danlu.data import batches, load_data
from danlu.edits import edit
from danlu.edits._kmeans import kmeans, nearest
from danlu.encodings import bake, encoded
from danlu.errors import UsageError
from danlu.train import TrainConfig, fit
from danlu.zoo import create


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return create("lenet_300_100(size=8)", num_classes=10, in_channels=1, seed=0)


def rates(model: nn.Module) -> dict[str, float]:
    """The order-0 entropy, bits a weight, of each shared tensor by name."""
    found = {}
    for name, module, tensor, chain in encoded(model):
        levels = chain[-1].levels(module.parametrizations[tensor].original)
        found[f"{name}.{tensor}"] = entropy_bits(np.bincount(levels.indices.flatten())) / levels.indices.numel()
    return found


def distortion(row: Tensor, table: Tensor) -> float:
    return float((row[:, None] - table[None]).square().min(1).values.sum())


def test_two_means_are_the_best_split() -> None:
    row = torch.randn(40, generator=torch.Generator().manual_seed(0)).double().sort().values
    splits = [sum(float((part - part.mean()).square().sum()) for part in (row[:i], row[i:])) for i in range(1, 40)]
    found = [distortion(row, kmeans(row[None], 2, init)[0]) for init in ("linear", "density", "random")]
    assert min(found) == pytest.approx(min(splits))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 8), st.sampled_from(["linear", "density", "random"]))
def test_k_means_ends_at_a_fixed_point(seed: int, size: int, init: str) -> None:
    row = torch.randn(1, 200, generator=torch.Generator().manual_seed(seed)).double()
    table = kmeans(row, size, init)  # type: ignore[arg-type]
    index = nearest(row, table)
    assert torch.equal(index, (row[..., None] - table[:, None]).abs().argmin(-1))
    for k in range(size):
        if (index == k).any():
            torch.testing.assert_close(row[index == k].mean(), table[0, k], atol=1e-2, rtol=0)


def test_rows_are_clustered_apart_and_nan_does_not_count() -> None:
    rows = torch.tensor([[1.0, 1.0, 5.0, torch.nan], [-2.0, 7.0, torch.nan, torch.nan]])
    assert kmeans(rows, 2).tolist() == [[1.0, 5.0], [-2.0, 7.0]]


@pytest.mark.parametrize("init", ["linear", "density", "random"])
def test_at_most_two_to_the_bits_values(net: nn.Module, init: str) -> None:
    shared = edit(net, f"share(bits=3, init='{init}')").model
    for layer in shared:
        if isinstance(layer, nn.Linear):
            assert len(layer.weight.unique()) <= 8


def test_enough_bits_keep_the_function(net: nn.Module) -> None:
    x = torch.randn(4, 1, 8, 8)
    error = [(edit(net, f"share(bits={b})").model(x) - net(x)).abs().max().item() for b in (2, 5, 10)]
    assert error[0] > error[1] > error[2]
    assert error[2] < 0.01


def test_pruned_weights_stay_zero_through_training(net: nn.Module) -> None:
    source = load_data("digits").subset(300)
    pruned = edit(net, "prune(sparsity=0.8)").model
    shared = edit(pruned, "share(bits=4)").model
    before = {n: p.detach().clone() for n, p in shared.named_parameters()}
    done = fit(shared, source, TrainConfig(epochs=2, precision="fp32", memory_format="nchw", optimizer="adam", lr=1e-3)).model
    assert any(not torch.equal(p, before[n]) for n, p in done.named_parameters() if "parametrizations" in n)
    for name, layer in bake(done).named_modules():
        if isinstance(layer, nn.Linear):
            assert torch.equal(layer.weight == 0, pruned.get_submodule(name).weight == 0)
            assert len(layer.weight.unique()) <= 16


def test_a_rate_lowers_the_entropy(net: nn.Module) -> None:
    source = load_data("digits").subset(300)
    config = TrainConfig(epochs=12, batch_size=32, precision="fp32", memory_format="nchw", optimizer="adam", lr=1e-3)
    pruned = edit(net, "prune(sparsity=0.5)").model
    bits = [
        sum(rates(fit(edit(pruned, f"share(bits=4, rate={rate})").model, source, config).model).values())
        for rate in (0.0001, 0.02, 0.2)
    ]
    assert bits[0] > bits[1] > bits[2]


def test_auto_bits_spend_where_it_matters() -> None:
    source = load_data("digits")
    net = create("lenet_300_100(size=8)", num_classes=10, in_channels=1, seed=0)
    config = TrainConfig(epochs=3, precision="fp32", memory_format="nchw", optimizer="adam", lr=1e-3)
    net = fit(net, source, config).model

    def feed() -> itertools.chain[tuple[Tensor, Tensor]]:
        return itertools.chain(batches(source.train, source.input, 64))

    @torch.no_grad()
    def divergence(model: nn.Module) -> float:
        x = torch.cat([x for x, _ in itertools.islice(feed(), 4)])
        p, q = net(x).log_softmax(1), bake(model)(x).log_softmax(1)
        return float((p.exp() * (p - q)).sum(1).mean())

    tight = edit(net, "share(bits='auto', tolerance=0.001)", batches=feed).model
    loose = edit(net, "share(bits='auto', tolerance=0.1)", batches=feed).model
    assert divergence(tight) <= 0.001 + 1e-6
    assert divergence(loose) <= 0.1 + 1e-6
    assert sum(rates(loose).values()) < sum(rates(tight).values())


def test_biases_are_shared_too(net: nn.Module) -> None:
    with torch.no_grad():
        for layer in net:
            if isinstance(layer, nn.Linear):
                layer.bias.normal_()
    outcome = edit(net, "share(bits=4, biases=2)")
    assert [len(layer.bias.unique()) for layer in outcome.model if isinstance(layer, nn.Linear)][:2] == [4, 4]
    assert sum("bias" in change.before for change in outcome.changed) == 3


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("share(bits=0)", "1 to 12"),
        ("share(bits=13)", "1 to 12"),
        ("share(bits='most')", "auto"),
        ("share(bits={'9': 3})", "unknown layer"),
        ("share(rate=-1.0)", "rate >= 0"),
        ("share(bits='auto')", "needs batches"),
        ("share(init='quadratic')", "linear"),
    ],
)
def test_bad_options(net: nn.Module, recipe: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        edit(net, recipe)


def test_what_is_kept_says_why(net: nn.Module) -> None:
    signs = edit(net, "quantize_weights(bits=4)").model
    assert all("encoded by Grid" in reason for _, reason in edit(signs, "share").kept)
    tiny = nn.Sequential(nn.Linear(4, 3))
    assert "save nothing" in edit(tiny, "share(bits=4)").kept[0][1]
