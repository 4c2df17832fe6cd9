"""AdaBound: Adam at the start, SGD with momentum in the end: the rate of each weight is kept within bounds that close.

    m, v as Adam's,   a = lr sqrt(1 - beta2^t) / (1 - beta1^t)
    low(t) = final lr (1 - 1 / (gamma t + 1)),   high(t) = final lr (1 + 1 / (gamma t))
    w <- w - min(max(a / (sqrt(v) + eps), low(t)), high(t)) m

Source: Luo et al. 2019, https://arxiv.org/abs/1902.09843.
Differs: as in the authors' code the rates are not divided by sqrt(t), and a carries the corrections of both means. `final`
is a multiple of the rate (theirs: 0.1 at lr=0.001, so 100), which makes the bounds follow any schedule.
"""

from typing import Any

import torch
from torch import Tensor

from ._registry import Groups, above_zero, optimizers, shares


class AdaBound(torch.optim.Optimizer):
    """State of a parameter: `step`, `mean` and `square`, all tensors."""

    def __init__(
        self, groups: Groups, *, lr: float, beta1: float, beta2: float, final: float, gamma: float, eps: float
    ) -> None:  # fmt: skip
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0})
        self.beta1, self.beta2, self.final, self.gamma, self.eps = beta1, beta2, final, gamma, eps

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient; a closure is not called."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if parameters:
                self._update(parameters, group["lr"], group["weight_decay"])

    def _update(self, parameters: list[Tensor], lr: float, weight_decay: float) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter] = {
                    "step": torch.zeros(()), "mean": torch.zeros_like(parameter), "square": torch.zeros_like(parameter),
                }  # fmt: skip
        states = [self.state[parameter] for parameter in parameters]
        means, squares = [state["mean"] for state in states], [state["square"] for state in states]
        # A tensor, so that the number is wrapped once and not for every step anew.
        torch._foreach_add_([state["step"] for state in states], torch.ones(()), alpha=1.0)
        times = [float(state["step"]) for state in states]

        gradients: list[Any] = [parameter.grad for parameter in parameters]
        if weight_decay:
            gradients = list(torch._foreach_add(gradients, parameters, alpha=weight_decay))
        torch._foreach_lerp_(means, gradients, 1 - self.beta1)
        torch._foreach_mul_(squares, self.beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - self.beta2)

        rates = [lr * (1 - self.beta2**t) ** 0.5 / (1 - self.beta1**t) for t in times]
        lows = [self.final * lr * (1 - 1 / (self.gamma * t + 1)) for t in times]
        highs = [self.final * lr * (1 + 1 / (self.gamma * t)) for t in times]
        # rate / divisor within [low, high]: the same as a divisor within [rate / high, rate / low], and one pass less.
        divisors = torch._foreach_sqrt(squares)
        torch._foreach_add_(divisors, self.eps)
        if lr:
            torch._foreach_clamp_min_(divisors, [rate / high for rate, high in zip(rates, highs, strict=True)])
            torch._foreach_clamp_max_(divisors, [rate / low for rate, low in zip(rates, lows, strict=True)])
        torch._foreach_addcdiv_(parameters, means, divisors, [-rate for rate in rates])


@optimizers(lr=1e-3, growth=0.5, decay="coupled", paper="arxiv:1902.09843")
def adabound(
    groups: Groups, *, lr: float, beta1: float = 0.9, beta2: float = 0.999, final: float = 100.0, gamma: float = 1e-3,
    eps: float = 1e-8,
) -> torch.optim.Optimizer:  # fmt: skip
    """Adam whose rates are bounded more and more tightly, at last to `final` times the rate; `gamma` says how soon.

    Raises: UsageError for a beta outside [0, 1), or unless final, gamma and eps > 0.
    """
    shares("adabound", beta1=beta1, beta2=beta2)
    above_zero("adabound", final=final, gamma=gamma, eps=eps)
    return AdaBound(groups, lr=lr, beta1=beta1, beta2=beta2, final=final, gamma=gamma, eps=eps)
