"""Any two compression edits compose, or refuse with a reason; what comes out bakes to the same outputs, packs and unpacks."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from danlu.codec.pack import pack_model
from danlu.codec.unpack import unpack_model
from danlu.data.spec import Input
from danlu.edits import edit
from danlu.encodings import bake
from danlu.errors import UsageError
from danlu.zoo import create

STEPS = [
    "prune(sparsity=0.8)", "share(bits=3)", "share(bits=3, rate=0.02)", "low_rank(ratio=0.5)", "slim", "fold_bn",
    "prune_channels(ratio=0.3, round_to=1)", "binarize", "quantize_weights(bits=4)", "merge_streamline(init='copy')",
]  # fmt: skip
ENCODED = ["share(bits=3)", "share(bits=3, rate=0.02)", "binarize", "quantize_weights(bits=4)"]
REFUSED = {(first, "prune_channels(ratio=0.3, round_to=1)") for first in ENCODED}  # shared values cannot be cut
INPUT = Input((16, 16), 3, (0.5,) * 3, (0.5,) * 3)


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return create("allconv5(width=0.25, batch_norm=True) | fit_input(size=16)", num_classes=10, seed=0).eval()


def batches() -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    yield torch.randn(8, 3, 16, 16, generator=generator), torch.arange(8)


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(STEPS, 2)))
def test_two_edits(net: nn.Module, first: str, second: str, tmp_path: Path) -> None:
    x, _ = next(batches())
    if (first, second) in REFUSED:
        with pytest.raises(UsageError, match=rf"is encoded by \w+; {second.split('(')[0]} comes before that"):
            edit(net, f"{first} | {second}", example=x, batches=batches)
        return
    outcome = edit(net, f"{first} | {second}", example=x, batches=batches)
    model = outcome.model.eval()
    plain = bake(model)
    y = model(x)
    assert y.shape == (8, 10)
    torch.testing.assert_close(plain(x), y, rtol=1e-5, atol=1e-5)
    pack_model(model, tmp_path / "x.danlu", input=INPUT, classes=[str(i) for i in range(10)])
    torch.testing.assert_close(unpack_model(tmp_path / "x.danlu").model(x), y, rtol=1e-4, atol=1e-5)
    model.train()(x).square().sum().backward()
