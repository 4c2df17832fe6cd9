"""Random numbers of mixings: all from a generator of the step."""

import torch


def beta(alpha: float, generator: torch.Generator) -> float:
    """One draw of Beta(alpha, alpha): a ratio of two gamma draws, which torch draws from a generator of ours."""
    draws = torch._standard_gamma(torch.full((2,), alpha), generator=generator)
    total = float(draws.sum())
    return float(draws[0]) / total if total > 0 else 1.0
