"""Thresholds for early exits: the fastest answers whose accuracy on the validation images stays within a drop of the last exit's.

    mean ms   = sum_i share_i ms_i,      ms_i: all segments up to exit i, measured in onnxruntime at batch 1
    accuracy >= accuracy of the last exit - max_drop

With the other thresholds fixed, the best threshold of one exit is found exactly: sort the images that reach it by entropy;
letting the k surest leave changes the right answers and the milliseconds by prefix sums. Exits take turns until nothing is
gained, from the front and from the back; the better end is kept.
"""

import copy
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnxruntime import OrtValue
from torch import nn

from ..data import Source, batches
from ..data.layout import SPLITS
from ..data.spec import Input
from ..errors import UsageError, unknown
from ..nn.early_exit import EarlyExit, exit_entropy
from .bench import interleave, runner
from .exits import export_segments, with_exits
from .onnx import prepare
from .quiet import no_collection
from .runtime import session

MOST_TURNS = 20
BLOCK = 50  # images that go through one file before the other has its turn


@dataclass(frozen=True)
class ExitScores:
    """What every exit says of the images of a split. Shape: right bool [N, E], entropy float [N, E - 1] as a share of log K."""

    right: np.ndarray
    entropy: np.ndarray

    def leaves(self, thresholds: Sequence[float]) -> np.ndarray:
        """The exit at which each image leaves, from 0. Shape: int [N]."""
        sure = self.entropy < np.asarray(thresholds)
        return np.where(sure.any(1), sure.argmax(1), self.entropy.shape[1])


@dataclass(frozen=True)
class ExitReport:
    """How a net with these thresholds does on `n` images of a split.

    `accuracies` are those of each exit if all images left there; `rates` the shares that leave at each; `exit_ms` the
    milliseconds of an answer at each, `mean_ms` the mean over the images.
    """

    split: str
    n: int
    thresholds: tuple[float, ...]
    accuracy: float
    accuracies: tuple[float, ...]
    rates: tuple[float, ...]
    exit_ms: tuple[float, ...]
    mean_ms: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def calibrate_exits(
    model: nn.Module, source: Source, *, max_drop: float = 0.0, split: str = "val", exit_ms: Sequence[float] | None = None
) -> tuple[EarlyExit, ExitReport]:
    """A copy of `model` with the thresholds of the lowest mean latency, and its report; `model` is untouched.

    max_drop  of accuracy against the last exit on `split`, in shares: 0.001 is 0.1 points; below 0 asks for a gain
    exit_ms   milliseconds of an answer at each exit, rising; measured (`measure_exits`) where None

    Raises: UsageError for a net without exits, a split without images, or a gain that no thresholds give.
    """
    new = with_exits(copy.deepcopy(model))
    scores = score_exits(new, source, split=split)
    costs = measure_exits(new, input=source.input, classes=source.classes) if exit_ms is None else tuple(exit_ms)
    found = choose_thresholds(scores, costs, max_drop)
    new.thresholds.copy_(torch.tensor(found))
    return new, report_exits(new, scores, costs, split)


@torch.no_grad()
def score_exits(model: nn.Module, source: Source, *, split: str = "val", batch_size: int = 512) -> ExitScores:
    """Every exit on every image of a split, in fp32."""
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    part = getattr(source, split)
    if not len(part):
        raise UsageError(f"the {split} split of {source.where} has no images")
    plain = with_exits(prepare(model))
    right, entropy = [], []
    for x, y in batches(part, source.input, batch_size):
        exits = torch.stack(plain.exits(x), 1)
        right.append(exits.argmax(2) == y[:, None])
        entropy.append(exit_entropy(exits[:, :-1]))
    return ExitScores(torch.cat(right).numpy(), torch.cat(entropy).numpy())


def report_exits(model: nn.Module, scores: ExitScores, exit_ms: Sequence[float], split: str) -> ExitReport:
    """The report of a net with the thresholds it has."""
    thresholds = tuple(with_exits(model).thresholds.tolist())
    at = scores.leaves(thresholds)
    n, exits = scores.right.shape
    rates = np.bincount(at, minlength=exits) / n
    return ExitReport(
        split=split, n=n, thresholds=thresholds, accuracy=float(scores.right[np.arange(n), at].mean()),
        accuracies=tuple(scores.right.mean(0).tolist()), rates=tuple(rates.tolist()), exit_ms=tuple(exit_ms),
        mean_ms=float(rates @ np.asarray(exit_ms)),
    )  # fmt: skip


def measure_exits(
    model: nn.Module, *, input: Input, classes: Sequence[str], threads: int = 1, repeats: int = 100
) -> tuple[float, ...]:
    """Milliseconds of an answer at each exit, batch 1: the median of each segment, summed up to the exit."""
    with tempfile.TemporaryDirectory(prefix="danlu-exits-") as folder:
        files = export_segments(model, folder, input=input, classes=classes)
        calls = [runner(session(file, threads=threads), file) for file in files]
        times = np.median(interleave(calls, repeats=repeats), 0)
    return tuple(np.cumsum(times).tolist())


@dataclass(frozen=True)
class ExitSpeed:
    """Mean milliseconds of an image of a split, batch 1, with exits and without; `times_faster` is their ratio.

    `rounds` has the ratio of each round's sums, disturbances included.
    """

    images: int
    mean_ms: float
    whole_ms: float
    times_faster: float
    rounds: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"rounds": list(self.rounds)}


def race_exits(
    file: str | Path,
    whole: str | Path,
    source: Source,
    *,
    split: str = "test",
    most: int = 1000,
    rounds: int = 5,
    threads: int = 1,
) -> ExitSpeed:
    """Time a file of `export_exits` against the net without exits on the same real images, one by one.

    Blocks of images go through one file, then through the other, in an order drawn for each block, so that a machine that
    slows down slows both; inputs and outputs are bound once (`bound`), and a file runs once untimed before its turn, to have
    its weights back in the caches. `most` images of the split are taken, evenly spread over it. The mean is over the images;
    of each block the median over the rounds counts, so that what else the machine did in one round does not.

    Raises: UsageError when the split is empty, or a file cannot be run.
    """
    part = getattr(source, split)
    if not len(part):
        raise UsageError(f"the {split} split of {source.where} has no images")
    index = np.unique(np.linspace(0, len(part) - 1, min(most, len(part))).round().astype(int))
    feeds = [image[None] for x, _ in batches(part.only(index), source.input, 512, channels_last=False) for image in x.numpy()]
    calls = [bound(path, feeds[0], len(source.classes), threads) for path in (file, whole)]
    order = np.random.default_rng(0)
    blocks = [feeds[first : first + BLOCK] for first in range(0, len(feeds), BLOCK)]
    times = np.empty((rounds, len(blocks), 2))
    with no_collection():
        for turn in range(rounds):
            for i, block in enumerate(blocks):
                for which in order.permutation(2).tolist():
                    call = calls[which]
                    call(block[0])
                    start = time.perf_counter_ns()
                    for feed in block:
                        call(feed)
                    times[turn, i, which] = (time.perf_counter_ns() - start) / 1e6
    with_ms, whole_ms = (np.median(times, 0).sum(0) / len(feeds)).tolist()
    sums = times.sum(1)
    return ExitSpeed(len(feeds), with_ms, whole_ms, whole_ms / with_ms, tuple((sums[:, 1] / sums[:, 0]).tolist()))


def bound(path: str | Path, like: np.ndarray, classes: int, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """A call that runs a file on one image in buffers that are bound once: at these sizes handing over arguments costs as much
    as a convolution, and a program that counts microseconds does not do it for every image.
    """
    net = session(path, threads=threads)
    image, logits = np.empty_like(like), np.empty((1, classes), np.float32)
    binding = net.io_binding()
    given = OrtValue.ortvalue_from_numpy(image)
    binding.bind_ortvalue_input("input", given)
    binding.bind_output("logits", "cpu", 0, np.float32, logits.shape, logits.ctypes.data)

    def call(x: np.ndarray) -> np.ndarray:
        given.update_inplace(x)
        net.run_with_iobinding(binding)
        return logits  # the bound buffer: the next call writes over it

    return call


def choose_thresholds(scores: ExitScores, exit_ms: Sequence[float], max_drop: float = 0.0) -> tuple[float, ...]:
    """The thresholds of the lowest mean latency within `max_drop` of the last exit's accuracy, on these images.

    Raises: UsageError for latencies that do not rise, or, with `max_drop` below 0, a gain that no thresholds give.
    """
    costs = np.asarray(exit_ms, float)
    n, exits = scores.right.shape
    if len(costs) != exits or not (np.diff(costs) >= 0).all():
        raise UsageError(f"exit_ms takes {exits} rising numbers, one for each exit, got {list(exit_ms)}")
    need = int(np.ceil(n * (scores.right[:, -1].mean() - max_drop) - 1e-6))
    found = [_turns(scores, costs, need, order) for order in (range(exits - 1), range(exits - 2, -1, -1))]
    kept = [(mean, thresholds) for mean, right, thresholds in found if right >= need]
    if not kept:
        raise UsageError(f"no thresholds are {-max_drop:.4g} better than the last exit on these images; allow a max_drop from 0")
    return min(kept)[1]


def _turns(scores: ExitScores, costs: np.ndarray, need: int, order: Sequence[int]) -> tuple[float, int, tuple[float, ...]]:
    """(mean ms, right answers, thresholds) when the exits take turns in this order, from no early exit at all."""
    thresholds = [0.0] * (scores.right.shape[1] - 1)
    state = _judge(scores, costs, thresholds)
    for _ in range(MOST_TURNS):
        for i in order:
            thresholds[i] = _best_threshold(scores, costs, thresholds, i, need)
        before, state = state, _judge(scores, costs, thresholds)
        if state[0] >= before[0]:
            break
    return state


def _judge(scores: ExitScores, costs: np.ndarray, thresholds: Sequence[float]) -> tuple[float, int, tuple[float, ...]]:
    """(mean ms, right answers, thresholds)."""
    at = scores.leaves(thresholds)
    return float(costs[at].mean()), int(scores.right[np.arange(len(at)), at].sum()), tuple(thresholds)


def _best_threshold(scores: ExitScores, costs: np.ndarray, thresholds: Sequence[float], i: int, need: int) -> float:
    """The best threshold of exit i with the others as they are."""
    without = [0.0 if j == i else threshold for j, threshold in enumerate(thresholds)]
    at = scores.leaves(without)
    everyone = np.arange(len(at))
    reach = np.flatnonzero(at > i)
    entropy = scores.entropy[reach, i]
    order = np.argsort(entropy, kind="stable")
    reach, entropy = reach[order], entropy[order]
    now = scores.right[everyone, at]
    change = scores.right[reach, i].astype(int) - now[reach]
    right = now.sum() + np.concatenate([[0], np.cumsum(change)])
    spent = costs[at].sum() + np.concatenate([[0.0], np.cumsum(costs[i] - costs[at[reach]])])
    # k may leave only if the k-th and the next differ: equal entropies leave together
    edges = np.concatenate([[True], entropy[1:] > entropy[:-1], [True]]) if len(entropy) else np.array([True])
    allowed = edges & (right >= need)
    if not allowed.any():  # a gain is asked for: as many right answers as this exit can give
        allowed = edges & (right == right[edges].max())
    k = int(np.flatnonzero(allowed)[np.argmin(spent[allowed])])
    if k == 0:
        return 0.0
    upper = entropy[k] if k < len(entropy) else max(1.0, float(entropy[-1])) + 1e-3
    return float(np.float32((entropy[k - 1] + upper) / 2))
