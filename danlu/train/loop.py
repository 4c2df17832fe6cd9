"""The training loop. `fit` reads from top to bottom; its events are

prepare      copy and check the model; resume, or time precision x memory format (`autotune`) and plan the steps
step         seed, rate, forward, loss, backward; then, unless the batch grows and more of it is to come, clip, update, average
replan       with a time budget: fewer steps when the projected end is late, more while the plan is young
guard        a loss that is not finite: back to the last good state, at half the rate, at most three times
validate     every `plan.every` steps and at the end: a row of the history, the best weights, early stopping
snapshot     at the end of each cycle, where there are some: the weights, for an ensemble
checkpoint   every `plan.save` steps and at the end: in memory, and on disk where there is a run folder
stop         asked to from outside: checkpoint, and raise `Interrupted`
finish       the best weights, in eval mode

The order of the images, their augmentation and dropout at step s are functions of (seed, s) alone. So a training that was killed
and resumed ends with the weights of one that was not, bit for bit, on a CPU with the same number of threads; unless a time
budget made it change its plan.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data import Source
from ..encodings import advance, settled
from ..encodings import finish as finish_schedules
from ..errors import DanluError
from ..nn import plain_head
from ..units import show_seconds
from .autotune import Tune
from .checkpoint import Tensors
from .config import TrainConfig
from .evaluate import validate
from .interrupt import Interrupts
from .job import Job, prepare
from .memory import kept_memory
from .plan import Clock, replan, save_interval
from .randomness import private_randomness, seed_step
from .result import Fit
from .state import State

GUARD_EVERY = 10  # steps: reading the loss makes the processor wait for an accelerator
MOST_HALVINGS = 3
WORTH_SAYING = 0.1  # of the steps: smaller changes of a plan are stored, not logged


def fit(
    model: nn.Module,
    source: Source,
    config: TrainConfig,
    *,
    run: Path | None = None,
    teacher: nn.Module | None = None,
    resume: bool = False,
    device: str = "cpu",
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
    log: Callable[[str], None] | None = None,
) -> Fit:
    """Train a copy of `model` on `source.train`; give it back with the weights that were best on `source.val`.

    run       folder for checkpoints/; without one nothing is written
    teacher   distil from this model: see `danlu.tasks.classify`
    resume    go on from the newest whole checkpoint in `run`; start where there is none. Where the budget is not that of the
              checkpoint the plan is made again: the schedule goes on at its place in the new length
    on_epoch  called with each new row of the history; `on_step(step, total)` after each step
    stop      asked after each step; True ends the training as Ctrl-C does
    log       called with a line for people now and then

    Raises: UsageError for a model that does not fit the data, or a checkpoint of another training; Interrupted when asked to
    stop, with the state in `run` if there is one; DanluError when the loss does not stay finite.
    """
    say = log or (lambda text: None)
    clock = Clock()
    with Interrupts(stop) as interrupts, private_randomness(device), kept_memory(device):
        job = prepare(
            model, source, config, clock, run=run, teacher=teacher, resume=resume, device=device, say=say, interrupts=interrupts
        )  # fmt: skip
        state, task = job.state, job.task
        good = state.snapshot()
        clock.begin()
        while state.step < job.plan.total and not state.stopped_early:
            epoch, start = divmod(state.step, job.plan.per_epoch)
            for x, y in job.train(epoch=epoch, start=start):
                seed_step(config.seed, state.step, device)
                advance(state.model, (state.step + 1) / job.plan.total)  # the last step is at the end of every schedule
                state.stage(job.plan.total)
                share, gathering = job.pace()
                rate = state.set_rate(share)
                with job.tune.autocast(device):
                    x, targets = job.mixed(x, y)
                    known = teach(job.teacher, x)
                    outputs = state.model(x).float()
                loss = task.loss(outputs, targets, known)
                (loss + job.penalty()).backward()
                if state.gather(gathering, last=job.ends(state.step + 1)):
                    if config.clip:
                        nn.utils.clip_grad_norm_(state.model.parameters(), config.clip)
                    state.optimizer.step()
                    state.optimizer.zero_grad()
                    for regularizer in job.regularizers:
                        regularizer.after_step(state.model)
                    if state.ema:
                        state.ema.update(state.step)
                state.count(loss, task.score(outputs.detach(), y), len(y))
                clock.count(len(y))

                if config.seconds is not None and clock.due(config.seconds):
                    change_plan(job, config.seconds, say)
                at_end = state.step >= job.plan.total
                at_look = job.ends(state.step) or state.step % job.plan.every == 0
                at_save = at_end or state.step % job.plan.save == 0
                if on_step:
                    on_step(state.step, job.plan.total)

                sound = state.is_finite() if at_look or at_save else state.step % GUARD_EVERY or state.losses_are_finite()
                if at_look and sound:
                    row = look(job, rate)
                    sound = row is not None
                    if row and on_epoch:
                        on_epoch(row)
                    if row:
                        job.snapshot(say)
                    if config.patience and state.worse >= config.patience:
                        state.stopped_early = at_save = True
                        say(f"stopped early: {state.worse} validations without a better one")
                if not sound:
                    fall_back(state, good, say)
                    break
                if at_save:
                    with job.clock.saving():
                        good = state.snapshot()
                        job.checkpoint()
                    job.plan = replace(job.plan, save=save_interval(job.plan.every, job.clock))
                if interrupts.wanted and not at_end:
                    if not state.is_finite():
                        state.load(*good)
                    job.checkpoint()
                    kept = f"its state is in {run}" if run else "nothing was stored, for want of a run folder"
                    raise interrupts.error(f"training was interrupted at step {state.step:,} of {job.plan.total:,}; {kept}")
                if at_end or state.stopped_early:
                    break
        return finish(job, say)


def teach(teacher: nn.Module | None, x: Tensor) -> Tensor | None:
    """The teacher's outputs for a batch."""
    if teacher is None:
        return None
    with torch.no_grad():
        return teacher(x).float()


def change_plan(job: Job, seconds: float, say: Callable[[str], None]) -> None:
    """Let the plan follow the clock."""
    old = job.plan.total
    job.plan = replan(job.plan, job.clock, job.state.step, seconds)
    if abs(job.plan.total - old) > WORTH_SAYING * old:
        word = "shrinks" if job.plan.total < old else "grows"
        say(f"step {job.state.step:,}: the plan {word} from {old:,} to {job.plan.total:,} steps, for {show_seconds(seconds)}")


def look(job: Job, rate: float) -> dict[str, Any] | None:
    """Validate, and add a row to the history; None when the loss is not finite."""
    state, task, speed = job.state, job.task, job.clock.speed()
    with job.clock.validating():
        val_loss, val_score = validate(state.judged(), job.val, task, job.tune, job.device)
    if not math.isfinite(val_loss):
        return None
    train_loss, train_score = state.means()
    row = {
        "epoch": round(state.step / job.plan.per_epoch, 3), "step": state.step, "seconds": round(job.clock.elapsed, 3),
        "lr": rate, "train_loss": train_loss, f"train_{task.primary}": train_score,
        "val_loss": val_loss, f"val_{task.primary}": val_score, "images_per_second": round(speed, 1),
    }  # fmt: skip
    state.history.append(row)
    if settled(state.model):  # a net that is still being pruned is better than it will be: it must not stay the best
        state.judge(val_score, val_loss, task.higher_is_better)
    return row


def fall_back(state: State, good: tuple[Tensors, dict[str, Any]], say: Callable[[str], None]) -> None:
    """Return to the last good state, at half the rate. Raises DanluError when that was done often enough."""
    at, halvings = state.step, state.halvings + 1
    if halvings > MOST_HALVINGS:
        raise DanluError(
            f"the loss is not a finite number at step {at:,}, after {MOST_HALVINGS} returns to a good state at half the rate; "
            "try a smaller lr, clip=1, or precision='fp32'"
        )
    state.load(*good)
    state.halvings = halvings
    say(f"the loss is not a finite number at step {at:,}: back to step {state.step:,}, at 1/{2**halvings} of the rate")


def finish(job: Job, say: Callable[[str], None]) -> Fit:
    """The best weights on the CPU."""
    state = job.state
    if state.best is None:  # a plan that was cut to what had been done, before the first validation
        finish_schedules(state.model)
        look(job, 0.0)
        job.checkpoint()
    best = state.best
    if best is None:
        raise DanluError("the validation loss is not a finite number; start again with a smaller lr")
    model = state.model
    model.load_state_dict(best.weights)
    state.thaw()
    for regularizer in reversed(job.regularizers):
        regularizer.restore(model)
    model = plain_head(model)
    model = Tune("fp32", "nchw").place(model, "cpu").eval()
    say(f"best {job.task.primary} {best.score:.4f} at step {best.step:,}; {show_seconds(job.clock.elapsed)} in all")
    return Fit(
        model=model, history=state.history, best_accuracy=best.score, steps=state.step, seconds=job.clock.elapsed,
        plan=job.plan, tune=job.tune, stopped_early=state.stopped_early,
    )  # fmt: skip
