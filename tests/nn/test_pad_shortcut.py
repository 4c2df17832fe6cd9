"""The padding shortcut against a 1x1 convolution with identity weights, and through ONNX."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch.nn import functional as F

from danlu.errors import UsageError
from danlu.nn import PadShortcut


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("inner", "outer"), [(3, 3), (3, 8)])
@pytest.mark.parametrize("size", [(8, 8), (7, 10), (1, 1)])
def test_is_the_convolution_with_identity_weights(stride, inner, outer, size):
    x = torch.randn(2, inner, *size)
    expected = F.conv2d(x, torch.eye(outer, inner)[:, :, None, None], stride=stride)
    assert torch.equal(PadShortcut(inner, outer, stride=stride)(x), expected)


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (1, 1)])
def test_fits_beside_a_3x3_convolution_of_the_same_stride(size):
    x = torch.zeros(1, 3, *size)
    beside = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)(x)
    assert PadShortcut(3, 8, stride=2)(x).shape == beside.shape


def test_its_numbers_may_be_changed_afterwards():
    shortcut = PadShortcut(3, 8, stride=2)
    shortcut.in_channels, shortcut.out_channels, shortcut.stride = 2, 4, 1
    assert shortcut(torch.zeros(1, 2, 6, 6)).shape == (1, 4, 6, 6)


@pytest.mark.parametrize(("inner", "outer", "stride"), [(8, 3, 1), (0, 3, 1), (3, 8, 0)])
def test_refuses_to_drop_channels(inner, outer, stride):
    with pytest.raises(UsageError, match="only adds channels"):
        PadShortcut(inner, outer, stride=stride)


@pytest.mark.filterwarnings("ignore:.*isinstance.*LeafSpec.*:FutureWarning")
def test_exports_to_onnx_with_a_free_batch(tmp_path):
    shortcut = PadShortcut(3, 8, stride=2).eval()
    program = torch.onnx.export(
        shortcut, (torch.zeros(2, 3, 7, 6),), dynamo=True, verbose=False, input_names=["input"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )  # fmt: skip
    program.save(tmp_path / "shortcut.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "shortcut.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 5):
        x = torch.randn(batch, 3, 7, 6)
        np.testing.assert_array_equal(session.run(None, {"input": x.numpy()})[0], shortcut(x).numpy())


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_training_gives_the_same_values_and_gradients(size: int, stride: int) -> None:
    layer = PadShortcut(3, 5, stride=stride)
    one, two = (torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0)).requires_grad_() for _ in range(2))
    a, b = layer.train()(one), layer.eval()(two)
    assert torch.equal(a, b)
    weight = torch.randn(a.shape)
    (a * weight).sum().backward()
    (b * weight).sum().backward()
    assert torch.equal(one.grad, two.grad)
