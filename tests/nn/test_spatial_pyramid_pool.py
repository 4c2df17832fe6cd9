"""Spatial pyramid pooling against torch's adaptive pool, whose cells are the same; through ONNX at sizes that no grid divides."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import fx, nn

from danlu.edits.blueprint import build, describe
from danlu.errors import UsageError
from danlu.nn import SpatialPyramidPool2d


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (7, 7), (13, 13), (16, 10)])
def test_level_after_level_of_adaptive_maxima(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size)
    expected = torch.cat([nn.AdaptiveMaxPool2d(n)(x).flatten(1) for n in (4, 3, 1)], 1)
    layer = SpatialPyramidPool2d((4, 3, 1))
    assert torch.equal(layer(x), expected)
    assert torch.equal(fx.symbolic_trace(layer)(x), expected)


def test_the_length_does_not_depend_on_the_map() -> None:
    # The paper's pyramid for 224x224 images: 50 bins of 256 filters.
    layer = SpatialPyramidPool2d((6, 3, 2, 1))
    assert {layer(torch.randn(1, 256, n, n)).shape for n in (6, 10, 13)} == {(1, 12_800)}


def test_is_described_and_rebuilt() -> None:
    layer = SpatialPyramidPool2d((2, 1))
    assert repr(build(describe(layer))) == repr(layer) == "SpatialPyramidPool2d(levels=(2, 1))"


@pytest.mark.filterwarnings("ignore:.*isinstance.*LeafSpec.*:FutureWarning")
def test_exports_to_onnx_with_a_free_batch(tmp_path) -> None:
    layer = SpatialPyramidPool2d().eval()
    program = torch.onnx.export(
        layer, (torch.zeros(2, 3, 7, 6),), dynamo=True, verbose=False, input_names=["input"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )  # fmt: skip
    program.save(tmp_path / "pyramid.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "pyramid.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 5):
        x = torch.randn(batch, 3, 7, 6)
        np.testing.assert_array_equal(session.run(None, {"input": x.numpy()})[0], layer(x).numpy())


@pytest.mark.parametrize("levels", [(), (0,), (2, -1)])
def test_refuses_no_grid(levels: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="grid sizes of at least 1"):
        SpatialPyramidPool2d(levels)
