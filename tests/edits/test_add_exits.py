"""Early exits: where they go, what is refused, and that they survive saving, folding, pruning and training."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from danlu.codec import load, save
from danlu.data import load_data
from danlu.deploy.thresholds import score_exits
from danlu.edits import edit
from danlu.errors import UsageError
from danlu.nn import EarlyExit
from danlu.train import TrainConfig, fit
from danlu.zoo import create

LENET = "lenet5_caffe"


def lenet(step: str) -> EarlyExit:
    return create(f"{LENET} | {step}", num_classes=10, in_channels=1, seed=0)  # type: ignore[return-value]


@pytest.mark.parametrize(("count", "places"), [(1, ["3"]), (2, ["1", "5"]), (3, ["1", "3", "5"])])
def test_a_number_of_exits_is_spread_by_equal_shares_of_the_macs(count: int, places: list[str]) -> None:
    parts = [part for _ in range(4) for part in (nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())]
    net = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    outcome = edit(net, f"add_exits(at={count})")
    assert [change.name for change in outcome.changed] == [f"add_exits: {place}" for place in places]
    assert outcome.model.places == tuple(places)


def test_the_exits_of_a_residual_net_are_behind_whole_blocks() -> None:
    net = create("resnet20", num_classes=10, in_channels=3, seed=0)
    outcome = edit(net, "add_exits(at=2)")
    names = [change.name.removeprefix("add_exits: ") for change in outcome.changed]
    assert all(type(net.get_submodule(name)).__name__ in ("BasicBlock", "Sequential") for name in names)
    assert outcome.model(torch.randn(2, 3, 32, 32)).shape == (2, 3, 10)


def test_exits_are_in_running_order_whatever_the_list_says() -> None:
    model = lenet("add_exits(at=['6', 'input', '1'], threshold=[0.1, 0.2, 0.3], weights=[1, 2, 3, 4])")
    widths = [model.point(place).head for place in model.places]
    assert [type(head).__name__ for head in widths] == ["ExitHead", "ExitHead", "Linear"]
    assert (widths[0].in_channels, widths[1].in_channels, widths[2].in_features) == (1, 20, 500)  # type: ignore[union-attr]
    torch.testing.assert_close(model.thresholds, torch.tensor([0.1, 0.2, 0.3]))
    assert model.exit_weights == (1.0, 2.0, 3.0, 4.0)


def test_the_weights_of_the_net_stay() -> None:
    net = create(LENET, num_classes=10, in_channels=1, seed=0)
    model = edit(net, "add_exits(at=['1'], head='conv', channels=4)").model
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), model.plain().parameters(), strict=True))
    assert model.exit_weights == (1.0, 0.3)


def test_a_grid_is_no_larger_than_its_map() -> None:
    model = lenet("add_exits(at=['3', '1'], head='conv', stride=4, grid=4, channels=2)")
    assert [model.point(place).head.grid for place in model.places] == [3, 1]  # 12x12 and 4x4 maps behind a stride of 4
    deeper = lenet("add_exits(at=['1'], head='conv', stride=2, grid=4, channels=[2, 5], kernel=5)")
    assert deeper.point("1").head.grid == 3
    assert [m.kernel_size for m in deeper.modules() if isinstance(m, nn.Conv2d) and m.stride == (2, 2)] == [(5, 5), (3, 3)]


def test_heads_may_differ() -> None:
    model = lenet("add_exits(at=['1', '3'], head=['linear', 'conv'], channels=4)")
    assert [model.point(place).head.channels for place in model.places] == [(), (4,)]


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ("add_exits(at=['pool'])", "unknown module in add_exits"),
        ("add_exits(at=['1', '1'])", "twice"),
        ("add_exits(at=0)", "a number of exits from 1"),
        ("add_exits(at=[])", "a number of exits from 1"),
        ("add_exits(at=9)", "more exits than this net has places for"),
        ("add_exits(at=['1'], threshold=[0.1, 0.2])", "threshold takes 1 number"),
        ("add_exits(at=['1'], weights=[1])", "weights takes 2 number"),
        ("add_exits(at=['1'], weights=[1, 0])", "must be above 0"),
        ("add_exits(at=['1'], threshold=-0.1)", "must be from 0"),
        ("add_exits(at=['1'], head=['linear', 'conv'])", "head takes 1 text"),
        ("add_exits(at=['1'], grid=0)", "grid must be at least 1"),
        ("add_exits(at=['1'], head='convolution')", "head takes 'linear' or 'conv'"),
        ("add_exits(at=['1']) | add_exits(at=['input'])", "has exits already"),
        ("fold_bn | add_exits(at=1)", "must come before fold_bn"),
    ],
)
def test_what_is_refused(step: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        lenet(step)


class Twice(nn.Module):
    """Calls one layer twice, and another not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.unused = nn.Conv2d(3, 3, 3)
        self.head = nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(self.conv(x)).mean((2, 3)))


@pytest.mark.parametrize(("name", "says"), [("conv", "calls conv twice"), ("unused", "does not call unused")])
def test_a_module_that_is_not_called_once_has_no_exit(name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        edit(Twice(), f"add_exits(at=[{name!r}])")


def test_a_net_that_gives_no_answers_has_no_exits() -> None:
    with pytest.raises(UsageError, match="is for classifiers"):
        edit(nn.Sequential(nn.Conv2d(3, 4, 3)), "add_exits(at=['0'])")


@pytest.mark.parametrize("more", ["", " | fold_bn", " | prune_channels(ratio=0.5)"])
def test_saved_and_loaded_it_answers_the_same(more: str, tmp_path: Path) -> None:
    source = load_data("digits", size=28)
    x = torch.randn(4, 1, 28, 28)
    net = create("resnet8 | fit_input(size=28) | add_exits(at=1, threshold=0.5)", num_classes=10, in_channels=1, seed=0)
    net = edit(net, more.strip(" |"), example=x).model if more else net
    net.thresholds.fill_(0.97)
    save(net.eval(), tmp_path, input=source.input, classes=source.classes)
    back: Any = load(tmp_path)
    assert torch.equal(back.thresholds, net.thresholds)
    assert back.exit_weights == net.exit_weights
    assert torch.equal(back(x), net(x))


def test_fit_trains_all_exits_and_keeps_the_joint_loss() -> None:
    source = load_data("digits")
    net = create(
        "resnet8(width=0.5) | fit_input(size=8) | add_exits(at=1, weights=[1, 1])", num_classes=10, in_channels=1, seed=0
    )
    config = TrainConfig(steps=100, batch_size=64, lr=0.1, precision="fp32", memory_format="nchw", augment="none")
    done = fit(net, source, config)
    scores = score_exits(done.model, source).right.mean(0)
    assert scores.min() > 0.4, scores
