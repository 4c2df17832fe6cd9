"""Side classifiers: what they see, when they run, and what the training loop makes of their weights."""

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.nn import SideClassified
from danlu.tasks import classify


@pytest.fixture
def net() -> SideClassified:
    torch.manual_seed(0)
    shapes = {"first": (4, 6), "side": (6, 3), "second": (6, 5), "other": (5, 3), "last": (5, 3)}
    parts = OrderedDict((name, nn.Linear(*shape)) for name, shape in shapes.items())
    return SideClassified(parts, {"side": 0.3, "other": 0.2})


def by_hand(net: SideClassified, x: Tensor) -> list[Tensor]:
    first = net.first(x)
    second = net.second(first)
    return [net.side(first), net.other(second), net.last(second)]


def test_all_answer_in_training_and_the_last_alone_in_eval(net: SideClassified) -> None:
    x = torch.randn(7, 4)
    torch.testing.assert_close(net.train()(x), torch.stack(by_hand(net, x), dim=1))
    torch.testing.assert_close(net.eval()(x), by_hand(net, x)[-1])
    net.side.register_forward_hook(lambda *_: pytest.fail("a side classifier ran in eval mode"))
    net(x)


def test_the_loss_is_the_paper_s_divided_by_the_sum_of_the_weights(net: SideClassified) -> None:
    x, y = torch.randn(7, 4), torch.randint(3, (7,))
    task = classify(["a", "b", "c"], exit_weights=net.exit_weights)
    side, other, last = (F.cross_entropy(logits, y) for logits in by_hand(net, x))
    torch.testing.assert_close(task.loss(net.train()(x), y), (last + 0.3 * side + 0.2 * other) / 1.5)
    assert task.score(net(x), y) == (by_hand(net, x)[-1].argmax(1) == y).sum()


def test_exports_without_its_sides(net: SideClassified) -> None:
    program = torch.export.export(net.eval(), (torch.zeros(2, 4),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    used = {node.target for node in program.graph.nodes if node.op == "placeholder" and node.users}
    assert not any("side" in str(name) or "other" in str(name) for name in used)
    x = torch.randn(5, 4)
    torch.testing.assert_close(program.module()(x), net(x))
