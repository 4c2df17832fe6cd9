"""Adam and its kin: momentum and a rate for each weight, both running means, both corrected for their start at 0.

    m <- beta1 m + (1 - beta1) g,   v <- beta2 v + (1 - beta2) g^2,   m' = m / (1 - beta1^t),   v' = v / (1 - beta2^t)

    adam      w <- w - lr m' / (sqrt(v') + eps)                      the decay is part of g
    adamw     w <- (1 - lr weight_decay) w - lr m' / (sqrt(v') + eps)
    amsgrad   v' = max of all v so far / (1 - beta2^t)
    adamax    u <- max(beta2 u, |g| + eps),   w <- w - lr m' / u
    nadam     w <- w - lr (mu_t g / (1 - prod mu_1..t) + mu_t+1 m / (1 - prod mu_1..t+1)) / (sqrt(v') + eps),
              mu_t = beta1 (1 - 0.96^(t psi) / 2)

Sources: Kingma and Ba 2014 (Adam, AdaMax), https://arxiv.org/abs/1412.6980; Loshchilov and Hutter 2017 (AdamW),
https://arxiv.org/abs/1711.05101; Reddi et al. 2018 (AMSGrad), https://openreview.net/forum?id=ryQu7f-RZ; Dozat 2016 (Nadam),
https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ.
Differs: AMSGrad corrects both means for their start, which its paper leaves out (torch does, and so its first steps are Adam's).
"""

import torch

from ._registry import Groups, above_zero, optimizers, shares

# torch's fused forms make the whole update in one pass over the weights, its foreach forms a pass for each operation: 0.18 s
# against 0.035 s for the VGG-16 of 32x32 pixels (65 million weights, AdamW, one thread). Adamax and NAdam have no fused form.


@optimizers(lr=1e-3, growth=0.5, decay="coupled", paper="arxiv:1412.6980")
def adam(groups: Groups, *, lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> torch.optim.Optimizer:
    """Momentum over the root of the running squared gradient, both without their bias towards 0.

    Raises: UsageError for a beta outside [0, 1), or unless eps > 0.
    """
    _check("adam", beta1, beta2, eps)
    return torch.optim.Adam(groups, lr=lr, betas=(beta1, beta2), eps=eps, fused=True)


@optimizers(lr=1e-3, growth=0.5, decay="decoupled", paper="arxiv:1711.05101")
def adamw(groups: Groups, *, lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> torch.optim.Optimizer:
    """Adam with the weight decay apart from the gradient.

    Raises: UsageError for a beta outside [0, 1), or unless eps > 0.
    """
    _check("adamw", beta1, beta2, eps)
    return torch.optim.AdamW(groups, lr=lr, betas=(beta1, beta2), eps=eps, fused=True)


@optimizers(lr=1e-3, growth=0.5, decay="coupled", paper="https://openreview.net/forum?id=ryQu7f-RZ")
def amsgrad(groups: Groups, *, lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> torch.optim.Optimizer:
    """Adam with the largest running squared gradient so far: the rate of a weight cannot rise again.

    Raises: UsageError for a beta outside [0, 1), or unless eps > 0.
    """
    _check("amsgrad", beta1, beta2, eps)
    return torch.optim.Adam(groups, lr=lr, betas=(beta1, beta2), eps=eps, amsgrad=True, fused=True)


@optimizers(lr=2e-3, growth=0.5, decay="coupled", paper="arxiv:1412.6980")
def adamax(groups: Groups, *, lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> torch.optim.Optimizer:
    """Adam with the largest recent gradient in place of the root mean square: no moment of it is higher.

    Raises: UsageError for a beta outside [0, 1), or unless eps > 0.
    """
    _check("adamax", beta1, beta2, eps)
    return torch.optim.Adamax(groups, lr=lr, betas=(beta1, beta2), eps=eps, foreach=True)


@optimizers(lr=2e-3, growth=0.5, decay="coupled", paper="https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ")
def nadam(
    groups: Groups, *, lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, psi: float = 0.004
) -> torch.optim.Optimizer:
    """Adam with Nesterov momentum; `psi` says how quickly the momentum grows to beta1.

    Raises: UsageError for a beta outside [0, 1), or unless eps and psi > 0.
    """
    _check("nadam", beta1, beta2, eps)
    above_zero("nadam", psi=psi)
    return torch.optim.NAdam(groups, lr=lr, betas=(beta1, beta2), eps=eps, momentum_decay=psi, foreach=True)


def _check(name: str, beta1: float, beta2: float, eps: float) -> None:
    shares(name, beta1=beta1, beta2=beta2)
    above_zero(name, eps=eps)
