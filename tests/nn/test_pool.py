"""What every pooling of danlu promises: torch's sizes, fair edges, values between a window's least and largest, ONNX."""

import itertools
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, fx, nn

from danlu.edits.blueprint import build, describe
from danlu.errors import UsageError
from danlu.nn import (
    Concat,
    DetailPreservingPool2d,
    GatedPool2d,
    LpPool2d,
    MixedPool2d,
    StochasticPool2d,
    WeightedMaxPool2d,
)
from danlu.nn._pool import Pool2d

CHANNELS = 3
KINDS: dict[str, Callable[..., Pool2d]] = {
    "lp": LpPool2d,
    "stochastic": StochasticPool2d,
    "mixed": MixedPool2d,
    "drawn": lambda *args, **options: MixedPool2d(*args, **options, share="drawn"),
    "gated": GatedPool2d,
    "weighted_max": lambda *args, **options: WeightedMaxPool2d(CHANNELS, *args, **options),
    "detail": lambda *args, **options: DetailPreservingPool2d(CHANNELS, *args, **options),
    "symmetric": lambda *args, **options: DetailPreservingPool2d(CHANNELS, *args, **options, symmetric=True),
}
# kernel, stride, padding, ceil_mode: usual ones, and those at which the rule for the last window bites.
SHAPES = [
    (2, None, 0, False), (2, 2, 0, True), (3, 2, 1, False), (3, 2, 0, True), (3, 1, 1, True), (2, 2, 1, True), (1, 2, 0, True),
    (2, 3, 1, True), ((3, 2), (2, 1), (1, 0), False), ((1, 4), (1, 3), (0, 2), True),
]  # fmt: skip


CASES = [
    pytest.param(*shape, size, id=f"{shape} {size}".replace(" ", ""))
    for shape, size in itertools.product(SHAPES, [(8, 8), (7, 10)])
]


def alive(pool: Pool2d) -> Pool2d:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in pool.parameters():
            parameter.normal_(generator=generator)
    return pool


def looped(x: Tensor, kernel: object, stride: object, padding: object, ceil: bool) -> list[list[list[Tensor]]]:
    """The pixels on the map in each window, [B, C, n], by the definition: where it starts, what of it is on the map."""
    (kh, kw), (ph, pw) = ((a, a) if isinstance(a, int) else a for a in (kernel, padding))
    sh, sw = (kh, kw) if stride is None else (stride, stride) if isinstance(stride, int) else stride
    height, width = nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil)(x).shape[2:]
    rows = []
    for i in range(height):
        top, left = i * sh - ph, [j * sw - pw for j in range(width)]
        rows.append([x[:, :, max(top, 0) : top + kh, max(at, 0) : at + kw].flatten(2) for at in left])
    return rows


@pytest.mark.parametrize(("kernel", "stride", "padding", "ceil", "size"), CASES)
def test_the_windows_by_loops(kernel, stride, padding, ceil, size) -> None:
    x = torch.randn(2, CHANNELS, *size)
    pool = Pool2d(kernel, stride, padding, ceil)
    windows, inside = pool.windows(x, fill=7.0).flatten(4), pool.inside(x).flatten(4)
    expected = looped(x, kernel, stride, padding, ceil)
    assert windows.shape[2:4] == (len(expected), len(expected[0]))
    for i, j in itertools.product(range(len(expected)), range(len(expected[0]))):
        real = inside[0, 0, i, j].bool()
        assert torch.equal(windows[:, :, i, j, real], expected[i][j])
        assert (windows[:, :, i, j, ~real] == 7).all()
    torch.testing.assert_close(pool.mean(x), torch.stack([torch.stack([w.mean(2) for w in r], 2) for r in expected], 2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("kernel", "stride", "padding", "ceil", "size"), CASES)
def test_torch_s_size_and_between_the_least_and_the_largest(kind, kernel, stride, padding, ceil, size) -> None:
    torch.manual_seed(0)
    pool = alive(KINDS[kind](kernel, stride, padding, ceil))
    x = torch.rand(2, CHANNELS, *size) + 0.1
    for mode in (True, False):
        with torch.no_grad():
            y = pool.train(mode)(x)
        largest = nn.functional.max_pool2d(x, kernel, stride, padding, ceil_mode=ceil)
        least = -nn.functional.max_pool2d(-x, kernel, stride, padding, ceil_mode=ceil)
        assert y.shape == largest.shape
        assert (y <= largest + 1e-5).all()
        assert (y >= least - 1e-5).all()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients(kind) -> None:
    torch.manual_seed(0)
    pool = alive(KINDS[kind](2, 2, 1, True)).double().eval()
    x = torch.rand(1, CHANNELS, 3, 4, dtype=torch.float64) + 0.1
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: pool(x), (x, *pool.parameters()), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", [True, False])
def test_a_window_of_zeros_has_a_gradient(kind, training) -> None:
    # What a ReLU leaves: torch's own LPPool2d gives nan here.
    pool = KINDS[kind](2).train(training)
    x = torch.zeros(1, CHANNELS, 4, 4, requires_grad=True)
    y = pool(x)
    assert torch.equal(y, torch.zeros_like(y))
    y.sum().backward()
    assert x.grad.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in pool.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_is_traced_and_described(kind) -> None:
    pool = KINDS[kind](3, 2, 1, True).eval()
    x = torch.rand(2, CHANNELS, 7, 8)
    with torch.no_grad():
        assert torch.equal(fx.symbolic_trace(pool)(x), pool(x))
        again = build(describe(pool)).eval()
        assert repr(again) == repr(pool)
        again.load_state_dict(pool.state_dict())
        assert torch.equal(again(x), pool(x))


@pytest.mark.filterwarnings("ignore:.*isinstance.*LeafSpec.*:FutureWarning")
@pytest.mark.parametrize("shape", [(2, 2, 0, False), (3, 2, 1, True)])
def test_all_export_to_onnx_with_a_free_batch(shape, tmp_path) -> None:
    torch.manual_seed(0)
    pools = Concat(OrderedDict((name, alive(kind(*shape))) for name, kind in KINDS.items())).eval()
    program = torch.onnx.export(
        pools, (torch.rand(2, CHANNELS, 7, 8),), dynamo=True, verbose=False, input_names=["input"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )  # fmt: skip
    program.save(tmp_path / "pools.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "pools.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 5):
        x = torch.randn(batch, CHANNELS, 7, 8)
        with torch.no_grad():
            expected = pools(x).numpy()
        np.testing.assert_allclose(session.run(None, {"input": x.numpy()})[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("arguments", [(0,), (2, 0), (2, 2, 2), (3, 1, -1), ((2, 0),)])
def test_refuses_what_is_no_pool(arguments) -> None:
    with pytest.raises(UsageError, match="a pool takes a kernel and a stride of at least 1"):
        Pool2d(*arguments)
