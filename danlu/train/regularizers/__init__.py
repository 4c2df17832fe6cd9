"""What keeps a network from learning its training images by heart, one idea a file.

Found elsewhere, because they are something else: weight decay is the optimiser's, early stopping the setting `patience`, blended,
covered and relabelled images are mixings, stochastic pooling is part of a net (`danlu.nn.StochasticPool2d`; the edit
`swap_pool(to="stochastic")`), for it pools differently at inference too; an ensemble of snapshots is the setting `snapshots`.
"""

from . import backdrop, dropconnect, dropout, l1, l2, max_norm, stochastic_depth  # noqa: F401  (each registers itself)
from ._registry import Regularizer, regularizers

__all__ = ["Regularizer", "regularizers"]
