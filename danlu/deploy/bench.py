"""Compare the latency of ONNX files in one interleaved run.

Every round times every file once, in a random order, so that a machine that slows down slows all of them; a file is compared
with the first one within each round. Before a timed sample the file runs once untimed: its weights are back in the caches
that the file before it took. A sample of a file faster than the clock is good for is the mean of several runs.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from ..errors import UsageError
from .quiet import no_collection
from .runtime import session

SAMPLE_MS = 0.2  # a sample lasts at least this long
FEWEST = 5  # rounds that are run however short the time is
NUMPY = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64, "tensor(uint8)": np.uint8}


@dataclass(frozen=True)
class Timing:
    """The latency of one file: median, 10th and 90th percentile over the rounds, in ms at batch 1.

    `ratio` is the median over the rounds of (this file's time / the first file's time in the same round), with its
    10th and 90th percentile: below 1 is faster than the first file.
    """

    file: str
    size_bytes: int
    median_ms: float
    p10_ms: float
    p90_ms: float
    ratio: float
    ratio_p10: float
    ratio_p90: float
    rounds: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def bench(
    files: Sequence[str | Path],
    *,
    threads: int = 1,
    warmup: int = 10,
    repeats: int = 100,
    seconds: float | None = None,
    seed: int = 0,
) -> list[Timing]:
    """Time every file at batch 1 on random inputs, `repeats` rounds or until `seconds` have passed (at least 5 rounds).

    Raises: UsageError for no files, a file that is missing or not ONNX, or an input whose size the file leaves open.
    """
    if not files:
        raise UsageError("nothing to compare; name at least one ONNX file")
    began = time.perf_counter()
    calls = [runner(session(file, threads=threads), file, seed) for file in files]
    left = None if seconds is None else seconds - (time.perf_counter() - began)
    times = interleave(calls, warmup=warmup, repeats=repeats, seconds=left, seed=seed)
    ratios = times / times[:, :1]
    timings = []
    for i, file in enumerate(files):
        low, middle, high = np.percentile(times[:, i], (10, 50, 90)).tolist()
        ratio_low, ratio, ratio_high = np.percentile(ratios[:, i], (10, 50, 90)).tolist()
        size = Path(file).stat().st_size
        timings.append(Timing(str(file), size, middle, low, high, ratio, ratio_low, ratio_high, len(times)))
    return timings


def runner(running: ort.InferenceSession, file: str | Path, seed: int = 0) -> Callable[[], object]:
    """A call that runs `running` once on random inputs of the shape the file states, batch 1."""
    generator = np.random.default_rng(seed)
    feed = {}
    for value in running.get_inputs():
        shape = [1 if axis == 0 and not isinstance(size, int) else size for axis, size in enumerate(value.shape)]
        if value.type not in NUMPY or not all(isinstance(size, int) for size in shape):
            allowed = "floats or uint8 with every dimension but the batch fixed"
            raise UsageError(f"{file}: cannot make an input for {value.name!r} {value.type} {value.shape}; it takes {allowed}")
        feed[value.name] = np.asarray(generator.standard_normal(shape)).astype(NUMPY[value.type])
    outputs = [value.name for value in running.get_outputs()]
    return lambda: running.run(outputs, feed)


def interleave(
    calls: Sequence[Callable[[], object]], *, warmup: int = 10, repeats: int = 100, seconds: float | None = None, seed: int = 0
) -> np.ndarray:
    """Milliseconds of one call, [rounds, len(calls)]; each round runs every call, in a random order of its own.

    Ends after `repeats` rounds, or with the first round that is over `seconds` after the start, but never before round 5.
    The garbage collector rests meanwhile, as in `timeit`.
    """
    if warmup < 0 or repeats < 1:
        raise UsageError(f"warmup must be at least 0 and repeats at least 1, got {warmup} and {repeats}")
    began = time.perf_counter()
    order = np.random.default_rng(seed)
    rounds: list[np.ndarray] = []
    with no_collection():
        for _ in range(warmup):
            for call in calls:
                call()
        inner = [max(1, round(SAMPLE_MS / max(once(call), 1e-4))) for call in calls]
        while len(rounds) < repeats:
            times = np.empty(len(calls))
            for i in order.permutation(len(calls)):
                calls[i]()
                times[i] = once(calls[i], inner[i])
            rounds.append(times)
            if seconds is not None and len(rounds) >= FEWEST and time.perf_counter() - began > seconds:
                break
    return np.stack(rounds)


def once(call: Callable[[], object], runs: int = 1) -> float:
    """Mean milliseconds of a call over `runs` runs."""
    start = time.perf_counter_ns()
    for _ in range(runs):
        call()
    return (time.perf_counter_ns() - start) / runs / 1e6
