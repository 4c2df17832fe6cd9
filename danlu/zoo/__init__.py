"""Networks to start from, one family a file, each with its facts attached."""

from . import allconv, lenet, mobilenet_v1, resnet, resnet_cifar, squeezenet, vgg
from ._registry import models
from .create import create
from .weights import load_weights

__all__ = ["allconv", "create", "lenet", "load_weights", "mobilenet_v1", "models", "resnet", "resnet_cifar", "squeezenet", "vgg"]
