"""Learned group convolution: its stages by plain loops, its condensed form, and the training loop that drives it."""

import copy

import numpy as np
import onnxruntime
import pytest
import torch
from torch import fx, nn

from danlu.data import load_data
from danlu.encodings import advance, settled
from danlu.errors import UsageError
from danlu.nn import ChannelIndex, LearnedGroupConv2d
from danlu.train import TrainConfig, fit


def dropped_by_loops(weight: torch.Tensor, mask: torch.Tensor, more: int) -> torch.Tensor:
    """The mask after each group has dropped `more` of the inputs it still sees."""
    groups, inputs = mask.shape
    size = len(weight) // groups
    mask = mask.clone()
    for g in range(groups):
        sums = {
            i: sum(abs(weight[o, i, 0, 0].item()) for o in range(g * size, (g + 1) * size)) for i in range(inputs) if mask[g, i]
        }
        for i in sorted(sums, key=sums.__getitem__)[:more]:
            mask[g, i] = False
    return mask


def test_each_stage_drops_the_inputs_of_least_weight() -> None:
    torch.manual_seed(0)
    layer = LearnedGroupConv2d(12, 8, learned_groups=2, condense=4).train()
    x, expected = torch.randn(1, 12, 3, 3), torch.ones(2, 12, dtype=torch.bool)
    stage = 0
    for step in range(1, 25):  # stages end at 1/6, 2/6 and 3/6 of 24 steps
        advance(layer, step / 24)
        ended = min(3, step // 4)
        with torch.no_grad():
            layer.weight.normal_()  # as if it was trained: what is dropped is decided by the weights of the moment
        if ended > stage:
            expected = dropped_by_loops(layer.weight, expected, 3)
            stage = ended
        y = layer(x)
        assert torch.equal(layer.condensation.mask, expected), step
        wide = expected.repeat_interleave(4, dim=0)[:, :, None, None]
        torch.testing.assert_close(y, nn.functional.conv2d(x, layer.weight * wide))
    assert expected.sum(1).tolist() == [3, 3]


def test_is_settled_before_its_stages_and_after() -> None:
    layer = LearnedGroupConv2d(8, 8)
    assert settled(layer), "a fresh net may be stored"
    advance(layer, 0.3)
    assert not settled(layer)
    advance(layer, 0.5)
    layer.train()(torch.randn(1, 8, 2, 2))
    assert settled(layer)
    again = LearnedGroupConv2d(8, 8)
    again.load_state_dict(layer.state_dict())
    advance(again, 0.3)
    assert settled(again), "a condensed layer that is trained once more has nothing left to drop"


def test_evaluation_drops_nothing_and_a_resumed_training_nothing_twice() -> None:
    torch.manual_seed(0)
    layer = LearnedGroupConv2d(8, 8)
    x = torch.randn(1, 8, 2, 2)
    advance(layer, 0.2)
    layer.eval()(x)
    assert layer.condensation.mask.all()
    layer.train()(x)
    once = layer.condensation.mask.clone()
    assert once.sum() == 4 * 6
    other = LearnedGroupConv2d(8, 8)
    other.load_state_dict(layer.state_dict())
    with torch.no_grad():
        other.weight.normal_()
    advance(other, 0.25)
    other.train()(x)
    assert torch.equal(other.condensation.mask, once)


def test_dropped_inputs_get_no_gradient() -> None:
    torch.manual_seed(0)
    layer = LearnedGroupConv2d(8, 4, learned_groups=2, condense=2)
    advance(layer, 1.0)
    layer(torch.randn(2, 8, 3, 3)).square().sum().backward()
    alive = layer.condensation.mask.repeat_interleave(2, dim=0)[:, :, None, None]
    assert torch.equal(layer.weight.grad != 0, alive)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("groups", "factor"), [(4, 4), (2, 4), (4, 2), (1, 1)])
def test_the_condensed_form_is_the_masked_one(groups: int, factor: int, bias: bool) -> None:
    torch.manual_seed(0)
    layer = LearnedGroupConv2d(16, 8, learned_groups=groups, condense=factor, bias=bias).double()
    x = torch.randn(2, 16, 3, 3, dtype=torch.float64)
    advance(layer, 1.0)
    expected = layer.train()(x)
    small = layer.condensed()
    torch.testing.assert_close(small(x), expected)
    assert small.conv.weight.numel() == layer.weight.numel() // factor
    assert small.conv.groups == groups
    fresh = LearnedGroupConv2d(16, 8, learned_groups=groups, condense=factor, bias=bias).double()
    fresh.load_state_dict({**layer.state_dict(), "condensation.mask": torch.ones(groups, 16, dtype=torch.bool)})
    if factor == 2:  # one stage: what a fresh layer drops at once is what the trained one dropped
        torch.testing.assert_close(fresh.condensed()(x), expected)


def test_fit_condenses_a_net() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        LearnedGroupConv2d(8, 16), nn.ChannelShuffle(4), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip
    source = load_data("digits").subset(160)
    done = fit(net, source, TrainConfig(steps=12, batch_size=16, precision="fp32", memory_format="nchw")).model
    layer = done[3]
    assert layer.condensation.mask.sum(1).tolist() == [2, 2, 2, 2]
    assert net[3].condensation.mask.all(), "fit trains a copy"
    small = copy.deepcopy(done)
    small[3] = layer.condensed()
    x = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(small(x), done(x))


def test_the_index_picks_channels() -> None:
    layer = ChannelIndex(3, 5)
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(layer(x), x[:, [0, 1, 2, 0, 1]])
    layer.index = torch.tensor([2, 2, 0, 1, 2])
    assert torch.equal(layer(x), x[:, [2, 2, 0, 1, 2]])
    assert torch.equal(fx.symbolic_trace(layer)(x), layer(x))


@pytest.mark.filterwarnings("ignore:.*isinstance.*LeafSpec.*:FutureWarning")
def test_the_condensed_form_exports_to_onnx_with_a_free_batch(tmp_path) -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(LearnedGroupConv2d(8, 8).condensed(), nn.ChannelShuffle(4)).eval()
    program = torch.onnx.export(
        layer, (torch.zeros(2, 8, 3, 3),), dynamo=True, verbose=False, input_names=["input"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )  # fmt: skip
    program.save(tmp_path / "layer.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "layer.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 5):
        x = torch.randn(batch, 8, 3, 3)
        np.testing.assert_allclose(session.run(None, {"input": x.numpy()})[0], layer(x).detach().numpy(), atol=1e-6)


@pytest.mark.parametrize(("inner", "outer"), [(6, 8), (8, 6)])
def test_refuses_what_does_not_divide(inner: int, outer: int) -> None:
    with pytest.raises(UsageError, match=f"got {inner} inputs, {outer} outputs, learned_groups=4, condense=4"):
        LearnedGroupConv2d(inner, outer)
