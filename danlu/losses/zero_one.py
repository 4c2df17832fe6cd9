"""0-1: the share of wrong answers. It is what one wants small, and nothing can learn from it: its slope is 0 wherever it has one.

    L = [argmax z != y];   of shares t:  L = 1 - t_(argmax z)

The other losses of classification stand for it: the hinge, the exponential loss (from above) and cross-entropy over log 2 lie
above it and have slopes.

Source: Wald 1950, Statistical decision functions; as a loss to be stood for: Bartlett et al. 2006, Convexity, classification, and
risk bounds, https://doi.org/10.1198/016214505000000907.
"""

from torch import Tensor

from ._check import class_shares
from ._registry import losses


@losses(task="judge", paper="doi:10.1198/016214505000000907")
def zero_one(outputs: Tensor, targets: Tensor) -> Tensor:
    """The share of wrong answers, 1 - accuracy; without a gradient.

    Shape: outputs [B, K], K >= 2, targets int64 [B] or float [B, K] -> scalar
    Raises: UsageError for other shapes.
    """
    shares = class_shares("zero_one", outputs, targets)
    return 1 - shares.gather(1, outputs.detach().argmax(1, keepdim=True)).mean()
