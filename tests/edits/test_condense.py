"""condense: the same outputs after a training, the published sizes before one, and storage of what it makes."""

from pathlib import Path

import pytest
import torch

from danlu.codec.saved import load, save
from danlu.data.spec import Input
from danlu.edits import edit
from danlu.encodings import advance
from danlu.nn import LearnedGroupConv2d
from danlu.zoo import create

RECIPE = "condensenet_cifar(width=0.25, depth=50)"


def test_a_condensed_net_gives_the_same_outputs() -> None:
    net = create(RECIPE, num_classes=5, seed=0)
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    advance(net, 1.0)
    net.train()(x)
    outcome = edit(net.eval(), "condense")
    assert len(outcome.changed) == 24
    assert not any(isinstance(layer, LearnedGroupConv2d) for layer in outcome.model.modules())
    torch.testing.assert_close(outcome.model(x), net(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("suffix", ["", ".danlu"])
def test_is_stored_and_rebuilt(suffix: str, tmp_path: Path) -> None:
    model = edit(create(RECIPE, num_classes=5, seed=0), "condense").model.eval()
    form = Input((16, 16), 3, (0.5,) * 3, (0.25,) * 3)
    save(model, tmp_path / f"net{suffix}", input=form, classes=list("abcde"))
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(load(tmp_path / f"net{suffix}")(x), model(x), rtol=1e-3, atol=1e-4)


def test_says_where_there_is_nothing_to_condense() -> None:
    assert edit(create("resnet20(width=0.25)", num_classes=5), "condense").kept == [
        ("condense", "it has no learned group convolutions")
    ]
    with torch.device("meta"):
        net = create(RECIPE, num_classes=5)
    assert {reason for _, reason in edit(net, "condense").kept} == {"its weights have no values to choose the inputs by"}
