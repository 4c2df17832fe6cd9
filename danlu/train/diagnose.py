"""What a net looks like before its first step: how much passes each layer, how much gradient comes back, what is saturated.

    outputs   var(W x + b)                          gradients   var(dL_i / d(W x + b)), L_i the loss of one image
    differs   the part of the outputs' mean square that is not the same for all images and places
    saturated the share of the values behind a tanh with |y| > 0.97 (behind a sigmoid within 0.015 of 0 or 1, where its slope is
              as small a part of the largest), or of the units of a ReLU that are active nowhere in the batch

All from one pass of training images forwards and back, batch norms on the statistics of the batch, dropout off.

A net learns from the start where the first three are of one size in all layers. Maps shrink on their way, and each place of a
smaller map gets the gradient of more images' places; so trends of gradients are judged by their sum over the places of a unit.

Source: Glorot and Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html (variances and saturation by layer).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from ..data import Source, batches
from ..errors import UsageError
from ..tasks import Task, classify
from .config import TrainConfig
from .init._layers import is_weighted
from .init._passes import as_first_step, hooked
from .job import initialise, private_copy
from .randomness import private_randomness

OWN = "own"  # the weights that the model comes with
# Where an activation has less than a seventeenth of its largest slope, by its output y.
SATURATED: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.Tanh: lambda y: y.abs() > 0.97,
    nn.Sigmoid: lambda y: (y - 0.5).abs() > 0.485,
    nn.Softsign: lambda y: y.abs() > 0.757,
    nn.Hardtanh: lambda y: y.abs() >= 1,
    nn.Hardsigmoid: lambda y: (y <= 0) | (y >= 1),
}
RECTIFIERS = (nn.ReLU, nn.ReLU6)


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer at the first step; `activation` is the one that is called next, "" where none is.

    `places` are those of a unit's map, 1 for a linear layer. `activations` is the variance behind the activation. `saturated` is
    None for activations that cannot be.
    """

    name: str
    kind: str
    activation: str
    places: int
    weight_std: float
    outputs: float
    differs: float
    activations: float
    gradients: float
    saturated: float | None
    alike: bool


@dataclass(frozen=True)
class Diagnosis:
    """A net behind one initialisation: the layers in the order in which images pass them; `loss` is that of the batch over
    log(classes), that of guessing; `normed` says whether the net has batch norms.

    `forward` is the factor of the variance of outputs from the first layer to the last hidden one, `backward` that of gradients
    the other way, both by a line through the logarithms; None where there is too little to draw one.
    """

    init: str
    loss: float
    normed: bool
    layers: tuple[Layer, ...]

    @property
    def hidden(self) -> tuple[Layer, ...]:
        """All but the last layer, which answers."""
        return self.layers[:-1]

    @property
    def forward(self) -> float | None:
        return trend([layer.outputs for layer in self.hidden])

    @property
    def backward(self) -> float | None:
        return trend([layer.gradients * layer.places for layer in reversed(self.hidden)])

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; None for those that are not finite."""
        rows = [{key: finite(value) for key, value in asdict(layer).items()} for layer in self.layers]
        facts = {"loss": finite(self.loss), "normed": self.normed, "forward": self.forward, "backward": self.backward}
        return {"init": self.init, **facts, "layers": rows}


def finite(value: Any) -> Any:
    """The value, or None for a number that is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def trend(values: Sequence[float]) -> float | None:
    """The factor from the first to the last, by the line through the logarithms of those above 0; None below three."""
    places = [place for place, value in enumerate(values) if 0 < value < math.inf]
    if len(places) < 3:
        return None
    slope = np.polyfit(places, [math.log(values[place]) for place in places], 1)[0]
    return float(np.exp(np.clip(slope * (len(values) - 1), -700, 700)))


def diagnose(
    model: nn.Module, source: Source, inits: Sequence[str] = (OWN,), *, images: int = 64, seed: int = 0, device: str = "cpu",
    say: Callable[[str], None] = lambda text: None,
) -> list[Diagnosis]:  # fmt: skip
    """Look at a copy of `model` for each initialisation, "own" for the weights it has; the model stays as it is.

    Raises: UsageError for initialisations or a number of images that cannot be, and for a model that does not fit the data.
    """
    if images < 2:
        raise UsageError(f"a variance needs at least 2 images, got {images}")
    if not inits or not all(inits):
        raise UsageError(f"diagnose takes names of initialisations, {OWN!r} for the weights as they are, got {list(inits)}")
    configs = [TrainConfig(steps=1, seed=seed, init="" if text == OWN else text) for text in inits]
    task = classify(source.classes, exit_weights=getattr(model, "exit_weights", ()))
    batch = min(images, len(source.train))
    train = partial(
        batches, source.train, input=source.input, batch_size=batch, shuffle=True, seed=seed, drop_last=True, device=device
    )  # fmt: skip
    x, y = next(train(epoch=1))  # lsuv and its like look at those of epoch 0
    found = []
    with private_randomness(device):
        for text, config in zip(inits, configs, strict=True):
            net = private_copy(model, "model", source, task, device)
            if config.init:
                initialise(net, config, train, device, say)
            found.append(look(net, x, y, task, text, math.log(len(source.classes))))
    return found


def look(net: nn.Module, x: Tensor, y: Tensor, task: Task, init: str, guess: float) -> Diagnosis:
    """One pass forwards and back. Shape: x [B, C, H, W], y [B]; `guess` is the loss of guessing."""
    names = {module: name for name, module in net.named_modules()}
    seen: dict[Any, dict[str, Any]] = {}
    waiting: list[Any] = []

    def after(module: Any, inputs: Any, output: Tensor) -> None:
        if not is_weighted(module):
            for layer in waiting:
                behind = output.detach()
                seen[layer] |= {
                    "activation": type(module).__name__, "activations": variance(behind),
                    "saturated": saturated(module, behind, unit_dim(layer, behind)),
                }  # fmt: skip
            waiting.clear()
        elif module not in seen:
            seen[module] = measured(module, output.detach())
            waiting.append(module)
            output.register_hook(lambda gradient: seen[module].update(gradients=variance(gradient * len(x))))

    with as_first_step(net), hooked(net, after), torch.enable_grad():
        loss = task.loss(net(x.requires_grad_()).float(), y)
        torch.autograd.grad(loss, x)
    x.requires_grad_(False)
    rows = {
        layer: {"name": names[layer], "kind": type(layer).__name__, "gradients": 0.0, **facts} for layer, facts in seen.items()
    }
    layers = tuple(Layer(**row) for row in rows.values())
    normed = any(isinstance(module, _BatchNorm) for module in net.modules())
    return Diagnosis(init, float(loss.detach()) / guess, normed, layers)


def unit_dim(layer: nn.Module, output: Tensor) -> int:
    """The dimension of an output that counts the units of the layer."""
    return 1 if isinstance(layer, _ConvNd) or output.ndim < 3 else output.ndim - 1


def measured(layer: Any, output: Tensor) -> dict[str, Any]:
    """What the weights and the outputs of a layer say; an activation behind it may say more."""
    unit = unit_dim(layer, output)
    others = [dim for dim in range(output.ndim) if dim != unit]
    mean_square = float(output.float().square().mean())
    own = float(output.float().var(others, correction=0).mean())
    weight = layer.weight.detach()
    alike = weight.numel() > 1 and bool((weight == weight.flatten()[0]).all())
    spread = variance(output)
    return {
        "places": math.prod(output.shape[dim] for dim in others[1:]), "outputs": spread, "activations": spread,
        "differs": own / mean_square if mean_square > 0 else 0.0, "alike": alike,
        "weight_std": 0.0 if alike else float(weight.float().std(correction=0)), "activation": "", "saturated": None,
    }  # fmt: skip


def variance(x: Tensor) -> float:
    """Over all values; 0 for a single one."""
    return float(x.float().var(correction=0))


def saturated(activation: nn.Module, y: Tensor, unit: int) -> float | None:
    """The share of values, or of the units of a ReLU, that let no gradient through; None where that cannot be."""
    if isinstance(activation, RECTIFIERS):
        active = (y > 0).movedim(unit, 0).flatten(1).any(1)
        return 1 - float(active.float().mean())
    test = SATURATED.get(type(activation))
    return None if test is None else float(test(y).float().mean())
