"""What a report is made from: one JSON-able dict, written by the optimiser as result.json.

Units: bytes, milliseconds, seconds, MACs (one multiply-accumulate each); accuracies and their differences in [0, 1].
Only `name`, `budget`, `baseline` and `best` must be there. Any other part may be None or absent: its section is then left out
and the report says so.
"""

import math
from typing import Any, Required, TypedDict

from ..errors import UsageError


class Model(TypedDict, total=False):
    """A file that ships: `accuracy` is on test, by onnxruntime; `val_accuracy` on validation.

    `onnx` is the ONNX file that was run: `file` itself, or what a .danlu file unpacks to.
    """

    recipe: Required[str]
    precision: str  # "fp32", "int8" or "danlu"
    accuracy: float | None
    val_accuracy: float | None
    size_bytes: int | None
    latency_ms: float | None
    latency_p10_ms: float | None
    latency_p90_ms: float | None
    macs: int | None
    params: int | None
    file: str
    onnx: str


class Check(TypedDict):
    """One limit held against what was measured; `unit` is "bytes", "ms", "MAC" or "share"."""

    what: str
    limit: float
    got: float
    unit: str
    met: bool


class Budget(TypedDict, total=False):
    """The limits in absolute numbers, None where there is none, and whether they were kept."""

    met: Required[bool]
    text: dict[str, Any] | None
    max_size_bytes: float | None
    max_latency_ms: float | None
    max_macs: float | None
    max_drop: float | None
    checks: list[Check]
    in_the_way: str


class Gain(TypedDict, total=False):
    """Baseline divided by best; 2.0 is twice as fast or half as large."""

    latency: float
    latency_interval: list[float]
    size: float
    macs: float
    params: float


class Mistake(TypedDict):
    """A test image the chosen model gets wrong; `image` is a PNG as a data URI."""

    image: str
    truth: str
    predicted: str
    confidence: float
    name: str


class Test(TypedDict, total=False):
    """Both files on the same test images; `interval` holds the 95 % interval of the paired difference."""

    n: int
    accuracy: float
    baseline_accuracy: float
    difference: float
    interval: list[float]
    metrics: dict[str, Any]
    confusion: list[list[int]]  # [truth][predicted]
    mistakes: list[Mistake]


class Candidate(TypedDict, total=False):
    """One candidate in one precision; `accuracy` is on validation, None where it was never trained."""

    id: int
    recipe: Required[str]
    precision: str  # as a model's, or "danlu, predicted" where nothing was packed
    size: list[int]  # [H, W]
    params: int | None
    macs: int | None
    size_bytes: int | None
    latency_ms: float | None
    latency_p10_ms: float | None
    latency_p90_ms: float | None
    accuracy: float | None
    status: str  # infeasible, measured, failed, stopped, trained, chosen, baseline
    why: str
    rungs: list[dict[str, float]]  # {"seconds", "accuracy"}


class Step(TypedDict, total=False):
    """A stop on the way from the baseline to the chosen file, with everything measured there."""

    name: Required[str]
    recipe: str
    accuracy: float | None
    size_bytes: float | None
    latency_ms: float | None
    macs: float | None
    params: float | None
    note: str  # what file the size is of, or how it was computed


class Result(TypedDict, total=False):
    """The whole result. `layers` holds two profiles as `Profile.to_json()` gives them; `health` is free-form."""

    danlu: str
    run: str
    name: Required[str]
    seconds: float
    time_budget: float
    seed: int
    threads: int
    format: str  # the file that ships: "onnx" (also when absent) or "danlu"
    edits: str | None  # the user's own chain
    command: str
    date: str
    machine: dict[str, Any] | None
    data: dict[str, Any] | None  # name, where, classes, counts, input, health
    budget: Required[Budget]
    baseline: Required[Model]
    best: Required[Model]
    speedup: Gain | None
    test: Test | None
    candidates: list[Candidate] | None
    failed: list[dict[str, str]] | None  # {"recipe", "why"}: could not be built, exported or measured
    steps: list[Step] | None
    curves: list[dict[str, Any]] | None  # {"name", "points": [{"epoch", "seconds", "train_loss", ...}]}
    layers: dict[str, Any] | None  # {"baseline", "best"}
    advice: list[dict[str, Any]] | None  # {"why", "edit", "saving"}
    not_compressed: list[dict[str, str]] | None  # {"what", "why"}
    stages: list[dict[str, Any]] | None  # {"name", "seconds"}
    log: str | None


REQUIRED = ("name", "budget", "baseline", "best")


def clean(value: Any) -> Any:
    """A copy that can be embedded as JSON and written as UTF-8.

    Numbers that are not finite become None (not measured); bytes of a file name that are no text become question marks.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {clean(str(key)): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value


def checked(result: Any) -> dict[str, Any]:
    """A clean copy of `result`. Raises UsageError when it is not a result, naming every required part that is missing."""
    if not isinstance(result, dict):
        raise UsageError(f"a result must be a dict as in result.json, got {type(result).__name__}")
    missing = [key for key in REQUIRED if result.get(key) is None]
    missing += [f"{key}.recipe" for key in ("baseline", "best") if key not in missing and not result[key].get("recipe")]
    if "budget" not in missing and not isinstance(result["budget"].get("met"), bool):
        missing.append("budget.met")
    if missing:
        raise UsageError(f"the result lacks {', '.join(missing)}; a report needs {', '.join(REQUIRED)}")
    copy: dict[str, Any] = clean(result)
    return copy
