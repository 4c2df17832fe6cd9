"""Which one is best? A budget, the space of candidates, and the study that finds the winner."""

from .budget import Budget
from .optimize import Result, optimize
from .sensitivity import Sensitivity, sensitivity

__all__ = ["Budget", "Result", "Sensitivity", "optimize", "sensitivity"]
