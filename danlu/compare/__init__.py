"""Which settings are better? A grid under one budget with seeds, ranked on validation, tested for what is real, in one report."""

from .study import Comparison, compare, resume

__all__ = ["Comparison", "compare", "resume"]
