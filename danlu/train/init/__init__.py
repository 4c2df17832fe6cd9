"""Where weights start from, one idea a file."""

from . import autoencoder, constant, he, kumar, lsuv, normal, orthogonal, rbm, uniform, xavier  # noqa: F401  (each registers itself)
from ._registry import CONTEXT, inits

__all__ = ["CONTEXT", "inits"]
