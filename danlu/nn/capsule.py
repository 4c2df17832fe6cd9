"""Capsules: groups of units whose length says how likely a part is there and whose direction says in which pose; lower ones
vote for the pose of higher ones, and votes that agree are listened to more.

    squash(s) = |s|^2 / (1 + |s|^2)  s / |s|                           a length from 0 to 1, the direction kept
    votes_ij = W_ij u_i                                                capsule i says where capsule j should be
    repeat: c_i = softmax_j(b_i),  v_j = squash(sum_i c_ij votes_ij),  b_ij += votes_ij . v_j

Source: Sabour et al. 2017, Dynamic routing between capsules, https://arxiv.org/abs/1710.09829.
"""

import math

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ._registry import layers

TINY = 1e-9  # keeps the direction of a capsule of length 0 defined


def squash(s: Tensor) -> Tensor:
    """|s|^2 / (1 + |s|^2) s / |s| over the last dimension. Shape: [..., D] -> the same."""
    squared = s.square().sum(-1, keepdim=True)
    return s * (squared / (1 + squared) / (squared + TINY).sqrt())


def margin_loss(lengths: Tensor, targets: Tensor, *, present: float = 0.9, absent: float = 0.1, weight: float = 0.5) -> Tensor:
    """The loss of the paper: the capsule of the class long, all others short; several classes may be there at once.

        L = mean over images of sum_k  T_k max(0, present - l_k)^2 + weight (1 - T_k) max(0, l_k - absent)^2

    Shape: lengths [B, K] from 0 to 1, targets int64 [B] -> scalar
    """
    there = nn.functional.one_hot(targets, lengths.shape[1]).to(lengths.dtype)
    missed = (present - lengths).clamp(min=0).square()
    invented = (lengths - absent).clamp(min=0).square()
    return (there * missed + weight * (1 - there) * invented).sum(1).mean()


@layers(paper="arxiv:1710.09829")
class PrimaryCapsules(nn.Module):
    """A convolution whose outputs are read as `types` capsules of `dim` units at every place of its map, squashed.

    Shape: [B, in_channels, H, W] -> [B, types * H' * W', dim], H' = (H - kernel) // stride + 1
    """

    def __init__(self, in_channels: int, types: int, dim: int = 8, *, kernel: int = 9, stride: int = 2) -> None:
        super().__init__()
        self.in_channels, self.types, self.dim, self.kernel, self.stride = in_channels, types, dim, kernel, stride
        self.conv = nn.Conv2d(in_channels, types * dim, kernel, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, types * H' * W', dim]."""
        y = self.conv(x).unflatten(1, (self.types, self.dim))
        return squash(y.flatten(3).transpose(2, 3).flatten(1, 2))

    def extra_repr(self) -> str:
        """Its arguments."""
        return f"{self.in_channels}, {self.types}, {self.dim}, kernel={self.kernel}, stride={self.stride}"


@layers(paper="arxiv:1710.09829")
class RoutedCapsules(nn.Module):
    """`out_capsules` of `out_dim` units from `in_capsules` of `in_dim`, by `iterations` of routing by agreement.

    The weights [in_capsules, out_capsules, out_dim, in_dim] are N(0, out_capsules^2 / (in_capsules out_dim)): before any
    agreement the sum that a capsule squashes is then as long as the capsules below are. The gradient runs through all iterations.

    Shape: [B, in_capsules, in_dim] -> [B, out_capsules, out_dim]

    Raises: UsageError unless all counts are at least 1.
    """

    def __init__(self, in_capsules: int, in_dim: int, out_capsules: int, out_dim: int = 16, *, iterations: int = 3) -> None:
        super().__init__()
        if min(in_capsules, in_dim, out_capsules, out_dim, iterations) < 1:
            got = f"{in_capsules} of {in_dim} -> {out_capsules} of {out_dim}, iterations={iterations}"
            raise UsageError(f"RoutedCapsules takes counts of at least 1, got {got}")
        self.in_capsules, self.in_dim = in_capsules, in_dim
        self.out_capsules, self.out_dim = out_capsules, out_dim
        self.iterations = iterations
        self.weight = nn.Parameter(torch.empty(in_capsules, out_capsules, out_dim, in_dim))
        nn.init.normal_(self.weight, std=out_capsules / math.sqrt(in_capsules * out_dim))

    def forward(self, u: Tensor) -> Tensor:
        """Shape: [B, in_capsules, in_dim] -> [B, out_capsules, out_dim]."""
        votes = torch.einsum("iodc,bic->biod", self.weight, u)
        belief = torch.zeros_like(votes[..., 0])
        pose = squash(torch.einsum("bio,biod->bod", belief.softmax(2), votes))
        for _ in range(self.iterations - 1):
            belief = belief + torch.einsum("biod,bod->bio", votes, pose)
            pose = squash(torch.einsum("bio,biod->bod", belief.softmax(2), votes))
        return pose

    def extra_repr(self) -> str:
        """Its arguments."""
        shape = f"{self.in_capsules}, {self.in_dim}, {self.out_capsules}, {self.out_dim}"
        return f"{shape}, iterations={self.iterations}"
