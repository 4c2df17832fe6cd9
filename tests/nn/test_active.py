"""The active convolution against shifted plain ones: whole positions, fractional ones by hand, gradients, export."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import fx, nn
from torch.nn import functional as F

from danlu.deploy.quiet import quiet_export
from danlu.errors import UsageError
from danlu.nn import ActiveConv2d

CASES = [
    {},
    {"stride": 2, "padding": 1},
    {"padding": 2, "dilation": 2, "groups": 2, "bias": False},
    {"kernel_size": (1, 3), "stride": (2, 1), "padding": (0, 1)},
    {"kernel_size": 2, "padding": 1},
]


@pytest.mark.parametrize("options", CASES)
def test_it_starts_as_the_plain_convolution(options):
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, **{"kernel_size": 3, **options})
    layer = ActiveConv2d.like(conv)
    x = torch.randn(2, 4, 9, 8)
    torch.testing.assert_close(layer(x), conv(x), rtol=1e-5, atol=1e-5)
    assert sum(p.numel() for p in layer.parameters()) == sum(p.numel() for p in conv.parameters()) + 2 * layer.points


def test_the_positions_are_counted_from_the_centre():
    assert ActiveConv2d(2, 2, (1, 3), dilation=2).position.tolist() == [[0, -2], [0, 0], [0, 2]]


def test_each_place_reads_the_map_moved_by_its_position():
    """y = sum_k W_k x(. + position_k), each term a 1x1 convolution of the map, moved by the four whole steps around it."""
    torch.manual_seed(0)
    layer = ActiveConv2d(3, 4, 3, padding=1, bias=False).double()
    nn.init.uniform_(layer.position, -3, 3)
    x = torch.randn(2, 3, 6, 7, dtype=torch.float64)
    margin = 5
    wide = F.pad(x, (margin,) * 4)
    expected = torch.zeros(2, 4, 6, 7, dtype=torch.float64)
    weight = layer.mix.weight.view(4, 3, 9)
    for k, (row, column) in enumerate(layer.position.tolist()):
        top, left = int(np.floor(row)), int(np.floor(column))
        for i, j in ((top, left), (top + 1, left), (top, left + 1), (top + 1, left + 1)):
            share = (1 - abs(row - i)) * (1 - abs(column - j))
            moved = wide[:, :, margin + i : margin + i + 6, margin + j : margin + j + 7]
            expected += share * torch.einsum("oc,bchw->bohw", weight[:, :, k], moved)
    torch.testing.assert_close(layer(x), expected)


def test_gradients_in_float64():
    torch.manual_seed(0)
    layer = ActiveConv2d(2, 2, 3, padding=1).double()
    with torch.no_grad():
        layer.position += torch.empty(9, 2).uniform_(0.3, 0.7)  # between the grid points, where it is smooth
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    position = layer.position.detach().clone().requires_grad_()

    def run(x: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, {"position": position}, (x,))

    assert torch.autograd.gradcheck(run, (x, position))


def test_it_finds_the_shift_of_a_map():
    """A kernel of one place, moved by half a pixel off, comes back by the gradient of its position."""
    x = torch.sin(torch.arange(32.0) / 3).expand(1, 1, 32, 32)
    layer = ActiveConv2d(1, 1, 1, bias=False)
    nn.init.ones_(layer.mix.weight)
    target = 0.5 * (x + x.roll(-1, 3))  # x half a pixel to the right
    optimiser = torch.optim.SGD([layer.position], lr=1.0)
    for _ in range(60):
        loss = (layer(x) - target)[..., 4:-4].square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    torch.testing.assert_close(layer.position[0, 1].detach(), torch.tensor(0.5), rtol=0, atol=0.02)


def test_fx_follows_it_and_onnxruntime_gives_the_same(tmp_path):
    torch.manual_seed(0)
    layer = ActiveConv2d(3, 4, 3, stride=2, padding=1).eval()
    nn.init.uniform_(layer.position, -2, 2)
    x = torch.randn(3, 3, 9, 12)
    torch.testing.assert_close(fx.symbolic_trace(layer)(x), layer(x))
    with quiet_export():
        batch = ({0: torch.export.Dim("batch")},)
        program = torch.onnx.export(layer, (x[:2],), dynamo=True, verbose=False, input_names=["input"], dynamic_shapes=batch)
        program.save(tmp_path / "active.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "active.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"input": x.numpy()})[0], layer(x).detach(), atol=1e-4)


def test_bad_counts_are_refused():
    for options in ({"groups": 3}, {"kernel_size": 0}, {"stride": 0}):
        with pytest.raises(UsageError, match="ActiveConv2d"):
            ActiveConv2d(4, 6, **options)
