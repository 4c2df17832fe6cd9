"""What is the goal? A task owns the loss, the metric that decides, and how outputs are read."""

from ._registry import Task, tasks
from .classify import Classify, classify, distillation

__all__ = ["Classify", "Task", "classify", "distillation", "tasks"]
