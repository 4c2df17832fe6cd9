"""Everything about a training that changes from step to step, and nothing else: what a checkpoint holds."""

import copy
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from . import optimizers
from .checkpoint import Tensors
from .config import TrainConfig
from .ema import Ema


@dataclass(frozen=True)
class Best:
    """The best weights so far, by validation."""

    score: float
    loss: float
    step: int
    weights: Tensors


class State:
    """Model, optimiser, average, position, sums since the last validation, history, best weights.

    `batch` is the number of images a step; `head` has the names of the parameters that may learn alone at first.
    `tensors()` and `facts()` are the state as tensors and as JSON; `load` takes both. The model's tensors are updated in place.
    """

    def __init__(self, model: nn.Module, config: TrainConfig, *, batch: int | None = None, head: Collection[str] = ()) -> None:
        self.model = model.train()
        self.frozen = optimizers.freeze(model, config.rates, config.bias_rate)
        images = batch or config.batch(optimizers.REFERENCE_BATCH)
        self.base_rate = optimizers.default_rate(config.optimizer, images, model, lr=config.lr, scaling=config.scaling)
        self.optimizer = optimizers.build(config.optimizer, model, **{**config.to_json(), "lr": self.base_rate})
        self.head_first = config.head_first
        self.trunk = [parameter for name, parameter in model.named_parameters() if parameter.requires_grad and name not in head]
        if not config.head_first:
            self.trunk = []
        elif not any(parameter.requires_grad and name in head for name, parameter in model.named_parameters()):
            raise UsageError("head_first needs a last layer that learns; its parameters have requires_grad=False, or a rate of 0")
        self.ema = Ema(model, config.ema) if config.ema else None
        self.step = 0
        self.gathered = 0  # batches since the last update
        self.halvings = 0
        self.history: list[dict[str, Any]] = []
        self.best: Best | None = None
        self.worse = 0  # validations since the best one
        self.stopped_early = False
        device = next(model.parameters()).device
        self.loss_sum, self.score_sum = torch.zeros((), device=device), torch.zeros((), device=device)
        self.images = 0

    def set_rate(self, factor: float) -> float:
        """Set and return the learning rate of the coming step."""
        rate = self.base_rate * 0.5**self.halvings * factor
        optimizers.set_rate(self.optimizer, rate)
        return rate

    def stage(self, total: int) -> None:
        """Let the head alone learn in its share of the training, and everything after it."""
        learns = self.step >= self.head_first * total
        if self.trunk and self.trunk[0].requires_grad != learns:
            for parameter in self.trunk:
                parameter.requires_grad_(learns)

    def gather(self, batches: int, last: bool) -> bool:
        """A gradient has come: whether it is time for an update, from `batches` on. Then the gradients become their mean."""
        self.gathered += 1
        if self.gathered < batches and not last:
            return False
        if self.gathered > 1:
            torch._foreach_div_([p.grad for p in self._trained() if p.grad is not None], float(self.gathered))
        self.gathered = 0
        return True

    def thaw(self) -> None:
        """Give the parameters that were frozen their gradients back, and take the optimiser's hooks off: both are the
        training's, not the network's.
        """
        for parameter in (*self.frozen, *self.trunk):
            parameter.requires_grad_(True)
        optimizers.release(self.optimizer)

    def count(self, loss: Tensor, score: Tensor, images: int) -> None:
        """A step was made. Sums stay on the device: reading one would wait for it."""
        self.loss_sum += loss.detach() * images
        self.score_sum += score
        self.images += images
        self.step += 1

    def means(self) -> tuple[float, float]:
        """Loss and score per image since the last call."""
        images = max(self.images, 1)
        loss, score = float(self.loss_sum) / images, float(self.score_sum) / images
        self.loss_sum.zero_()
        self.score_sum.zero_()
        self.images = 0
        return loss, score

    def losses_are_finite(self) -> bool:
        """Whether every loss since the last validation was a finite number."""
        return math.isfinite(float(self.loss_sum))

    def is_finite(self) -> bool:
        """Whether the losses and every weight are finite: a step after a good loss may still have spoilt the weights."""
        floats = [tensor for tensor in self.model.state_dict().values() if tensor.is_floating_point()]
        return self.losses_are_finite() and all(bool(tensor.isfinite().all()) for tensor in floats)

    def judged(self) -> nn.Module:
        """The model that is validated and kept: the average, where there is one."""
        return self.ema.sync() if self.ema else self.model

    def judge(self, score: float, loss: float, higher_is_better: bool) -> bool:
        """Take in a validation; True when it is the best. Of equal scores the one with the smaller loss is better."""
        mark = (score if higher_is_better else -score, -loss)
        if self.best is not None:
            old = (self.best.score if higher_is_better else -self.best.score, -self.best.loss)
            if mark <= old:
                self.worse += 1
                return False
        weights = {name: tensor.detach().clone() for name, tensor in self.judged().state_dict().items()}
        self.best = Best(score, loss, self.step, weights)
        self.worse = 0
        return True

    # What is stored.

    def tensors(self) -> Tensors:
        """Every tensor by name; they are the live ones."""
        found = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        if self.ema:
            found |= {f"ema.{name}": tensor for name, tensor in self.ema.sync().state_dict().items()}
        if self.best:
            found |= {f"best.{name}": tensor for name, tensor in self.best.weights.items()}
        for i, parameter in enumerate(self._trained()):
            for name, value in self.optimizer.state[parameter].items():
                if isinstance(value, Tensor):
                    found[f"optimizer.{i}.{name}"] = value
            if self.gathered and parameter.grad is not None:
                found[f"gathered.{i}"] = parameter.grad
        return {**found, "loss_sum": self.loss_sum, "score_sum": self.score_sum}

    def facts(self) -> dict[str, Any]:
        """Everything that is not a tensor."""
        best = {"score": self.best.score, "loss": self.best.loss, "step": self.best.step} if self.best else None
        return {
            "step": self.step, "halvings": self.halvings, "images": self.images, "history": self.history, "best": best,
            "worse": self.worse, "stopped_early": self.stopped_early, "gathered": self.gathered,
        }  # fmt: skip

    def snapshot(self) -> tuple[Tensors, dict[str, Any]]:
        """A copy in memory."""
        return {name: tensor.detach().clone() for name, tensor in self.tensors().items()}, copy.deepcopy(self.facts())

    def load(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Become a stored state. Raises UsageError when it is of another network or optimiser."""
        try:
            self.model.load_state_dict(under("model.", tensors))
            if self.ema:
                self.ema.model.load_state_dict(under("ema.", tensors))
            self._load_optimizer(tensors)
        except (RuntimeError, IndexError) as error:
            reason = str(error).split("\n")[-1].strip()
            raise UsageError(f"the checkpoint does not fit this network and these settings: {reason}") from error
        self.loss_sum.copy_(tensors["loss_sum"])
        self.score_sum.copy_(tensors["score_sum"])
        self.step, self.halvings, self.images = facts["step"], facts["halvings"], facts["images"]
        self.history, self.worse = copy.deepcopy(facts["history"]), facts["worse"]
        self.stopped_early = facts["stopped_early"]
        self.gathered = facts.get("gathered", 0)
        self.best = Best(**facts["best"], weights=under("best.", tensors)) if facts["best"] else None

    def _load_optimizer(self, tensors: Tensors) -> None:
        trained = self._trained()
        self.optimizer.state.clear()
        for key, tensor in under("optimizer.", tensors).items():
            number, _, name = key.partition(".")
            parameter = trained[int(number)]
            self.optimizer.state[parameter][name] = placed(tensor, parameter)
        self.optimizer.zero_grad()
        for number, tensor in under("gathered.", tensors).items():
            trained[int(number)].grad = placed(tensor, trained[int(number)])

    def _trained(self) -> list[nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]


def under(prefix: str, tensors: Tensors) -> Tensors:
    """The tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def placed(tensor: Tensor, parameter: nn.Parameter) -> Tensor:
    """A copy that lies as the parameter does: on its device, and in its memory layout where the shapes agree.

    Counters stay on the CPU, where the optimisers keep them.
    """
    if tensor.shape == parameter.shape:
        return torch.empty_like(parameter, requires_grad=False).copy_(tensor.detach())
    return tensor.detach().clone() if tensor.ndim == 0 else tensor.detach().clone().to(parameter.device)
