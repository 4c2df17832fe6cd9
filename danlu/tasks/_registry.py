"""Where tasks register: `@tasks()` on a function that builds one from a source's classes and the training settings.

A task owns what is asked of a network: the loss, the primary metric with its direction, and how outputs are read. The training
loop and the evaluation talk to the task, never to a loss of their own.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor

from ..registry import Registry


class Task(ABC):
    """What a task provides. `primary` names the metric that picks the best weights; the history calls it val_<primary>."""

    primary: str
    higher_is_better: bool

    @abstractmethod
    def check(self, outputs: Tensor) -> None:
        """Raise UsageError when a network's outputs cannot be those of this task."""

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor, teacher: Tensor | None = None) -> Tensor:
        """The scalar to minimise; `teacher` holds the outputs of a teacher for the same batch."""

    @abstractmethod
    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The primary metric summed over the images of a batch, as a scalar tensor; its mean over a split is the metric."""

    @abstractmethod
    def decode(self, outputs: Tensor) -> list[dict[str, Any]]:
        """One answer for people per image."""


tasks: Registry[Callable[..., Task]] = Registry("task")
