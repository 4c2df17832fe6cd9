"""The two Kronecker factors of a layer's curvature: what is seen at some places, its running means, and their damped inverses.

    A = E[sum_t a a^T],   G = E[mean_t g g^T]                      a: inputs, with a 1 for the bias; g: gradients of the outputs
    A <- e A + (1 - e) A_now,   e = min(1 - 1 / k, decay) at the k-th
    (A + pi sqrt(damping) I)^-1,   (G + sqrt(damping) / pi I)^-1,   pi^2 = (tr A / dim A) / (tr G / dim G)

t runs over the places of a convolution, 1 for a linear layer.
Source: Martens and Grosse 2015, https://arxiv.org/abs/1503.05671; Grosse and Martens 2016, https://arxiv.org/abs/1602.01407.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

TINY = 1e-30


def curved_layers(model: nn.Module, held: set[int]) -> list[Any]:
    """The layers that have factors: linear layers and plain convolutions with a weight of their own, which is among `held`."""
    users: dict[int, int] = {}
    for module in model.modules():
        for parameter in module._parameters.values():
            users[id(parameter)] = users.get(id(parameter), 0) + 1

    def curved(layer: nn.Module) -> bool:
        if isinstance(layer, nn.Conv2d):
            plain = layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
        else:
            plain = isinstance(layer, nn.Linear)
        weight = layer._parameters.get("weight")  # an encoded weight is computed, and not here
        return plain and weight is not None and id(weight) in held and users[id(weight)] == 1

    return [layer for layer in model.modules() if curved(layer)]


def has_ones(layer: Any) -> bool:
    """Whether the inputs of a layer get a 1 for its bias. Not if the bias stays as it is."""
    return layer.bias is not None and layer.bias.requires_grad


@lru_cache(maxsize=16)  # layers of one size look at the same places
def places(total: int, rows: int, seed: int) -> Tensor:
    """Which places to look at: all, or one drawn from each of `rows` equal parts, so that each is as likely as any other.

    Shape: int64 [min(total, rows)]
    """
    if total <= rows:
        return torch.arange(total)
    draws = torch.rand(rows, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return ((torch.arange(rows) + draws) * (total / rows)).long().clamp_(max=total - 1)


def patches(layer: Any, x: Tensor, output: Tensor, chosen: Tensor) -> Tensor:
    """The inputs of the chosen outputs, with a 1 for the bias.

    Shape: x [B, C, H, W] or [B, ..., N], output [B, M, H', W'] or [B, ..., M], chosen int64 [R] -> [R, C kh kw (+ 1)]
    """
    if isinstance(layer, nn.Conv2d):
        image, top, left = located(output, chosen)
        window: Any = layer
        (kh, kw), (sh, sw), (dh, dw), (ph, pw) = window.kernel_size, window.stride, window.dilation, window.padding
        down = (top * sh)[:, None, None] + dh * torch.arange(kh, device=x.device)[:, None]
        along = (left * sw)[:, None, None] + dw * torch.arange(kw, device=x.device)
        padded = functional.pad(x, (pw, pw, ph, ph)).permute(0, 2, 3, 1)
        rows = padded[image[:, None, None], down, along].permute(0, 3, 1, 2).flatten(1)
    else:
        rows = x.flatten(0, -2)[chosen]
    return torch.cat([rows, rows.new_ones(len(rows), 1)], 1) if has_ones(layer) else rows


def rows_of(layer: Any, output: Tensor, chosen: Tensor) -> Tensor:
    """The chosen outputs, or gradients of them. Shape: [B, M, H', W'] or [B, ..., M], int64 [R] -> [R, M]."""
    if not isinstance(layer, nn.Conv2d):
        return output.flatten(0, -2)[chosen]
    image, down, along = located(output, chosen)
    return output[image, :, down, along]


def located(output: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Image, row and column of places that are numbered through the batch. Shape: [B, M, H', W'], int64 [R] -> [R] each."""
    height, width = output.shape[2:]
    return chosen // (height * width), chosen // width % height, chosen % width


def gradient_of(layer: Any) -> Tensor:
    """The gradient of a layer's weight, with that of the bias as its last column. Shape: [M, N (+ 1)]."""
    gradient = layer.weight.grad.flatten(1)
    if not has_ones(layer):
        return gradient
    bias = layer.bias.grad if layer.bias.grad is not None else torch.zeros_like(layer.bias)
    return torch.cat([gradient, bias[:, None]], 1)


def add(state: dict[str, Tensor], factor: str, seen: Tensor) -> None:
    """Add what one pass saw to the sum of a factor."""
    if f"{factor}_sum" in state:
        state[f"{factor}_sum"] += seen
        state[f"{factor}_seen"] += 1
    else:
        state[f"{factor}_sum"], state[f"{factor}_seen"] = seen, torch.ones(())


def fold(state: dict[str, Tensor], decay: float) -> None:
    """Move what was seen since the last step into the running means: the first in full, the k-th by max(1 / k, 1 - decay)."""
    if "a_sum" not in state or "g_sum" not in state:
        return
    folds = state.setdefault("folds", torch.zeros(()))
    folds += 1
    for factor in ("a", "g"):
        now = state.pop(f"{factor}_sum") / float(state.pop(f"{factor}_seen"))
        state[factor] = now if factor not in state else state[factor].lerp_(now, max(1 / float(folds), 1 - decay))


def invert(states: list[dict[str, Tensor]], damping: float) -> None:
    """Fill in (A + pi sqrt(damping) I)^-1 and (G + sqrt(damping) / pi I)^-1; matrices of one size are inverted together."""
    matrices: dict[int, list[tuple[dict[str, Tensor], str, Tensor]]] = {}
    for state in states:
        a, g = state["a"], state["g"]
        pi = ((a.trace() / len(a)).clamp_min(TINY) / (g.trace() / len(g)).clamp_min(TINY)).sqrt()
        for factor, ridge in (("a", pi * damping**0.5), ("g", damping**0.5 / pi)):
            matrices.setdefault(len(state[factor]), []).append((state, factor, ridge))
    for same in matrices.values():
        found = inverse(torch.stack([state[factor] for state, factor, _ in same]), torch.stack([ridge for *_, ridge in same]))
        for (state, factor, _), one in zip(same, found, strict=True):
            state[f"{factor}_inverse"] = one


def inverse(matrices: Tensor, ridges: Tensor) -> Tensor:
    """(matrix + ridge I)^-1 of symmetric matrices without negative eigenvalues; of others NaN. They are overwritten.

    Shape: [L, N, N], [L] -> [L, N, N]
    """
    matrices.diagonal(dim1=1, dim2=2).add_(ridges[:, None])
    lower, failed = torch.linalg.cholesky_ex(matrices)
    # NaN is seen, and the step undone and tried at a lower rate; half a factorisation would pass for an inverse.
    return torch.cholesky_inverse(lower.masked_fill_((failed != 0)[:, None, None], torch.nan)).contiguous()
