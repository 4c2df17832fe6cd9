"""What a candidate costs, measured on its exported file before it is trained: latency and bytes do not depend on the weights."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ..cost import profile
from ..data.spec import Input
from ..deploy import bench, export_onnx, quantize_int8
from .space import Proposal

# The precision of a candidate that was not packed: its size is what its .danlu file is predicted to have.
PREDICTED = "danlu, predicted"


@dataclass(frozen=True)
class Cost:
    """The cost of one exported file. Latency is at batch 1; `latency_ratio` is to the baseline's file in the same run."""

    precision: str
    file: str
    size_bytes: int
    latency_ms: float
    latency_p10_ms: float
    latency_p90_ms: float
    latency_ratio: float
    macs: int
    params: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def noise(input: Input, count: int = 8) -> list[np.ndarray]:
    """Calibration for a network without trained weights: only its cost is asked for."""
    generator = np.random.default_rng(0)
    return [generator.standard_normal((1, *input.shape), dtype=np.float32) for _ in range(count)]


def count(model: nn.Module, input: Input) -> tuple[int, int]:
    """(MACs, parameters)."""
    counted = profile(model, input.shape)
    return counted.macs, counted.params


def latencies(files: Sequence[Path], threads: int, seconds: float) -> list[tuple[float, float, float, float]]:
    """(median, p10, p90, ratio to the first file) of each, interleaved."""
    return [
        (t.median_ms, t.p10_ms, t.p90_ms, t.ratio)
        for t in bench([str(f) for f in files], threads=threads, repeats=400, seconds=seconds)
    ]


def measure(
    proposal: Proposal,
    make: Callable[[], nn.Module],
    input: Input,
    classes: Sequence[str],
    baseline: tuple[Path, float],
    folder: Path,
    *,
    threads: int,
    seconds: float,
    packed: Callable[[nn.Module], int] | None = None,
) -> list[Cost]:
    """Export `proposal` untrained in fp32 and int8 and measure both against the baseline's file, interleaved.

    `packed` predicts the bytes of the .danlu file where that is what ships: its size is the one that counts, and since it
    unpacks to fp32 there is no other precision.

    `baseline` is its file and its latency in ms: the latency of a candidate is ratio x that, so that a change in the
    machine's speed between two measurements does not decide between candidates.
    """
    model = make()
    macs, params = count(model, input)
    fp32 = export_onnx(model, folder / "fp32.onnx", input=input, classes=classes, recipe=proposal.recipe, check=False)
    if packed is not None:
        forms = [(PREDICTED, fp32, packed(model))]
    else:
        int8 = quantize_int8(fp32, folder / "int8.onnx", noise(input))
        forms = [("fp32", fp32, fp32.stat().st_size), ("int8", int8, int8.stat().st_size)]
    timed = latencies([baseline[0], *(file for _, file, _ in forms)], threads, seconds)[1:]
    costs = []
    for (precision, file, size), (median, low, high, ratio) in zip(forms, timed, strict=True):
        scale = ratio * baseline[1] / median
        costs.append(Cost(precision, str(file), size, median * scale, low * scale, high * scale, ratio, macs, params))
    return costs
