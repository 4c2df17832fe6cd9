"""Getting ready: everything `fit` needs before its first step, from the beginning or from a checkpoint."""

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..data import Augment, Source, batches
from ..encodings import Codebook, MovingCodebook
from ..errors import UsageError
from ..losses import losses
from ..nn import large_margin_head
from ..spec import read, reads
from ..tasks import Task, classify
from .advice import small_batch_advice
from .autotune import Tune, autotune
from .checkpoint import Checkpoints
from .config import BUDGETS, TrainConfig
from .head import head_of
from .init import CONTEXT, inits
from .interrupt import Interrupts
from .mixing import Mixing, mixings
from .plan import Clock, Plan, make_plan
from .randomness import seed_step
from .regularizers import Regularizer, regularizers
from .schedules import factor, growing, never_falls
from .snapshots import Snapshots, run_for
from .state import State

Feed = Callable[..., Iterator[tuple[Tensor, Tensor]]]
TUNE_SECONDS, TUNE_SHARE = 6.0, 0.04
INIT_SHARE = 0.5  # of a time budget: no more may go into pre-training
# Settings that a resumed training must share with its checkpoint: the order and the number of images hang on them.
FIXED = (
    "batch_size", "seed", "optimizer", "augment", "ema", "rates", "bias_rate", "head_first", "grow_batch", "loss", "init",
    "regularize", "mix", "snapshots",
)  # fmt: skip
MOST_GROWTH = 10  # a growing batch has at most this part of the images
BATCH_NORMS = nn.modules.batchnorm._BatchNorm


@dataclass
class Job:
    """A training that is ready to run. `train(epoch=, start=)` and `val()` give batches."""

    source: Source
    config: TrainConfig
    task: Task
    device: str
    batch: int
    train: Feed
    val: Feed
    tune: Tune
    state: State
    teacher: nn.Module | None
    plan: Plan
    clock: Clock
    store: Checkpoints | None
    regularizers: list[Regularizer] = field(default_factory=list)
    mixings: list[Mixing] = field(default_factory=list)
    snapshots: Snapshots | None = None
    best_stored: int = -1

    def mixed(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """A batch as the mixings make it: the labels become shares of each class. Its random numbers are the step's."""
        if not self.mixings:
            return x, y
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.state.step)
        targets = functional.one_hot(y, len(self.source.classes)).to(x.dtype)
        for mix in self.mixings:
            x, targets = mix(x, targets, generator)
        return x, targets

    def pace(self) -> tuple[float, int]:
        """Of the coming step: the factor of the learning rate, and how many batches make an update."""
        number, step, total = 0, self.state.step, self.plan.total
        if self.snapshots:
            number, step, total = self.snapshots.cycle(step)
        settings = {**self.settings, "warmup": 0.0} if number else self.settings
        if not self.config.grow_batch:
            return factor(self.config.schedule, step, total, **settings), 1
        most = max(1, self.plan.per_epoch // MOST_GROWTH)
        return growing(self.config.schedule, step, total, most, **settings)

    def ends(self, step: int) -> bool:
        """Whether the training, or a cycle of it, has come to its end after so many steps."""
        return step >= self.plan.total or bool(self.snapshots and self.snapshots.end(step))

    def snapshot(self, say: Callable[[str], None]) -> None:
        """Keep the weights, where a cycle has come to its end."""
        number = self.snapshots.end(self.state.step) if self.snapshots else 0
        if self.snapshots and number:
            say(f"snapshot {number}: {self.snapshots.keep(number, self.state.judged().state_dict(), self.source)}")

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The configuration as plain values."""
        return self.config.to_json()

    def penalty(self) -> Tensor | float:
        """What the regularisers add to the loss."""
        found = [penalty for kept in self.regularizers if (penalty := kept.penalty(self.state.model)) is not None]
        return torch.stack(found).sum() if found else 0.0

    def checkpoint(self) -> None:
        """Store the state, and the best weights when there are better ones. Nothing without a run folder."""
        if self.store is None:
            return
        best = self.state.best
        if best is not None and best.step != self.best_stored:
            self.store.write_best(best.weights)
            self.best_stored = best.step
        self.store.write(
            self.state.tensors(),
            {
                **self.state.facts(), "seconds": self.clock.elapsed,
                "pace": [self.clock.step_seconds, self.clock.validation_seconds],
                "tune": self.tune.to_json(), "plan": self.plan.to_json(), "config": self.config.to_json(),
                "data": [self.source.fingerprint, len(self.source.train)],
            },
        )  # fmt: skip


def prepare(
    model: nn.Module, source: Source, config: TrainConfig, clock: Clock, *, run: Path | None, teacher: nn.Module | None,
    resume: bool, device: str, say: Callable[[str], None], interrupts: Interrupts,
) -> Job:  # fmt: skip
    """Copy, check, resume, tune, plan. `model` and `teacher` stay as they are."""
    if not len(source.train) or not len(source.val):
        raise UsageError(f"training needs images to train on and to validate on, got {len(source.train)} and {len(source.val)}")
    task = classify(
        source.classes, label_smoothing=config.label_smoothing, temperature=config.temperature, alpha=config.alpha,
        exit_weights=getattr(model, "exit_weights", ()), criterion=config.loss,
        counts=np.bincount(source.train.labels, minlength=len(source.classes)).tolist(),
    )  # fmt: skip
    asked, model = model, private_copy(model, "model", source, task, device)
    folder = run_for(run, asked) if config.snapshots else None
    criterion = read(losses, config.loss)
    if criterion.entry.facts.get("head"):
        model = large_margin_head(model, **criterion.options)  # `finish` takes it back
    if config.optimizer == "sgd" and any(isinstance(module, Codebook | MovingCodebook) for module in model.modules()):
        say("shared values get the summed gradients of all their weights: adamw suits them better than sgd")
    teacher = None if teacher is None else private_copy(teacher, "teacher", source, task, device).requires_grad_(False)
    batch = batch_of(model, config, len(source.train))
    feed = partial(batches, input=source.input, batch_size=batch, device=device)
    augment = Augment.named(config.augment, source)
    train = partial(feed, source.train, shuffle=True, augment=augment, seed=config.seed, drop_last=True)
    store = Checkpoints(Path(run) / "checkpoints", say) if run is not None else None
    saved = store.read() if resume and store else None
    kept = [spec() for spec in reads(regularizers, config.regularize)]
    if saved is None and config.init:

        def check() -> None:
            if interrupts.wanted:
                raise interrupts.error("stopped before the first step, while the weights were initialised")
            if config.seconds is not None and clock.elapsed > INIT_SHARE * config.seconds:
                raise UsageError(
                    f"init {config.init} takes more than half of the time; write fewer steps in it, or give more time"
                )

        initialise(model, config, train, device, say, check)
    for regularizer in kept:
        regularizer.prepare(model)
    if saved is None:
        tune = tuned(model, teacher, task, config, train, batch, clock, device, say)
    else:
        tune = Tune(**saved[1]["tune"])
        check_resumed(saved[1], config, tune, source, say)
        clock.resume(saved[1]["seconds"])
        step_seconds, clock.validation_seconds = saved[1]["pace"]
        clock.expect(step_seconds, config.seconds)
    tune.place(model, device)
    if teacher is not None:
        tune.place(teacher, device)
    state = State(model, config, batch=batch, head=head_names(model, source, config, device))
    if saved is not None:
        state.load(*saved)
    plan_of = partial(make_plan, config, clock, images=len(source.train), batch=batch, val_images=len(source.val))
    if saved is None:
        plan = plan_of()
        say(f"{plan.total:,} steps of {batch} images ({plan.total / plan.per_epoch:.3g} epochs)")
    else:
        plan = Plan.from_json(saved[1]["plan"])
        if plan.budget != config.budget:
            plan = plan_of(step=state.step, changes=plan.changes)
            plan = plan.resized(plan.total, state.step)
            state.stopped_early, state.worse = False, 0
        say(f"resumed at step {state.step:,} of {plan.total:,}")
    for advice in (never_falls(config.schedule, plan.total, **config.to_json()), small_batch_advice(model, batch)):
        if advice is not None:
            say(advice)
    job = Job(
        source=source, config=config, task=task, device=device, batch=batch, tune=tune, state=state, teacher=teacher, plan=plan,
        clock=clock, store=store, train=partial(train, channels_last=tune.channels_last),
        val=partial(feed, source.val, channels_last=tune.channels_last),
        regularizers=kept, mixings=[spec() for spec in reads(mixings, config.mix)],
        snapshots=Snapshots(folder, config.snapshots, plan.total, asked) if folder else None,
    )  # fmt: skip
    if store and saved is None:
        store.clear()
        if job.snapshots:
            job.snapshots.clear()
        job.checkpoint()  # what autotune decided must outlive even an early death
    return job


def head_names(model: nn.Module, source: Source, config: TrainConfig, device: str) -> set[str]:
    """The parameters that learn alone at first; none where all learn from the start."""
    if not config.head_first:
        return set()
    x, _ = next(iter(batches(source.val, source.input, 2, device=device)))
    return head_of(model, x, len(source.classes))


def initialise(
    model: nn.Module, config: TrainConfig, train: Feed, device: str, say: Callable[[str], None],
    check: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    """Draw the weights of `model` anew, in place, from the seed. `check` may raise, before each batch of a long one."""

    def feed() -> Iterator[Tensor]:
        for epoch in count():
            for x, _ in train(epoch=epoch):
                check()
                yield x

    images, _ = next(train(epoch=0))
    seed_step(config.seed, 0, device)
    read(inits, config.init, CONTEXT)(model, images=images, feed=feed, say=say)


def private_copy(model: nn.Module, what: str, source: Source, task: Task, device: str) -> nn.Module:
    """A copy on the device, in eval mode. Raises UsageError when it cannot take the images or answer for every class."""
    mine = copy.deepcopy(model).to(device).eval()
    x, _ = next(iter(batches(source.val, source.input, 2, device=device)))
    try:
        with torch.no_grad():
            outputs = mine(x)
    except (RuntimeError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise UsageError(f"the {what} cannot take images of shape {source.input.shape} (C, H, W): {reason}") from error
    task.check(outputs)
    return mine


def batch_of(model: nn.Module, config: TrainConfig, images: int) -> int:
    """Images a step: a set that is smaller than a batch is one. Raises UsageError for batch norm over a single image."""
    batch = config.batch(images)
    if batch == 1 and any(isinstance(module, BATCH_NORMS) for module in model.modules()):
        raise UsageError("batch normalisation needs at least two images a step; use batch_size=2 or more")
    return batch


def tuned(
    model: nn.Module, teacher: nn.Module | None, task: Task, config: TrainConfig, train: Feed, batch: int, clock: Clock,
    device: str, say: Callable[[str], None],
) -> Tune:  # fmt: skip
    """Time the ways to train on the first batch; the clock learns what a step costs, its data included."""
    feed = train(epoch=0)
    first = next(feed)
    start, fetched = time.perf_counter(), 0
    for fetched, _ in enumerate(feed, 1):
        if fetched == 3:
            break
    data_seconds = (time.perf_counter() - start) / max(fetched, 1)
    seconds = TUNE_SECONDS if config.seconds is None else min(TUNE_SECONDS, TUNE_SHARE * config.seconds)
    tune = autotune(model, task, config, first, teacher=teacher, device=device, seconds=seconds, log=say)
    clock.expect(batch / tune.images_per_second[tune.name] + data_seconds, config.seconds)
    return tune


def check_resumed(facts: dict[str, Any], config: TrainConfig, tune: Tune, source: Source, say: Callable[[str], None]) -> None:
    """Raise UsageError when a checkpoint is of other data, or of settings that cannot change; log those that may and did."""
    if facts["data"] != [source.fingerprint, len(source.train)]:
        raise UsageError("the checkpoint was made from other training images; resume with the same data, or start a new run")
    old, new = TrainConfig.from_json(facts["config"]).to_json(), config.to_json()
    fixed = [f"{name} was {old[name]!r} and is now {new[name]!r}" for name in FIXED if old[name] != new[name]]
    for name in ("precision", "memory_format"):
        if new[name] not in ("auto", getattr(tune, name)):
            fixed.append(f"{name} was {getattr(tune, name)!r} and is now {new[name]!r}")
    if config.snapshots and any(old[name] != new[name] for name in BUDGETS):
        fixed.append("epochs or steps, for the snapshots made so far are at the ends of cycles")
    if fixed:
        raise UsageError("a resumed training keeps these settings: " + "; ".join(fixed))
    free = set(new) - {*FIXED, "precision", "memory_format", "epochs", "seconds", "steps"}
    changed = [f"{name} {old[name]} -> {new[name]}" for name in sorted(free) if old[name] != new[name]]
    if changed:
        say("changed since the checkpoint: " + ", ".join(changed))
