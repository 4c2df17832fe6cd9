"""Dropout: each unit, or each whole feature map, is away at random in training, so that none relies on a particular other one.

    training   y = b x / (1 - rate),   b = 0 with probability `rate`, else 1        inference   y = x

    dropout           one b for each value
    spatial_dropout   one b for each map: neighbouring pixels of a map say nearly the same, so that dropping single ones drops
                      little of what it shows

In front of the layers that `at` means (see `_places.py`); nothing of it stays in the trained net. A net with dropout layers of
its own has both.

Source: Srivastava et al. 2014, Dropout, https://jmlr.org/papers/v15/srivastava14a.html; spatial: Tompson et al. 2014,
https://arxiv.org/abs/1411.4280.
Differs: the paper multiplies by 1 - rate at inference; dividing in training gives the same mean and costs nothing later.
"""

from functools import partial

import torch

from ._places import Inserted, check_rate
from ._registry import regularizers


@regularizers(paper="https://jmlr.org/papers/v15/srivastava14a.html")
def dropout(*, rate: float = 0.5, at: str = "last") -> Inserted:
    """Drop values at random in front of the "last" layer, the "linear" or "conv" layers, "all", or those a pattern names.

    Raises: UsageError unless 0 < rate < 1, and for a place that the net does not have.
    """
    check_rate("dropout", rate)
    return Inserted("dropout", at, partial(torch.dropout, p=rate, train=True))


@regularizers(paper="arxiv:1411.4280")
def spatial_dropout(*, rate: float = 0.1, at: str = "conv") -> Inserted:
    """Drop whole feature maps at random in front of the "conv" layers, "all", or those a pattern names.

    Raises: UsageError unless 0 < rate < 1, and for a place that the net does not have.
    """
    check_rate("spatial_dropout", rate)
    return Inserted("spatial_dropout", at, partial(torch.feature_dropout, p=rate, train=True))
