"""The learning-rate range test: train a copy for some steps while the rate rises, and read the rate off the loss.

    rate(i) = low (high / low)^(i / (steps - 1))

The loss falls, is lowest, then explodes. Two rules are common: the rate of steepest descent, and a tenth of the rate of the
lowest loss; `suggestion` is their geometric mean. The loss is smoothed by a window around each step, so that nothing lags.

A cyclical rate runs between two bounds: the rate at which the loss begins to fall, and the one at which it is lowest, or three
times the suggestion where that is less: a cycle stays at the top for many steps, the test passes it by in one.

Source: Smith 2015, https://arxiv.org/abs/1506.01186.
Differs: Smith reads the bounds off the accuracy; the loss says the same earlier, and with less noise.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from ..data import Augment, Source, batches
from ..errors import DanluError, UsageError
from ..plot_file import check_plot, write_figure
from ..tasks import classify
from . import optimizers
from .autotune import Tune
from .config import TrainConfig
from .job import batch_of, private_copy
from .randomness import private_randomness, seed_step

DIVERGED = 4.0  # times the lowest loss so far: there is nothing more to see
WINDOW = 0.03  # of the steps: standard deviation of the smoothing
TOP = 3.0  # times the suggestion: no cycle goes higher
FALLEN = 0.1  # of the whole descent: from here on the loss is said to fall


@dataclass(frozen=True)
class LRFind:
    """What a range test saw. Shape: lrs, losses and smoothed are equally long, shorter than `steps` when the loss exploded.

    `lower` is the rate at which the loss begins to fall, `upper` the one at which it is lowest; between them lies `suggestion`.
    `settings()` are those of a training at the suggestion, or with `cyclical` between the bounds.
    """

    lrs: list[float]
    losses: list[float]
    smoothed: list[float]
    suggestion: float
    lower: float
    upper: float

    @property
    def top(self) -> float:
        """The upper bound of a cyclical rate."""
        return min(self.upper, TOP * self.suggestion)

    def settings(self, cyclical: bool = False) -> dict[str, Any]:
        """For `TrainConfig`: the rate, and the schedule where it goes up and down between the bounds."""
        if not cyclical:
            return {"lr": float(f"{self.suggestion:.2g}")}
        top = float(f"{self.top:.2g}")
        return {"lr": top, "schedule": f"triangular(low={min(self.lower / top, 1.0):.2g})"}

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and lists."""
        return {**vars(self), "settings": self.settings(), "cyclical": self.settings(cyclical=True)}


def lr_find(
    model: nn.Module, source: Source, config: TrainConfig | None = None, *, low: float = 1e-6, high: float = 10.0,
    steps: int = 100, device: str = "cpu", stop: Callable[[], bool] | None = None,
) -> LRFind:  # fmt: skip
    """Run a range test on a copy of `model`; nothing is written and the model stays as it is.

    `config` gives optimiser, batch size, augmentation, regularisation and seed; its budget, rate and schedule do not count.
    Raises: UsageError for rates or steps that cannot be, or a model that does not fit the data; DanluError when the loss falls
    at no rate.
    """
    if not 0 < low < high or not math.isfinite(high) or steps < 10:
        raise UsageError(f"a range test needs 0 < low < high and at least 10 steps, got low={low}, high={high}, steps={steps}")
    config = config or TrainConfig(steps=steps)
    exit_weights = getattr(model, "exit_weights", ())
    task = classify(source.classes, label_smoothing=config.label_smoothing, exit_weights=exit_weights, criterion=config.loss)
    tune = Tune(config.precision.replace("auto", "fp32"), config.memory_format.replace("auto", "channels_last"))
    net = tune.place(private_copy(model, "model", source, task, device), device).train()
    optimizer = optimizers.build(config.optimizer, net, **{**config.to_json(), "lr": low})
    batch = batch_of(net, config, len(source.train))
    rates = np.geomspace(low, high, steps)
    losses: list[float] = []
    with private_randomness(device):
        for i, (x, y) in enumerate(endless(source, config, batch, tune, device)):
            seed_step(config.seed, i, device)
            optimizers.set_rate(optimizer, rates[i])
            with tune.autocast(device):
                outputs = net(x).float()
            loss = task.loss(outputs, y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            value = float(loss.detach())
            if not math.isfinite(value) or (losses and value > DIVERGED * min(losses)):
                break
            losses.append(value)
            if len(losses) == steps or (stop and stop()):
                break
    return read(rates[: len(losses)], np.array(losses))


def endless(source: Source, config: TrainConfig, batch: int, tune: Tune, device: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Training batches, one epoch after the other."""
    augment, epoch = Augment.named(config.augment, source), 0
    while True:
        yield from batches(
            source.train, source.input, batch, shuffle=True, augment=augment, seed=config.seed, epoch=epoch, drop_last=True,
            channels_last=tune.channels_last, device=device,
        )  # fmt: skip
        epoch += 1


def read(rates: np.ndarray, losses: np.ndarray) -> LRFind:
    """The suggestion from rates and losses. Shape: both [N]. Raises DanluError when the loss falls nowhere."""
    if len(losses) < 5:
        raise DanluError("the loss exploded within five steps, even at the lowest rates; look at the data and the model")
    smoothed = smooth(losses, WINDOW * len(losses))
    lowest = int(smoothed.argmin())
    start = float(smoothed[: lowest + 1].max())
    if lowest == 0 or start - smoothed[lowest] < 0.01 * abs(start):
        raise DanluError(
            f"the loss does not fall at any rate from {rates[0]:.1g} to {rates[-1]:.1g}; try more steps or other limits"
        )  # fmt: skip
    slope = np.gradient(smoothed[: lowest + 1], np.log(rates[: lowest + 1]))
    steepest = float(rates[slope.argmin()])
    # The last time that it is not yet falling: noise at tiny rates makes dips that come to nothing.
    waiting = smoothed[: lowest + 1] >= start - FALLEN * (start - smoothed[lowest])
    lower = float(rates[np.flatnonzero(waiting)[-1] + 1])
    upper = float(rates[lowest])
    suggestion = min(max(math.sqrt(steepest * upper / 10), lower), upper)
    return LRFind(rates.tolist(), losses.tolist(), smoothed.tolist(), suggestion, lower, upper)


def smooth(values: np.ndarray, width: float) -> np.ndarray:
    """Means weighted by a Gaussian of standard deviation `width` steps; at the ends, over the part inside. Shape: [N] -> [N]."""
    place = np.arange(len(values))
    weights = np.exp(-0.5 * ((place[:, None] - place) / max(width, 1e-9)) ** 2)
    return np.asarray(weights @ values / weights.sum(1))


def write_plot(found: LRFind, path: Path, title: str) -> None:
    """Draw the range test into one HTML file that needs no network. Raises UsageError for another suffix."""
    check_plot(path)
    import plotly.graph_objects as go

    figure = go.Figure(layout={"title": title, "template": "plotly_white", "hovermode": "x"})
    figure.add_scatter(x=found.lrs, y=found.losses, name="loss", mode="lines", line={"color": "#b8c4d0", "width": 1})
    figure.add_scatter(x=found.lrs, y=found.smoothed, name="smoothed", mode="lines", line={"color": "#1f5fa8", "width": 2})
    figure.add_vrect(x0=found.lower, x1=found.top, fillcolor="#1f5fa8", opacity=0.08, line_width=0)
    figure.add_vline(x=found.suggestion, line={"color": "#c2410c", "dash": "dash"})
    figure.add_annotation(
        x=math.log10(found.lower), y=0, yref="paper", xanchor="left", yanchor="bottom", font={"color": "#1f5fa8"},
        text=f"bounds {found.lower:.2g} .. {found.top:.2g}", showarrow=False,
    )  # fmt: skip
    figure.add_annotation(
        x=math.log10(found.suggestion), y=1, yref="paper", text=f"suggestion {found.suggestion:.2g}", showarrow=False,
        xanchor="left", font={"color": "#c2410c"},
    )  # fmt: skip
    figure.update_xaxes(type="log", title="learning rate")
    figure.update_yaxes(title="training loss")
    write_figure(figure, path)
