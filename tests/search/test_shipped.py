"""A net as the file it ships in, and what the file would have without entropy coding, counted by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from danlu import create, edit, load_data
from danlu.codec.unpack import unpack_model
from danlu.deploy import predict
from danlu.encodings import bake
from danlu.search.shipped import fixed_width_bytes, recipe_of, ship, width


@pytest.fixture(scope="module")
def net() -> nn.Module:
    """LeNet-300-100 at an eighth of its width for 8 x 8 digits, pruned and shared, untrained."""
    dense = create("lenet_300_100(size=8, width=0.25)", num_classes=10, in_channels=1, seed=0)
    return edit(dense, "prune(sparsity=0.75, scope='layer') | share(bits=3)").model


def test_the_accuracy_is_that_of_what_the_danlu_file_unpacks_to(net: nn.Module, tmp_path: Path) -> None:
    source = load_data("digits")
    done = ship(net, tmp_path / "net", source, recipe_of(net), danlu=True)
    assert done.danlu == tmp_path / "net.danlu"
    assert done.size_bytes == done.danlu.stat().st_size < done.onnx.stat().st_size / 4
    with torch.no_grad():
        x = torch.from_numpy(source.val.images(np.arange(len(source.val))).numpy().astype(np.float32) / 255)
        x = (x - torch.tensor(source.input.mean).view(1, -1, 1, 1)) / torch.tensor(source.input.std).view(1, -1, 1, 1)
        logits = unpack_model(done.danlu).model(x).numpy()
    assert done.accuracy == (logits.argmax(1) == source.val.labels).mean()
    np.testing.assert_allclose(predict(done.onnx, source.val), logits, atol=1e-4)


def test_without_danlu_the_onnx_file_ships(net: nn.Module, tmp_path: Path) -> None:
    done = ship(net, tmp_path / "net", load_data("digits"), recipe_of(net), danlu=False)
    assert done.danlu is None
    assert done.size_bytes == done.onnx.stat().st_size
    assert not list(tmp_path.glob("*.danlu"))


def test_fixed_widths_are_those_of_the_weights_themselves(net: nn.Module, tmp_path: Path) -> None:
    done = ship(net, tmp_path / "net", load_data("digits"), recipe_of(net), danlu=True)
    assert done.danlu is not None
    # Counted on the plain weights: zero, and 7 other values of 3 bits; the positions of the zeros stay as they are.
    weights = [m.weight for m in bake(net).modules() if isinstance(m, nn.Linear) and len(m.weight.unique()) <= 8]
    bits = sum(int((w != 0).sum()) * 3 for w in weights)
    assert bits < sum(3 * w.numel() for w in weights)
    coded = sum(_entropy_bits(w[w != 0]) for w in weights) / 8
    fixed = fixed_width_bytes(net, done.danlu)
    # What stays is what is not coded: so the two files differ by the two ways to write the symbols.
    assert fixed - done.size_bytes == pytest.approx(bits / 8 - coded, rel=0.1, abs=30)
    assert fixed > done.size_bytes


def _entropy_bits(weight: torch.Tensor) -> float:
    counts = torch.unique(weight, return_counts=True)[1].double()
    return float(-(counts * (counts / counts.sum()).log2()).sum())


@pytest.mark.parametrize(("symbols", "bits"), [(1, 0), (2, 1), (3, 2), (8, 3), (9, 4)])
def test_width_of_an_index(symbols: int, bits: int) -> None:
    assert width(symbols) == bits == math.ceil(math.log2(symbols))
