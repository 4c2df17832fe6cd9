"""What a network is asked to make small: losses, one idea a file."""

from . import (  # noqa: F401  (each registers its losses)
    cross_entropy,
    distances,
    focal,
    kl,
    large_margin_softmax,
    margins,
    sigmoid_cross_entropy,
    zero_one,
)
from ._registry import TASKS, losses
from .adversarial import least_squares, loss_sensitive, minimax, non_saturating
from .contrastive import contrastive, contrastive_pairs
from .perceptual import Features, perceptual
from .robust import AdaptiveRobust, robust
from .triplet import triplet, triplets
from .wasserstein import clip_weights, gradient_norms, wasserstein, wgan_gp
from .weighted_cross_entropy import balanced_weights

__all__ = [
    "TASKS",
    "AdaptiveRobust",
    "Features",
    "balanced_weights",
    "clip_weights",
    "contrastive",
    "contrastive_pairs",
    "gradient_norms",
    "least_squares",
    "loss_sensitive",
    "losses",
    "minimax",
    "non_saturating",
    "perceptual",
    "robust",
    "triplet",
    "triplets",
    "wasserstein",
    "wgan_gp",
]
