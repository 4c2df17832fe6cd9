"""Non-local blocks against a double loop over the pixels."""

import math

import pytest
import torch
from torch import Tensor, fx, nn

from danlu.errors import UsageError
from danlu.nn import NonLocal2d

KINDS = ("gaussian", "embedded", "dot", "concat")


def awake(layer: NonLocal2d) -> NonLocal2d:
    """Weights with which the block does something."""
    torch.manual_seed(0)
    for tensor in layer.parameters():
        nn.init.normal_(tensor, std=0.5)
    return layer


def pooled(x: Tensor) -> Tensor:
    """[C, H, W] -> the maxima of 2x2 cells, the last row and column alone where they are odd."""
    _, h, w = x.shape
    rows = [[x[:, i : i + 2, j : j + 2].amax((1, 2)) for j in range(0, w, 2)] for i in range(0, h, 2)]
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


def by_loops(layer: NonLocal2d, image: Tensor) -> Tensor:
    """The formula for one image [C, H, W] without the norm, one pair of pixels at a time."""

    def embed(conv: nn.Module) -> Tensor:
        if isinstance(conv, nn.Identity):
            return image
        return torch.einsum("oc,chw->ohw", conv.weight[:, :, 0, 0], image) + conv.bias[:, None, None]

    theta, phi, g = (embed(conv) for conv in (layer.theta, layer.phi, layer.g))
    if layer.subsample:
        phi, g = pooled(phi), pooled(g)
    queries, keys, values = ([m[:, i, j] for i in range(m.shape[1]) for j in range(m.shape[2])] for m in (theta, phi, g))
    out = []
    for query in queries:
        if layer.kind == "concat":
            w = torch.cat([layer.score_i.weight.flatten(), layer.score_j.weight.flatten()])
            alike = [torch.relu(w @ torch.cat([query, key])) for key in keys]
        else:
            alike = [query @ key for key in keys]
        if layer.kind in ("gaussian", "embedded"):
            alike = [math.e**score for score in alike]
        total = sum(alike) if layer.kind in ("gaussian", "embedded") else len(keys)
        out.append(sum(a * value for a, value in zip(alike, values, strict=True)) / total)
    y = torch.stack(out, 1).reshape(-1, *image.shape[1:])
    return torch.einsum("oc,chw->ohw", layer.out.weight[:, :, 0, 0], y) + layer.out.bias[:, None, None]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("subsample", [True, False])
def test_the_formula(kind: str, subsample: bool) -> None:
    layer = awake(NonLocal2d(4, kind=kind, subsample=subsample, batch_norm=False).double())
    x = torch.randn(2, 4, 5, 4, dtype=torch.float64)
    expected = torch.stack([image + by_loops(layer, image) for image in x])
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_norm", [True, False])
def test_it_starts_as_the_identity_and_learns(kind: str, batch_norm: bool) -> None:
    layer = NonLocal2d(8, kind=kind, batch_norm=batch_norm)
    x = torch.randn(3, 8, 6, 6)
    assert torch.equal(layer(x), x)
    layer(x).square().sum().backward()
    last = layer.norm.weight if batch_norm else layer.out.weight
    assert last.grad is not None
    assert last.grad.abs().sum() > 0
    assert all(p.grad is not None for p in layer.parameters())


def test_the_norm_is_behind_the_last_convolution() -> None:
    layer, bare = awake(NonLocal2d(4)).eval(), awake(NonLocal2d(4, batch_norm=False)).eval()
    bare.load_state_dict({name: tensor for name, tensor in layer.state_dict().items() if not name.startswith("norm.")})
    x = torch.randn(2, 4, 4, 4)
    torch.testing.assert_close(layer(x) - x, layer.norm(bare(x) - x), rtol=1e-4, atol=1e-5)


def test_a_map_of_one_pixel_sees_itself() -> None:
    layer = awake(NonLocal2d(4, batch_norm=False)).eval()
    x = torch.randn(2, 4, 1, 1)
    torch.testing.assert_close(layer(x), x + layer.out(layer.g(x)))  # its softmax is 1


@pytest.mark.parametrize("kind", KINDS)
def test_it_traces_and_has_the_right_gradient(kind: str) -> None:
    layer = awake(NonLocal2d(2, kind=kind, subsample=False, batch_norm=False).double())
    x = torch.randn(1, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))
    torch.testing.assert_close(fx.symbolic_trace(layer)(x), layer(x))


def test_another_kind_is_refused() -> None:
    with pytest.raises(UsageError, match=r"unknown kind of non-local block 'embeded'; did you mean embedded"):
        NonLocal2d(8, kind="embeded")
