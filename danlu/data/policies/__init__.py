"""Augmentation by policy: which operations with which strength, drawn for each image of a batch.

A policy is a literal: sub-policies of (operation, probability, magnitude); one sub-policy is drawn for each image.
"""

from .autoaugment import CIFAR10, AutoAugment
from .operations import OPERATIONS, applied
from .randaugment import RandAugment

__all__ = ["CIFAR10", "OPERATIONS", "AutoAugment", "RandAugment", "applied"]
