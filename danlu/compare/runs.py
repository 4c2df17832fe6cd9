"""One run of the grid: a cell trained with one seed in its own folder, and what is kept of it.

    cells/003/seed-1/   checkpoints/   while it trains; a killed run goes on from there
                        model.safetensors model.json   its best weights
                        run.json       its result; where it is, the run is done

A training that does not end well is a result too: it is kept with the reason.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..codec import load, save
from ..data import Source
from ..errors import DanluError, UsageError
from ..files import write_json
from ..train import Fit, Interrupted, Scores, TrainConfig, evaluate, fit
from ..train.checkpoint import Checkpoints
from ..zoo import create
from .grid import Cell

Log = Callable[[str], None]
Row = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """A run that has ended. `why` says what went wrong, empty where nothing did; `accuracy` is that of the best weights.

    Shape: right bool [N], which of the validation images the best weights get right; test_right the same of the test images,
    where these were looked at.
    """

    cell: int
    seed: int
    why: str = ""
    accuracy: float = 0.0
    best_epoch: float = 0.0
    epochs: float = 0.0
    steps: int = 0
    seconds: float = 0.0
    stopped_early: bool = False
    tune: dict[str, str] = field(default_factory=dict)
    history: list[Row] = field(default_factory=list, repr=False)
    right: np.ndarray = field(default_factory=lambda: np.zeros(0, bool), repr=False)
    test_right: np.ndarray | None = field(default=None, repr=False)

    def to_json(self) -> Row:
        """Plain values; the images as bits in hexadecimal, with their number."""
        plain = {name: value for name, value in vars(self).items() if name not in ("right", "test_right")}
        return {**plain, "right": pack(self.right), "test_right": None if self.test_right is None else pack(self.test_right)}

    @classmethod
    def from_json(cls, data: Row) -> "Result":
        """The reverse of `to_json`."""
        test = data["test_right"]
        return cls(**{**data, "right": unpack(data["right"]), "test_right": None if test is None else unpack(test)})


def pack(right: np.ndarray) -> list[Any]:
    """Shape: bool [N] -> [N, hexadecimal text]."""
    return [len(right), np.packbits(right).tobytes().hex()]


def unpack(data: list[Any]) -> np.ndarray:
    """The reverse of `pack`."""
    count, text = data
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8), count=count).astype(bool)


def right_of(scores: Scores) -> np.ndarray:
    """Which images were classified rightly. Shape: bool [N]."""
    return np.asarray(scores.logits.argmax(1) == scores.labels)


def read_result(home: Path) -> Result | None:
    """The result of a run, None where it has none yet. Raises DanluError for a file that cannot be read."""
    file = home / "run.json"
    if not file.is_file():
        return None
    try:
        return Result.from_json(json.loads(file.read_text()))
    except (ValueError, KeyError, TypeError) as error:
        raise DanluError(f"{file} cannot be read ({error}); delete it, and this run is made again") from error


def run_cell(
    cell: Cell, seed: int, home: Path, source: Source, *, tune: dict[str, str], device: str, stop: Callable[[], bool] | None,
    on_epoch: Callable[[Row], None], log: Log,
) -> Result:  # fmt: skip
    """Train a cell with one seed, from its checkpoint where there is one; judge and store it.

    `tune` has the precision and memory format that its network was found to train fastest with, where that is known.
    Raises: Interrupted when asked to stop; UsageError where its checkpoint is of another training.
    """
    net = create(cell.recipe, num_classes=len(source.classes), in_channels=source.input.channels, seed=seed)
    resume = resumable(home, log)
    try:
        done = fit(
            net, source, tuned(replace(cell.config, seed=seed), tune), run=home, resume=resume, device=device, on_epoch=on_epoch,
            stop=stop, log=log,
        )  # fmt: skip
    except Interrupted:
        raise
    except UsageError as error:
        if resume:  # that says nothing of the combination
            raise UsageError(f"{error}; delete {home / 'checkpoints'}, and this run begins again") from error
        result = Result(cell.id, seed, why=str(error))
    except (DanluError, MemoryError, torch.OutOfMemoryError) as error:
        why = str(error) if isinstance(error, DanluError) else "out of memory; try a smaller batch_size"
        result = Result(cell.id, seed, why=why)
    else:
        save(done.model, home, input=source.input, classes=source.classes)
        result = result_of(cell, seed, done, right_of(evaluate(done.model, source, split="val", device=device)))
    write_json(home / "run.json", result.to_json())
    shutil.rmtree(home / "checkpoints", ignore_errors=True)
    return result


def result_of(cell: Cell, seed: int, done: Fit, right: np.ndarray) -> Result:
    """What is kept of a training. Of equal accuracies the epoch with the smaller loss was the best, as in training."""
    best = max(done.history, key=lambda row: (row["val_accuracy"], -row["val_loss"]))
    return Result(
        cell.id, seed, accuracy=float(right.mean()), best_epoch=best["epoch"], epochs=done.steps / done.plan.per_epoch,
        steps=done.steps, seconds=done.seconds, stopped_early=done.stopped_early, history=done.history, right=right,
        tune={"precision": done.tune.precision, "memory_format": done.tune.memory_format},
    )  # fmt: skip


def tuned(config: TrainConfig, tune: dict[str, str]) -> TrainConfig:
    """With what is known of the fastest arithmetic in the place of every "auto": the same in all runs of a network."""
    return replace(config, **{name: value for name, value in tune.items() if getattr(config, name) == "auto"})  # type: ignore[arg-type]


def resumable(home: Path, log: Log) -> bool:
    """Whether there is a checkpoint to go on from; damaged ones are cleared away."""
    store = Checkpoints(home / "checkpoints", log)
    try:
        return store.read() is not None
    except DanluError as error:
        log(f"{error}; this run begins again")
        store.clear()
        return False


def judge_on_test(result: Result, home: Path, source: Source, device: str) -> Result:
    """The result with the test images that its best weights get right."""
    if result.why or result.test_right is not None:
        return result
    model = load(home, trust=True)  # its recipe is the one that this comparison was started with
    judged = replace(result, test_right=right_of(evaluate(model, source, split="test", device=device)))
    write_json(home / "run.json", judged.to_json())
    return judged
