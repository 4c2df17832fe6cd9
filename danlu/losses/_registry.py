"""Where losses register: `@losses(task="classify", paper="arxiv:...")`.

    loss(outputs, targets, *, options...) -> scalar Tensor, the mean over the batch

Facts: `task` says what it judges:

    classify    outputs [B, K] logits; targets int64 [B] classes, or float [B, K] shares of each class (mixed or smoothed labels)
    regress     outputs and targets float of one shape
    perceive    outputs and targets images [B, C, H, W], and a function `features` from images to maps
    embed       outputs [B, D] embeddings; targets int64 [B] identities
    generate    outputs the critic's scores of generated images, targets those of real ones (None where `side` is "generator"),
                and what else the loss names
    judge       outputs and targets as of classify; has no gradient, so that nothing learns from it

`fit` trains with those of classify; the others are functions for a loop of one's own. `paper` is the source; `head` is True where
the loss needs a classifier of its own, see large_margin_softmax.py. The options are keyword-only and literal: a setting writes
them, as in "focal(gamma=2)".
"""

from collections.abc import Callable

from torch import Tensor

from ..registry import Registry

TASKS = ("classify", "regress", "perceive", "embed", "generate", "judge")

losses: Registry[Callable[..., Tensor]] = Registry("loss")
