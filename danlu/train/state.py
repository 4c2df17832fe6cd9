"""Everything about a training that changes from step to step, and nothing else: what a checkpoint holds."""

import copy
import math
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

    `tensors()` and `facts()` are the state as tensors and as JSON; `load` takes both. The model's tensors are updated in place.
    """

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        self.model = model.train()
        self.frozen = optimizers.freeze(model, config.rates)
        self.base_rate = config.lr or optimizers.default_rate(config.optimizer, config.batch_size, model)
        self.optimizer = optimizers.build(config.optimizer, model, **{**config.to_json(), "lr": self.base_rate})
        self.ema = Ema(model, config.ema) if config.ema else None
        self.step = 0
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

    def thaw(self) -> None:
        """Give the parameters that a rate of 0 froze their gradients back: freezing is the training's, not the network's."""
        for parameter in self.frozen:
            parameter.requires_grad_(True)

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
        return {**found, "loss_sum": self.loss_sum, "score_sum": self.score_sum}

    def facts(self) -> dict[str, Any]:
        """Everything that is not a tensor."""
        best = {"score": self.best.score, "loss": self.best.loss, "step": self.best.step} if self.best else None
        return {
            "step": self.step, "halvings": self.halvings, "images": self.images, "history": self.history, "best": best,
            "worse": self.worse, "stopped_early": self.stopped_early,
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
        self.best = Best(**facts["best"], weights=under("best.", tensors)) if facts["best"] else None

    def _load_optimizer(self, tensors: Tensors) -> None:
        trained = self._trained()
        self.optimizer.state.clear()
        for key, tensor in under("optimizer.", tensors).items():
            number, _, name = key.partition(".")
            parameter = trained[int(number)]
            if tensor.shape == parameter.shape:
                # In the memory layout of the weight, whatever the layout it was stored in.
                tensor = torch.empty_like(parameter).copy_(tensor)
            self.optimizer.state[parameter][name] = tensor.detach().clone()

    def _trained(self) -> list[nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]


def under(prefix: str, tensors: Tensors) -> Tensors:
    """The tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
