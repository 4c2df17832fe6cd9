"""From the name of an optimiser to one that is ready, and the rate that it starts from."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ...errors import UsageError
from ...spec import read
from ._groups import NORMS, groups_of
from ._registry import CONTEXT, optimizers

REFERENCE_BATCH = 128  # images: the default rates are for it
# Without normalisation the same rate diverges for SGD with momentum: those that say `plain=True` get this share of it.
PLAIN_SHARE = 0.2
GROWTHS = {"linear": 1.0, "sqrt": 0.5, "none": 0.0}
SCALINGS = ("auto", *GROWTHS)


def default_rate(name: str, batch_size: int, model: nn.Module, *, lr: float | None = None, scaling: str = "auto") -> float:
    """The base rate of an optimiser for a batch size.

        rate = lr (batch_size / 128) ** growth,  growth: 1 for scaling="linear", 1/2 for "sqrt", 0 for "none"

    With "auto" a rate that is given, as `lr` or in the options of `name`, counts as it is, and the default one grows as suits
    the optimiser. The default rate of some is a fifth for nets without normalisation.
    """
    spec = read(optimizers, name, CONTEXT)
    facts = spec.entry.facts
    given = spec.options.get("lr", lr)
    growth = GROWTHS.get(scaling, facts["growth"] if given is None else 0.0)
    if given is None:
        plain = not any(isinstance(module, NORMS) for module in model.modules())
        given = facts["lr"] * (PLAIN_SHARE if plain and facts.get("plain") else 1.0)
    return float(given * (batch_size / REFERENCE_BATCH) ** growth)


def build(
    name: str, model: nn.Module, *, lr: float, weight_decay: float, rates: Mapping[str, float] | None = None,
    bias_rate: float = 1.0, **options: Any,
) -> torch.optim.Optimizer:  # fmt: skip
    """The optimiser over `groups_of(model)` at the rate `lr`; options it does not have are left out, those written behind
    `name` win.

    Raises: UsageError when nothing trains, or for an option that cannot be.
    """
    spec = read(optimizers, name, CONTEXT)
    groups = groups_of(model, weight_decay, rates, bias_rate)
    if not groups:
        raise UsageError("the model has no trainable parameters: all of them have requires_grad=False, or a rate of 0")
    # Only these: a whole configuration may be passed, whose gamma or clip is not that of an optimiser.
    context = {option: value for option, value in {**options, "lr": lr, "model": model}.items() if option in CONTEXT}
    optimizer: torch.optim.Optimizer = spec(groups, **context)
    set_rate(optimizer, lr)
    return optimizer


def check(name: str, *, lr: float | None = None, **options: Any) -> None:
    """Raise UsageError where the text names no optimiser, or one with options that cannot be, or a rate beside `lr`."""
    written = read(optimizers, name, CONTEXT).options.get("lr")
    if written is not None and lr is not None:
        raise UsageError(f"the learning rate is given twice: lr={lr:g} and {name}")
    if written is not None and not written > 0:
        raise UsageError(f"{name}: lr must be above 0, got {written}")
    build(name, nn.Linear(1, 1, device="meta"), lr=1.0, weight_decay=0.0, **options)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group: `rate` times its multiplier."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate"]


def release(optimizer: torch.optim.Optimizer) -> None:
    """Take off what an optimiser has put on its model, if it has."""
    take_off = getattr(optimizer, "release", None)
    if take_off is not None:
        take_off()
