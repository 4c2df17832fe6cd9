"""A chain of edits on a trained net: each step applied, fine-tuned where it needs it, stored, so that it can be resumed.

net -> edit -> fine-tuned with the net it came from as teacher -> edit -> fine-tuned -> ...
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..codec import load_saved, save
from ..data import Source, batches
from ..edits import Outcome, edit, edits, rates_of
from ..edits.chain import check
from ..edits.recipe import Call, parse
from ..encodings import Mask, Penalty, encoded, settled
from ..errors import UsageError
from ..files import write_json
from ..train import TrainConfig, fit
from .trainer import has_norm, settings

# A centroid gets the sum of many gradients, whose size depends on the layer; Adam's steps do not. ResNet-8 on digits, 94 % zeros
# and 3 bits, 3 epochs: 94.8 % with Adam at 1e-3 or 3e-4; with SGD 93.7 % at 0.01, 94.4 % at 0.001 (validation).
ENCODED_LR = 1e-3


@dataclass(frozen=True)
class Editor:
    """Applies steps to nets on the images of `source`, and fine-tunes them."""

    source: Source
    seed: int = 0
    device: str = "cpu"
    log: Callable[[str], None] = lambda _: None
    stop: Callable[[], bool] | None = None
    on_epoch: Callable[[dict[str, Any]], None] | None = None

    @property
    def example(self) -> Tensor:
        """An input. Shape: [1, C, H, W]."""
        return torch.zeros(1, *self.source.input.shape)

    def feed(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of training images, for edits that look at some."""
        return batches(self.source.train, self.source.input, 64, shuffle=True, seed=self.seed)

    def check(self, calls: list[Call], history: str | None) -> None:
        """Raise UsageError that lists everything wrong with the chain on a net of recipe `history`."""
        check(calls, {"example": self.example, "batches": self.feed}, history)

    def edited(self, net: nn.Module, call: Call) -> Outcome:
        """One step."""
        return edit(net, str(call), example=self.example, batches=self.feed)

    def all_at_once(self, net: nn.Module, calls: Sequence[Call]) -> nn.Module:
        """The net after all steps without any training; gradual steps are made at once. For its size and latency only."""
        for call in calls:
            net = self.edited(net, at_once(call)).model
        return net.eval()

    def rehearse(self, net: nn.Module, calls: Sequence[Call], *, trained: bool = True) -> list[bool]:
        """Run the chain once without training: which of its steps want fine-tuning.

        Raises: UsageError for a step that does not apply, for a net that no longer gives a logit for each class, and, where
        nothing will be `trained`, for a step that works while the net is trained.
        """
        wants = []
        for call in calls:
            after = self.edited(net, call).model
            if not settled(after) and not trained:
                raise UsageError(f"{call} works while the net is fine-tuned: give it time or epochs")
            wants.append(not edits[call.name].facts["exact"] or parts(after) != parts(net))
            net = after if settled(after) else self.edited(net, at_once(call)).model
        with torch.no_grad():
            out = net.eval()(self.example)
        wanted = (1, len(self.source.classes))
        if not isinstance(out, Tensor) or tuple(out.shape) != wanted:
            got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise UsageError(f"after {' | '.join(map(str, calls))} the net gives {got} for an image; {wanted} is needed")
        return wants

    def tuned(self, net: nn.Module, teacher: nn.Module, config: TrainConfig, home: Path) -> nn.Module:
        """Fine-tune in `home`, from its checkpoint where there is one; the curve is stored there."""
        done = fit(
            net, self.source, config, run=home, teacher=teacher, resume=(home / "checkpoints").exists(), device=self.device,
            stop=self.stop, log=self.log, on_epoch=self.on_epoch,
        )  # fmt: skip
        write_json(home / "history.json", done.history)
        return done.model


def at_once(call: Call) -> Call:
    """The step without a schedule over the training."""
    return Call(call.name, {**call.options, "schedule": "oneshot"}) if call.options.get("schedule") == "gradual" else call


def parts(net: nn.Module) -> dict[str, list[str]]:
    """The kinds of encodings of each tensor."""
    return {f"{name}.{tensor}": [type(part).__name__ for part in chain] for name, _, tensor, chain in encoded(net)}


def tuning(net: nn.Module, images: int, base: TrainConfig, lr: float | None = None) -> TrainConfig:
    """How an edited net is fine-tuned: as it is trained, but with Adam where weights are encoded by more than a mask.

    `lr` takes the place of the rate where SGD is used.
    """
    config = settings(net, images, base, pruned=True)
    if any(not isinstance(part, Mask | Penalty) for _, _, _, chain in encoded(net) for part in chain):
        return replace(config, optimizer="adamw", lr=ENCODED_LR, weight_decay=0.0, clip=0.0)
    return replace(config, lr=lr) if lr is not None and has_norm(net) else config


@dataclass
class Progress:
    """How far a chain is: stored beside its nets. `rows` are what `ship` said of each step."""

    path: Path
    done: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    kept: list[dict[str, str]] = field(default_factory=list)
    goals: dict[str, float] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> "Progress":
        """What is stored, or a beginning."""
        if not path.exists():
            return cls(path)
        try:
            return cls(path, **json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise UsageError(f"{path} cannot be read, so this run cannot be resumed: {error}") from error

    def save(self) -> None:
        """Write atomically."""
        write_json(self.path, {"done": self.done, "rows": self.rows, "kept": self.kept, "goals": self.goals})


# ship(position, name, net, before fine-tuning) -> rows
Ship = Callable[[int, str, nn.Module, bool], list[dict[str, Any]]]


def walk(
    net: nn.Module,
    chain: str,
    wants: Sequence[bool],
    home: Path,
    editor: Editor,
    teacher: nn.Module,
    budget: Callable[[int], TrainConfig | None],
    ship: Ship,
    lr: float | None = None,
) -> tuple[nn.Module, Progress]:
    """Run the chain on `net`; nets, curves and rows are stored in `home`, and steps that are there are not repeated.

    `budget(k)` says how long step k is fine-tuned (None: not at all); a goal in seconds is asked for once, since `fit` counts
    the seconds of a training over its interruptions. Returns the last net and the rows.
    """
    progress = Progress.open(home / "chain.json")
    calls = parse(chain)
    if progress.done:
        net = load_saved(home / str(progress.done - 1), trust=True).model
    for k, call in enumerate(calls):
        if k < progress.done:
            continue
        outcome = editor.edited(net, call)
        net, rows = outcome.model, []
        editor.log(f"{call}: {outcome}")
        config = budget(k) if wants[k] else None
        rows += ship(k, str(call), net, config is not None)
        if config is not None:
            if config.seconds is not None:
                config = replace(config, seconds=progress.goals.setdefault(str(k), config.seconds))
                progress.save()
            config = tuning(net, len(editor.source.train), config, lr)
            # A merging's new layers learn while the others stay. The rate is one to train with, ten times that of fine-tuning.
            rates = rates_of(outcome, new=1.0, others=0.0)
            config = replace(config, rates=rates) if len(rates) > 1 else config
            net = editor.tuned(net, teacher, config, home / str(k))
            rows += ship(k, f"{call}, fine-tuned", net, False)
        save(net, home / str(k), input=editor.source.input, classes=editor.source.classes)
        progress.rows += rows
        progress.kept += [{"what": name, "why": why} for name, why in outcome.kept]
        progress.done = k + 1
        progress.save()
    return net, progress
