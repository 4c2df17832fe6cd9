"""K-FAC: natural gradient descent with a curvature that is a Kronecker product of two small matrices for each layer.

    F ~ A (x) G,   A = E[sum_t a a^T],   G = E[mean_t g g^T]         a: inputs with a 1 for the bias, g: gradients of the outputs
    D = (G + sqrt(damping) / pi I)^-1  dW  (A + pi sqrt(damping) I)^-1,   pi^2 = (tr A / dim A) / (tr G / dim G)
    v <- m v + nu D,   w <- (1 - lr weight_decay) w - lr v,   nu = min(1, sqrt(trust / sum lr^2 D . dW))

t runs over the places of a convolution (1 for a linear layer), a over the patches under its kernel. A and G are running means,
A <- e A + (1 - e) A_now with e = min(1 - 1 / k, decay) at the k-th. What is no linear layer or plain convolution (norms, grouped
convolutions, encoded weights, weights that layers share) takes the gradient for D.

What makes it cheap: the curvature changes slowly, so it is looked at in one of `every` steps and inverted in one of `refresh`.
A look takes `rows` places, one from each equal part of all places of the batch: an unbiased estimate. Layers of one shape are
inverted and multiplied together. What is left in each step are the two products of D.

Sources: Martens and Grosse 2015, https://arxiv.org/abs/1503.05671 (their T3 is `refresh`); Grosse and Martens 2016
(convolutions), https://arxiv.org/abs/1602.01407; stale factors: Osawa et al. 2019, https://arxiv.org/abs/1811.12019; the trust
region nu: Ba et al. 2017, https://openreview.net/forum?id=SkkTMpjex.
Differs: g is that of the labels (the empirical Fisher), where the paper draws labels from the net and needs a second backward
pass; momentum and damping are fixed, not found by line searches.
"""

import weakref
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import UsageError
from ._curvature import TINY, add, curved_layers, fold, gradient_of, has_ones, invert, patches, places, rows_of
from ._registry import Groups, above_zero, optimizers, shares


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
        self.layers: list[Any] = curved_layers(model, {id(p) for group in self.param_groups for p in group["params"]})
        self._stacks: dict[tuple[Any, ...], tuple[list[Tensor], Tensor]] = {}
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
        step = int(state.get("step", 0))
        if step % self.every:
            return
        total = output.numel() // len(layer.weight)  # places of all images
        chosen = places(total, self.rows, seed=step).to(x.device)
        with torch.autocast(x.device.type, enabled=False):
            seen = patches(layer, x, output, chosen).to(layer.weight.dtype)
            add(state, "a", seen.T @ seen * (total / len(output) / len(seen)))
        output.register_hook(partial(self._observe_gradient, layer, chosen))

    @torch.no_grad()
    def _observe_gradient(self, layer: Any, chosen: Tensor, gradient: Tensor) -> None:
        # The loss is a mean over the batch: the gradient of one image is that many times what arrives.
        seen = rows_of(layer, gradient, chosen).to(layer.weight.dtype) * len(gradient)
        add(self.state[layer.weight], "g", seen.T @ seen / len(seen))

    # The update.

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient; a closure is not called."""
        moves = self._natural()
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

    def _natural(self) -> dict[int, Tensor]:
        """The natural gradients nu D of weights and biases, by their ids, for all layers that have a gradient and were seen."""
        rate_of = {id(parameter): group["lr"] for group in self.param_groups for parameter in group["params"]}
        alike: dict[tuple[Any, ...], list[Any]] = {}
        due = []
        for layer in self.layers:
            if layer.weight.grad is None:
                continue
            state = self.state[layer.weight]
            step = state.setdefault("step", torch.zeros(()))
            fold(state, self.decay)
            if "a" not in state or "g" not in state:
                continue  # its weight is used, but the layer is not called
            if "a_inverse" not in state or int(step) % self.refresh == 0:
                due.append(state)
            step += 1
            biased = has_ones(layer)
            bias_rate = rate_of.get(id(layer.bias), 0.0) if biased else None
            alike.setdefault((len(state["g"]), len(state["a"]), rate_of[id(layer.weight)], bias_rate), []).append(layer)
        invert(due, self.damping)
        naturals = []
        reach = []
        for (_, _, rate, bias_rate), layers in alike.items():
            gradient = torch.stack([gradient_of(layer) for layer in layers])
            natural = self._stacked(layers, "g_inverse") @ gradient @ self._stacked(layers, "a_inverse")
            naturals.append(natural)
            product = (natural * gradient).sum((0, 1))  # for each input
            inputs = layers[0].weight[0].numel()
            reach.append(rate**2 * product[:inputs].sum())
            if bias_rate is not None:
                reach.append(bias_rate**2 * product[-1])
        if reach:
            nu = (self.trust / torch.stack(reach).sum().clamp_min(TINY)).sqrt().clamp_max(1.0)
            torch._foreach_mul_(naturals, nu)
        moves: dict[int, Tensor] = {}
        for layers, natural in zip(alike.values(), naturals, strict=True):
            for layer, move in zip(layers, natural, strict=True):
                moves[id(layer.weight)] = move[:, : layer.weight[0].numel()].reshape(layer.weight.shape)
                if has_ones(layer) and layer.bias.grad is not None:
                    moves[id(layer.bias)] = move[:, -1].contiguous()
        return moves

    def _stacked(self, layers: list[Any], name: str) -> Tensor:
        """An entry of the state of some layers as one tensor, which then holds their states. Shape: [N, M] each -> [L, N, M]."""
        held = [self.state[layer.weight][name] for layer in layers]
        key = (name, *map(id, layers))
        known, stack = self._stacks.get(key, ([], held[0]))
        if len(known) != len(held) or any(one is not other for one, other in zip(known, held, strict=True)):
            stack = torch.stack(held)
            for layer, one in zip(layers, stack, strict=True):
                self.state[layer.weight][name] = one
            self._stacks[key] = ([self.state[layer.weight][name] for layer in layers], stack)
        return stack


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


@optimizers(lr=0.02, growth=0.5, decay="decoupled", paper="arxiv:1503.05671")
def kfac(
    groups: Groups, *, lr: float, model: nn.Module, momentum: float, damping: float = 0.03, decay: float = 0.95,
    every: int = 5, refresh: int = 20, trust: float = 1e-3, rows: int = 1024,
) -> torch.optim.Optimizer:  # fmt: skip
    """Natural gradient with Kronecker-factored curvature, looked at in one of `every` steps, inverted in one of `refresh`.

    A look takes `rows` places of each layer, drawn from all images of the batch.

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
