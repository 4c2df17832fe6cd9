"""Where losses register: `@losses(task="classify", paper="arxiv:...")`.

    loss(outputs, targets, *, options...) -> scalar Tensor, the mean over the batch

Facts: `task` says what it judges:

    classify    outputs [B, K] logits; targets int64 [B] classes, or float [B, K] shares of each class (mixed or smoothed labels)
    regress     outputs and targets float of one shape
    embed       outputs [B, D] embeddings; targets int64 [B] identities
    generate    outputs [B] or [B, 1] scores of a critic, and what else the loss names: used by functions, not by `fit`

`paper` is the source. The options are keyword-only and literal: a setting writes them, as in "focal(gamma=2)".
"""

from collections.abc import Callable

from torch import Tensor

from ..registry import Registry

TASKS = ("classify", "regress", "embed", "generate")

losses: Registry[Callable[..., Tensor]] = Registry("loss")
