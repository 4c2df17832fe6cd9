"""How to train: the settings of `fit`, checked all at once."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from torch import nn

from ..data.augment import fields_of as augmentation
from ..errors import UsageError, unknown
from ..losses import losses
from ..registry import Registry
from ..spec import read, reads
from .init import CONTEXT, inits
from .mixing import mixings
from .optimizers import SCALINGS
from .optimizers import check as check_optimizer
from .regularizers import regularizers
from .schedules import check as check_schedule
from .schedules import warms_up

PRECISIONS = ("auto", "fp32", "bf16")
MEMORY_FORMATS = ("auto", "nchw", "channels_last")
BUDGETS = ("epochs", "seconds", "steps")
ALL = "all"
MOST_RATE = 1e6  # a multiplier above it is a mistake


@dataclass(frozen=True)
class TrainConfig:
    """Settings of `fit`. Exactly one of `epochs`, `seconds` (wall clock, validation included) and `steps` says how long.

    batch_size        images a step; "all" makes every step see all images (batch gradient descent), 1 is stochastic
    grow_batch        the batch grows by what the schedule says instead of the rate falling by it: after a factor of 0.1, ten
                      batches make one update at the full rate, up to a tenth of the images; then the rate falls
    optimizer, lr     a name in `optimizers`, with options: "adam(beta2=0.99)"; no rate takes its default for the batch size
    scaling           rate = lr (batch_size / 128) ** growth: "linear" (1), "sqrt" (1/2), "none" (0); "auto" takes a rate that is
                      given as it is, and the default one with the growth that suits the optimizer
    rates             factors on the learning rate by shell pattern of parameter names; 0 freezes, the last match counts:
                      {"*": 0, "fc.*": 1, "features.0.*": 10}. Running statistics of norms are no parameters and go on
    bias_rate         one more factor, for the biases of convolutions and linear layers (Caffe: 2)
    head_first        share of the training in which the last layer learns alone, the others wait: first the head, then all
    momentum, nesterov
                      of sgd; the momentum also of momentum, nesterov and kfac
    weight_decay      on weights; biases and normalisation do not decay
    schedule          a name in `schedules`, with options: "step(period=0.3)"; after a linear `warmup` (below 1 a share of the
                      training, from 1 steps)
    period, gamma, milestones, power
                      of step, multistep, exponential, poly and inverse; period and milestones are shares of the training
    loss              a name in `danlu.losses` for classification, with options: "focal(gamma=2)"
    init              a name in `inits`, drawn before the first step; "" keeps the weights that the model comes with
    regularize, mix   chains of `regularizers` and of `mixings`: "l1(strength=1e-5) | max_norm(limit=3)", "mixup(alpha=0.2)"
    label_smoothing   e: the target is (1 - e) one-hot + e / classes
    ema               decay of the exponential average of the weights that is validated and kept; 0 is off
    patience          stop after this many validations without a better one; 0 is off
    snapshots         so many times the schedule runs anew, and the weights at each end are kept: snapshots/1.safetensors, ...
                      in the run folder, an ensemble from one training; 0 is off
    clip              largest norm of the gradient; 0 is off
    augment           "auto", "none", or parts: "crop+flip+rotate+colour", "randaugment(n=2, m=9)"; see `danlu.data.Augment`
    precision, memory_format
                      "auto" times them on this machine and takes the fastest
    temperature, alpha
                      of distillation, used when there is a teacher: (1 - alpha) CE + alpha T^2 KL(teacher || student)
    seed              of data order, augmentation and dropout

    Raises UsageError that lists every setting that is wrong.
    """

    epochs: int | None = None
    seconds: float | None = None
    steps: int | None = None
    batch_size: int | str = 128
    grow_batch: bool = False
    optimizer: str = "sgd"
    lr: float | None = None
    scaling: str = "auto"
    rates: dict[str, float] = field(default_factory=dict)
    bias_rate: float = 1.0
    head_first: float = 0.0
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    schedule: str = "cosine"
    warmup: float = 0.05
    period: float = 1 / 3
    gamma: float = 0.1
    milestones: tuple[float, ...] = (0.5, 0.75)
    power: float = 1.0
    loss: str = "cross_entropy"
    init: str = ""
    regularize: str = ""
    mix: str = ""
    label_smoothing: float = 0.0
    ema: float = 0.0
    patience: int = 0
    snapshots: int = 0
    clip: float = 0.0
    augment: str = "auto"
    precision: str = "auto"
    memory_format: str = "auto"
    temperature: float = 4.0
    alpha: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        wrong = self._wrong()
        if wrong:
            many = f"{len(wrong)} training settings are wrong" if len(wrong) > 1 else "a training setting is wrong"
            raise UsageError(f"{many}: " + "; ".join(wrong))

    @property
    def budget(self) -> dict[str, float]:
        """How long, as the one setting that says so: {"epochs": 10}."""
        return {name: getattr(self, name) for name in BUDGETS if getattr(self, name) is not None}

    def batch(self, images: int) -> int:
        """Images a step, where there are `images` in all: a set that is smaller than a batch is one."""
        return images if isinstance(self.batch_size, str) else min(self.batch_size, images)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "milestones": list(self.milestones)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "TrainConfig":
        """The reverse of `to_json`. Raises UsageError for a setting that does not exist."""
        known = {setting.name for setting in fields(cls)}
        for name in data:
            if name not in known:
                raise unknown("training setting", name, known)
        return cls(**{**data, "milestones": tuple(data.get("milestones", cls.milestones))})

    def _wrong(self) -> list[str]:
        """One sentence for each setting that cannot be."""
        wrong: list[str] = []
        bad: set[str] = set()

        def number(name: str, low: float, high: float, text: str, whole: bool = False) -> None:
            value = getattr(self, name)
            kind = int if whole else (int, float)
            good = isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value) and low <= value <= high
            if not good:
                bad.add(name)
                wrong.append(f"{name} must be {text}, got {value!r}")

        def choice(name: str, allowed: object) -> None:
            value, names = getattr(self, name), list(allowed)  # type: ignore[call-overload]
            if value not in names:
                wrong.append(str(unknown(name, str(value), names)).replace("; ", ", "))

        above, below, forever = 1e-12, 1 - 1e-12, math.inf
        given = self.budget
        if len(given) != 1:
            got = ", ".join(f"{name}={value}" for name, value in given.items()) or "none"
            wrong.append(f"exactly one of epochs, seconds and steps must be set, got {got}")
        for name in given:
            whole = name != "seconds"
            number(name, 1 if whole else above, forever, "a whole number from 1" if whole else "above 0", whole)
        if self.batch_size != ALL:
            number("batch_size", 1, forever, "a whole number from 1, or 'all'", whole=True)
        if self.lr is not None:
            number("lr", above, forever, "above 0, or None")
        factors = self.rates.items() if isinstance(self.rates, dict) else [("", -1)]
        if not all(isinstance(name, str) and name and _factor(value) for name, value in factors):
            wrong.append(f"rates must map patterns of parameter names to factors from 0 to {MOST_RATE:g}, got {self.rates!r}")
        number("bias_rate", 0, MOST_RATE, f"from 0 to {MOST_RATE:g}")
        for name in ("momentum", "label_smoothing", "ema", "head_first"):
            number(name, 0, below, "from 0 and below 1")
        for name in ("weight_decay", "clip", "warmup"):
            number(name, 0, forever, "from 0")
        for name in ("power", "temperature"):
            number(name, above, forever, "above 0")
        for name in ("period", "gamma"):
            number(name, above, 1, "above 0 and at most 1")
        number("alpha", 0, 1, "from 0 to 1")
        number("patience", 0, forever, "a whole number from 0", whole=True)
        number("snapshots", 0, forever, "a whole number from 0", whole=True)
        if "snapshots" not in bad and self.snapshots and self.seconds is not None:
            wrong.append("snapshots need a length that is known, epochs or steps, and got seconds")
        if not {"snapshots", "patience"} & bad and self.snapshots and self.patience:
            wrong.append("snapshots and patience do not go together: every restart of the rate makes validations worse at first")
        number("seed", 0, 2**32 - 1, "a whole number from 0 and below 2**32", whole=True)
        shares = self.milestones if isinstance(self.milestones, tuple) else ()
        if not shares or not all(isinstance(m, int | float) and 0 < m < 1 for m in shares) or list(shares) != sorted(set(shares)):
            bad.add("milestones")
            wrong.append(f"milestones must be rising shares of the training between 0 and 1, got {self.milestones!r}")

        def sound(*names: str) -> dict[str, Any]:
            """These settings; the default for one that was complained about."""
            return {name: getattr(type(self) if name in bad else self, name) for name in names}

        def tried(action: Callable[[], Any]) -> bool:
            try:
                action()
            except UsageError as error:
                wrong.append(str(error).replace("; ", ", "))
                return False
            return True

        def spec(name: str, registry: Registry[Any], chain: bool, given: tuple[str, ...] = ()) -> None:
            text = getattr(self, name)
            try:
                found = reads(registry, text) if chain else [read(registry, text, given)]
                for step in found if chain else ():
                    step()  # a regulariser or a mixing says what is wrong with its options when it is made
                if name == "init":  # and an initialisation when it is called, here for a net without layers
                    found[0](nn.Module(), **dict.fromkeys(CONTEXT))
            except UsageError as error:
                wrong.append(str(error).replace("; ", ", "))

        tried(lambda: check_optimizer(self.optimizer, **sound("lr", "momentum", "nesterov")))
        known = tried(lambda: check_schedule(self.schedule, **sound("period", "gamma", "milestones", "power")))
        if known and self.grow_batch and warms_up(self.schedule):
            wrong.append(f"grow_batch needs a schedule that only falls, such as step or cosine, got {self.schedule!r}")
        judged = [entry.name for entry in losses if entry.facts["task"] == "classify"]
        called = str(self.loss).partition("(")[0].strip()
        if called in losses and called not in judged:  # before its options, which may not be writable
            wrong.append(f"loss {self.loss!r} is not one for classification; those are {', '.join(judged)}")
        else:
            spec("loss", losses, False)
        if self.init:
            spec("init", inits, False, CONTEXT)
        spec("regularize", regularizers, True)
        spec("mix", mixings, True)
        choice("scaling", SCALINGS)
        choice("precision", PRECISIONS)
        choice("memory_format", MEMORY_FORMATS)
        tried(lambda: augmentation(self.augment))
        return wrong


def _factor(value: object) -> bool:
    """Whether a value can multiply a learning rate."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MOST_RATE
