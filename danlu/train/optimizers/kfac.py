"""K-FAC: natural gradient descent with a curvature that is a Kronecker product of two small matrices for each layer.

    F ~ A (x) G,   A = E[sum_t a a^T],   G = E[mean_t g g^T]         a: inputs with a 1 for the bias, g: gradients of the outputs
    D = (G + sqrt(damping) / pi I)^-1  dW  (A + pi sqrt(damping) I)^-1,   pi^2 = (tr A / dim A) / (tr G / dim G)
    v <- m v + nu D,   w <- (1 - lr weight_decay) w - lr v,   nu = min(1, sqrt(trust / sum lr^2 D . dW))

t runs over the places of a convolution (1 for a linear layer), a over the patches under its kernel. A and G are running means,
A <- e A + (1 - e) A_now with e = min(1 - 1 / k, decay) at the k-th, and A_now is a mean over the first images of a batch, as
many as have `rows` places: the full products would cost more than the step. What is no linear layer or plain convolution
(norms, grouped convolutions, encoded weights, weights that layers share) takes the gradient for D.

Sources: Martens and Grosse 2015, https://arxiv.org/abs/1503.05671; Grosse and Martens 2016 (convolutions),
https://arxiv.org/abs/1602.01407; the trust region nu: Ba et al. 2017, https://openreview.net/forum?id=SkkTMpjex.
Differs: g is that of the labels (the empirical Fisher), where the paper draws labels from the net and needs a second backward
pass; momentum and damping are fixed, not found by line searches.
"""

import weakref
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...errors import UsageError
from ._registry import Groups, above_zero, optimizers, shares

TINY = 1e-30


class KFAC(torch.optim.Optimizer):
    """Reads inputs and output gradients of the layers of `model` by hooks, until `release`.

    The loss must be a mean over the images of a batch. State of a layer, kept with its weight: `step`, running factors `a` and
    `g` with their number `folds`, inverses `a_inverse` and `g_inverse`, and between steps the sums `a_sum`, `g_sum` of
    what was seen in `a_seen`, `g_seen` passes; of every parameter: `velocity`. All are tensors.
    """

    def __init__(
        self, groups: Groups, model: nn.Module, *, lr: float, momentum: float, damping: float, decay: float, every: int,
        refresh: int, trust: float, rows: int,
    ) -> None:  # fmt: skip
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0})
        self.momentum, self.damping, self.decay, self.trust = momentum, damping, decay, trust
        self.every, self.refresh, self.rows = every, refresh, rows
        self.layers = curved_layers(model, {id(p) for group in self.param_groups for p in group["params"]})
        self._hooks = [layer.register_forward_hook(_Watch(self, layer)) for layer in self.layers]

    def release(self) -> None:
        """Take the hooks off the model."""
        for hook in self._hooks:
            hook.remove()

    # What the hooks see.

    @torch.no_grad()
    def observe(self, layer: Any, x: Tensor, output: Tensor) -> None:
        """Take in the inputs of a layer now and the gradient of its output on the way back, in the steps that are looked at."""
        state = self.state[layer.weight]
        if int(state.get("step", 0)) % self.every == 0:
            with torch.autocast(x.device.type, enabled=False):
                images = self._looked_at(layer, output)
                rows = patches(layer, x[:images].to(layer.weight.dtype))
                _add(state, "a", rows.T @ rows / images)
            output.register_hook(partial(self._observe_gradient, layer))

    @torch.no_grad()
    def _observe_gradient(self, layer: Any, gradient: Tensor) -> None:
        images = self._looked_at(layer, gradient)
        # The loss is a mean over the batch: the gradient of one image is that many times what arrives.
        seen = (gradient[:images] * len(gradient)).to(layer.weight.dtype)
        rows = (seen.movedim(1, -1) if isinstance(layer, nn.Conv2d) else seen).flatten(0, -2)
        _add(self.state[layer.weight], "g", rows.T @ rows / len(rows))

    def _looked_at(self, layer: Any, output: Tensor) -> int:
        """How many images of a batch are looked at."""
        places = output[0].numel() // len(layer.weight)
        return min(len(output), -(-self.rows // places))

    # The update.

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient; a closure is not called."""
        rate_of = {id(parameter): group["lr"] for group in self.param_groups for parameter in group["params"]}
        moves: dict[int, Tensor] = {}
        reach: list[Tensor] = []
        for layer in self.layers:
            for parameter, gradient, move in self._natural(layer):
                moves[id(parameter)] = move
                reach.append(rate_of[id(parameter)] ** 2 * (move * gradient).sum())
        if reach:
            nu = (self.trust / torch.stack(reach).sum().clamp_min(TINY)).sqrt().clamp_max(1.0)
            torch._foreach_mul_(list(moves.values()), nu)
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            for parameter in parameters:
                if "velocity" not in self.state[parameter]:
                    self.state[parameter]["velocity"] = torch.zeros_like(parameter)
            velocities = [self.state[parameter]["velocity"] for parameter in parameters]
            torch._foreach_mul_(velocities, self.momentum)
            torch._foreach_add_(velocities, [moves.get(id(parameter), parameter.grad) for parameter in parameters])
            if group["weight_decay"]:
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(parameters, velocities, alpha=-group["lr"])

    def _natural(self, layer: Any) -> list[tuple[nn.Parameter, Tensor, Tensor]]:
        """A layer's weight and bias, each with its gradient and its natural gradient; nothing where there is no gradient."""
        if layer.weight.grad is None:
            return []
        state = self.state[layer.weight]
        step = state.setdefault("step", torch.zeros(()))
        fold(state, self.decay)
        if "a" not in state or "g" not in state:
            return []  # its weight is used, but the layer is not called
        if "a_inverse" not in state or int(step) % self.refresh == 0:
            state["a_inverse"], state["g_inverse"] = damped_inverses(state["a"], state["g"], self.damping)
        step += 1
        gradient = layer.weight.grad.flatten(1)
        biased = has_ones(layer)
        if biased:
            bias = layer.bias.grad if layer.bias.grad is not None else torch.zeros_like(layer.bias)
            gradient = torch.cat([gradient, bias[:, None]], 1)
        natural = state["g_inverse"] @ gradient @ state["a_inverse"]
        moves = [(layer.weight, layer.weight.grad, natural[:, : layer.weight[0].numel()].reshape(layer.weight.shape))]
        if biased and layer.bias.grad is not None:
            moves.append((layer.bias, layer.bias.grad, natural[:, -1].contiguous()))
        return moves


class _Watch:
    """The forward hook of a layer. It holds nothing, so that a copy of the model neither carries the optimiser nor feeds it."""

    def __init__(self, optimizer: KFAC, layer: nn.Module) -> None:
        self._optimizer = weakref.ref(optimizer)
        self._layer: Any = weakref.ref(layer)

    def __call__(self, layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Pass a training pass on to the optimiser."""
        optimizer = self._optimizer()
        if optimizer is None or layer is not self._layer() or not layer.training:
            return
        if output.requires_grad and layer.weight.requires_grad:
            optimizer.observe(layer, inputs[0].detach(), output)


def curved_layers(model: nn.Module, held: set[int]) -> list[nn.Module]:
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


def patches(layer: Any, x: Tensor) -> Tensor:
    """The inputs of every output, with a 1 for the bias. Shape: [B, C, H, W] or [B, ..., N] -> [B places, C kh kw (+ 1)]."""
    if isinstance(layer, nn.Conv2d):
        window = {"padding": layer.padding, "dilation": layer.dilation, "stride": layer.stride}
        rows = functional.unfold(x, layer.kernel_size, **window).transpose(1, 2).flatten(0, 1)  # type: ignore[arg-type]
    else:
        rows = x.flatten(0, -2)
    return torch.cat([rows, rows.new_ones(len(rows), 1)], 1) if has_ones(layer) else rows


def _add(state: dict[str, Tensor], factor: str, seen: Tensor) -> None:
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


def damped_inverses(a: Tensor, g: Tensor, damping: float) -> tuple[Tensor, Tensor]:
    """(A + pi sqrt(damping) I)^-1 and (G + sqrt(damping) / pi I)^-1. Shape: [N, N], [M, M] -> the same."""
    pi = ((a.trace() / len(a)).clamp_min(TINY) / (g.trace() / len(g)).clamp_min(TINY)).sqrt()
    return inverse(a, pi * damping**0.5), inverse(g, damping**0.5 / pi)


def inverse(matrix: Tensor, ridge: Tensor) -> Tensor:
    """(matrix + ridge I)^-1 of a symmetric matrix without negative eigenvalues. What is not finite stays so: no error."""
    one = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    lower = torch.linalg.cholesky_ex(matrix + ridge * one)[0]
    # Contiguous: products of a matrix that came back from a checkpoint must round as those of the first one did.
    return torch.cholesky_solve(one, lower).contiguous()


@optimizers(lr=0.02, growth=0.5, decay="decoupled", paper="arxiv:1503.05671")
def kfac(
    groups: Groups, *, lr: float, model: nn.Module, momentum: float, damping: float = 0.03, decay: float = 0.95,
    every: int = 5, refresh: int = 20, trust: float = 1e-3, rows: int = 4096,
) -> torch.optim.Optimizer:  # fmt: skip
    """Natural gradient with Kronecker-factored curvature, looked at in each of `every` steps, inverted in each of `refresh`.

    Raises: UsageError for momentum or decay outside [0, 1), unless damping and trust > 0, and every, refresh and rows >= 1.
    """
    shares("kfac", momentum=momentum, decay=decay)
    above_zero("kfac", damping=damping, trust=trust)
    if min(every, refresh, rows) < 1:
        raise UsageError(f"kfac: every, refresh and rows are whole numbers from 1, got {every}, {refresh} and {rows}")
    return KFAC(
        groups, model, lr=lr, momentum=momentum, damping=damping, decay=decay, every=every, refresh=refresh, trust=trust,
        rows=rows,
    )  # fmt: skip
