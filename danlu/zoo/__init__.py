"""Networks to start from, one family a file, each with its facts attached."""

from . import allconv, googlenet, lenet, mobilenet_v1, resnet, resnet_cifar, squeezenet, vgg  # noqa: F401  (each registers its nets)
from ._registry import models
from .create import create
from .weights import load_weights

__all__ = ["create", "load_weights", "models"]
