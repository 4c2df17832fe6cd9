"""What a training says before it starts, where its settings are known to go badly together."""

from torch import nn

FEW = 16  # images a step: below it the statistics of a batch are noise (Wu & He 2018, figure 1)
BATCH_NORMS = nn.modules.batchnorm._BatchNorm


def small_batch_advice(model: nn.Module, batch: int) -> str | None:
    """A line for a net that normalises over batches which are too small for it; None where there is nothing to say.

    Source: Wu & He 2018, https://arxiv.org/abs/1803.08494.
    """
    from ..nn import BatchRenorm

    found = [module for module in model.modules() if isinstance(module, BATCH_NORMS) and not isinstance(module, BatchRenorm)]
    if batch >= FEW or not found:
        return None
    return (
        f"{len(found)} batch norms see {batch} images a step; below {FEW} their statistics are noise, and training and inference "
        f"differ: use a larger batch, swap_norm(to='group'), or swap_norm(to='batch_renorm')"
    )
