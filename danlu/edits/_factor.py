"""Layers as products of thinner ones, and what each rank costs and keeps.

    pair      W [out, in]          ~  A [out, r] B [r, in]                          linear layers and 1x1 convolutions
    spatial   W [O, I, kh, kw]     ~  sum_r H[O, r, 1, kw] V[r, I, kh, 1]           kh x 1, then 1 x kw
    channel   W [O, I, ...]        ~  core [r2, r1, ...] x U1 [I, r1] x U2 [O, r2]  1x1, the kernel, 1x1: Tucker-2

The first two are singular value decompositions, the best there is at their rank (Eckart and Young 1936). Tucker-2 is the
truncated HOSVD, made better by alternating least squares (HOOI). A side of it at its full rank needs no 1x1 convolution.

Everything is computed in float64 and stored in the layer's own type.

Source: Denton et al. 2014, https://arxiv.org/abs/1404.0736 (pairs); Jaderberg et al. 2014, https://arxiv.org/abs/1405.3866, and
Tai et al. 2015, https://arxiv.org/abs/1511.06067 (spatial, in closed form); Kim et al. 2015, https://arxiv.org/abs/1511.06530
(Tucker-2); De Lathauwer et al. 2000, https://doi.org/10.1137/S0895479898346995 (HOSVD, HOOI).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
CONVS: dict[type[nn.Module], Any] = {nn.Conv1d: nn.Conv1d, nn.Conv2d: nn.Conv2d, nn.Conv3d: nn.Conv3d}
TURNS = 5  # alternations of HOOI at most
GAIN = 1e-4  # of the energy: an alternation that gains less is the last


@dataclass(frozen=True)
class Sites:
    """Positions at which a layer's weights are used, for each position of its output: 4 and 2 for a stride of 2.

    `before` counts those of its input, `between` those after the vertical convolution of a spatial pair.
    """

    before: float = 1.0
    between: float = 1.0


class Factoring:
    """One way to write one layer as thinner ones. Tensors over the ranks: [full], for Tucker-2 [full r1, full r2].

    energy    share of the squared norm of the weight kept, in [0, 1]
    params    weights of the new layers, without the bias
    macs      of the new layers for one position of the output
    """

    method: str
    energy: Tensor
    params: Tensor
    macs: Tensor

    @property
    def full(self) -> tuple[int, ...]:
        """The ranks at which nothing is lost."""
        return tuple(self.energy.shape)

    def build(self, *ranks: int) -> nn.Sequential:
        """The new layers at these ranks."""
        raise NotImplementedError


class Pair(Factoring):
    """A linear layer or a 1x1 convolution as two."""

    method = "pair"

    def __init__(self, layer: nn.Linear | Conv) -> None:
        self.layer = layer
        self.matrix = double(layer.weight).flatten(1)
        out, into = self.matrix.shape
        self.left, self.squares = spectrum(self.matrix)
        self.energy = shares(self.squares)
        self.params = ranks_of(self.squares) * (into + out)
        self.macs = self.params

    def build(self, *ranks: int) -> nn.Sequential:
        (rank,) = ranks
        a, b = balanced(self.left[:, :rank], self.squares[:rank], self.matrix)
        layer = self.layer
        if isinstance(layer, nn.Linear):
            first: nn.Module = nn.Linear(layer.in_features, rank, bias=False)
            last: nn.Module = nn.Linear(rank, layer.out_features, bias=layer.bias is not None)
            return joined(layer, (first, b), (last, a))
        ones = (1,) * (layer.weight.dim() - 2)
        first, last = outer(layer, layer.in_channels, rank, moves=True), outer(layer, rank, layer.out_channels)
        return joined(layer, (first, b.view(*b.shape, *ones)), (last, a.view(*a.shape, *ones)))


class Spatial(Factoring):
    """A convolution over images as a vertical and a horizontal one."""

    method = "spatial"

    def __init__(self, layer: nn.Conv2d, sites: Sites) -> None:
        self.layer = layer
        out, into, high, wide = layer.weight.shape
        self.matrix = double(layer.weight).permute(0, 3, 1, 2).reshape(out * wide, into * high)  # rows (o, x), columns (i, y)
        self.left, self.squares = spectrum(self.matrix)
        self.energy = shares(self.squares)
        ranks = ranks_of(self.squares)
        self.params = ranks * (into * high + out * wide)
        self.macs = ranks * (into * high * sites.between + out * wide)

    def build(self, *ranks: int) -> nn.Sequential:
        (rank,) = ranks
        layer = self.layer
        out, into, high, wide = layer.weight.shape
        a, b = balanced(self.left[:, :rank], self.squares[:rank], self.matrix)
        vertical, horizontal = along(layer, into, rank, 0), along(layer, rank, out, 1)
        return joined(
            layer,
            (vertical, b.view(rank, into, high, 1)),
            (horizontal, a.view(out, 1, wide, rank).permute(0, 3, 1, 2)),
        )


class Channel(Factoring):
    """A convolution as 1x1, kernel, 1x1. The energies are those of the HOSVD: `build` can only do better."""

    method = "channel"

    def __init__(self, layer: Conv, sites: Sites) -> None:
        self.layer = layer
        self.weight = double(layer.weight).flatten(2)  # [O, I, k]
        out, into, size = self.weight.shape
        self.of_in, _ = spectrum(self.weight.transpose(0, 1).flatten(1))
        self.of_out, _ = spectrum(self.weight.flatten(1))
        core = self.core(self.of_in, self.of_out).square().sum(2)  # [O, I]
        self.energy = (core.cumsum(0).cumsum(1) / core.sum()).clamp(max=1).T.cpu()
        r1, r2 = ranks_of(self.of_in)[:, None], ranks_of(self.of_out)
        first, last = (r1 < into) * into * r1, (r2 < out) * out * r2
        self.params = first + r1 * r2 * size + last
        self.macs = first * sites.before + r1 * r2 * size + last

    def core(self, of_in: Tensor, of_out: Tensor) -> Tensor:
        """The weight seen in these bases. Shape: [I, r1], [O, r2] -> [r2, r1, k]."""
        return torch.einsum("oik,ir,os->srk", self.weight, of_in, of_out)

    def bases(self, r1: int, r2: int) -> tuple[Tensor, Tensor]:
        """Orthonormal bases of the two sides: of the HOSVD, and where both are cut, of HOOI. Shape: [I, r1], [O, r2]."""
        of_in, of_out = self.of_in[:, :r1], self.of_out[:, :r2]
        out, into, _ = self.weight.shape
        if r1 == into or r2 == out:
            return of_in, of_out  # with one side whole, the truncation of the other is the best there is
        kept, total = self.core(of_in, of_out).square().sum(), self.weight.square().sum()
        for _ in range(TURNS):
            of_in = spectrum(torch.einsum("oik,os->isk", self.weight, of_out).flatten(1))[0][:, :r1]
            of_out = spectrum(torch.einsum("oik,ir->ork", self.weight, of_in).flatten(1))[0][:, :r2]
            now = self.core(of_in, of_out).square().sum()
            if now - kept <= GAIN * total:
                break
            kept = now
        return of_in, of_out

    def build(self, *ranks: int) -> nn.Sequential:
        r1, r2 = ranks
        layer = self.layer
        shape = layer.weight.shape
        of_in, of_out = self.bases(r1, r2)
        whole_in, whole_out = r1 == shape[1], r2 == shape[0]
        # A whole side is left as it is: the identity is a basis too.
        of_in = torch.eye(r1, dtype=of_in.dtype, device=of_in.device) if whole_in else of_in
        of_out = torch.eye(r2, dtype=of_out.dtype, device=of_out.device) if whole_out else of_out
        ones = (1,) * (len(shape) - 2)
        parts: list[tuple[nn.Module, Tensor]] = []
        if not whole_in:
            parts.append((outer(layer, shape[1], r1), of_in.T.reshape(r1, shape[1], *ones)))
        middle = like(layer, r1, r2, layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        parts.append((middle, self.core(of_in, of_out).view(r2, r1, *shape[2:])))
        if not whole_out:
            parts.append((outer(layer, r2, shape[0]), of_out.view(shape[0], r2, *ones)))
        return joined(layer, *parts)


def double(weight: Tensor) -> Tensor:
    """A copy without gradient in float64, on the CPU where the device has none."""
    weight = weight.detach()
    return (weight.cpu() if weight.device.type == "mps" else weight).to(torch.float64)


def spectrum(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Left singular vectors and squared singular values, largest first. Shape: [m, n] -> [m, r], [r], r = min(m, n).

    By the eigenvectors of the smaller of the two Gram matrices, many times faster than a singular value decomposition of a
    long matrix; float64 leaves the squares right to 1e-15 of the largest.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    values, vectors = torch.linalg.eigh(matrix.T @ matrix if tall else matrix @ matrix.T)
    values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
    if tall:  # the right vectors: their images are the left ones, made orthonormal where a singular value is almost 0
        vectors = torch.linalg.qr(matrix @ vectors)[0]
    return vectors, values


def balanced(left: Tensor, squares: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The two factors of the projection of `matrix` on `left`, their columns and rows of equal norm, so that both train alike.

    Shape: [m, r], [r], [m, n] -> [m, r], [r, n].
    """
    right = left.T @ matrix
    root = right.norm(dim=1).sqrt()
    root = torch.where(root > 0, root, 1)
    return left * root, right / root[:, None]


def shares(squares: Tensor) -> Tensor:
    """The share of the energy that the first 1, 2, ... singular values hold."""
    return (squares.cumsum(0) / squares.sum()).clamp(max=1).cpu()


def ranks_of(vectors: Tensor) -> Tensor:
    """1, 2, ..., as many as there are columns."""
    return torch.arange(1, vectors.shape[-1] + 1, dtype=torch.float64)


def like(layer: Any, into: int, out: int, kernel: Any, stride: Any, padding: Any, dilation: Any) -> nn.Module:
    """A convolution without bias of the dimensions and the padding mode of `layer`."""
    kind = CONVS[type(layer)]
    new: nn.Module = kind(into, out, kernel, stride, padding, dilation, bias=False, padding_mode=layer.padding_mode)
    return new


def outer(layer: Any, into: int, out: int, moves: bool = False) -> nn.Module:
    """A 1x1 convolution; one that `moves` takes over the stride and the padding of `layer`."""
    ones = (1,) * len(layer.kernel_size)
    if moves:
        return like(layer, into, out, ones, layer.stride, layer.padding, ones)
    return like(layer, into, out, ones, ones, (0,) * len(ones), ones)


def along(layer: nn.Conv2d, into: int, out: int, axis: int) -> nn.Module:
    """A convolution that does what `layer` does along one axis only."""

    def only(values: Any, other: int) -> Any:
        return values if isinstance(values, str) else tuple(v if d == axis else other for d, v in enumerate(values))

    return like(
        layer, into, out, only(layer.kernel_size, 1), only(layer.stride, 1), only(layer.padding, 0), only(layer.dilation, 1)
    )


@torch.no_grad()
def joined(layer: nn.Linear | Conv, *parts: tuple[nn.Module, Tensor]) -> nn.Sequential:
    """The parts with their weights in a row, the bias on the last; type, device and gradient flags are those of `layer`."""
    net = nn.Sequential(*(part for part, _ in parts))
    for part, weight in parts:
        part.weight = nn.Parameter(weight.to(layer.weight).contiguous(), requires_grad=layer.weight.requires_grad)
    bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone(), requires_grad=layer.bias.requires_grad)
    net[-1].register_parameter("bias", bias)
    return net
