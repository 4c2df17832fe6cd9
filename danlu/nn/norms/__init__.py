"""Normalisations of features by name, with options: `norms`. torch's modules where torch has them."""

from ._registry import Place, find, norms
from ._running import RunningNorm
from .batch_renorm import BatchRenorm
from .generalised import GeneralisedBatchNorm
from .l1 import L1BatchNorm
from .torch_kinds import largest_divisor

__all__ = ["BatchRenorm", "GeneralisedBatchNorm", "L1BatchNorm", "Place", "RunningNorm", "find", "largest_divisor", "norms"]
