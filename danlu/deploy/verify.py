"""Compare an exported file with the network it came from: onnx's checker, then onnxruntime against torch.

difference = max |logits of the file - logits of torch|,   tolerance = 1e-4 * max(|logits of torch|)
"""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from ..data.spec import Input
from ..errors import DanluError
from .runtime import ORT_ERRORS, ort_reason, session

RELATIVE, ABSOLUTE = 1e-4, 1e-7  # float32 rounding of a 50-layer net stays a hundred times below


@dataclass(frozen=True)
class Check:
    """One comparison: batch size, largest absolute difference of a logit, and what was allowed."""

    batch: int
    max_difference: float
    tolerance: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def verify(model: nn.Module, path: str | Path, input: Input, batches: Sequence[int] = (1, 2, 7), seed: int = 0) -> list[Check]:
    """Feed the same random images to the file and to `model` in eval mode, at every batch size; `model` is untouched.

    Raises: UsageError when the file cannot be read; DanluError when it is not valid ONNX, or when a difference is above the
    tolerance, naming the batch.
    """
    running = session(path)
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise DanluError(f"{path} is not valid ONNX: {error}") from error
    model = copy.deepcopy(model).cpu().eval()
    generator = np.random.default_rng(seed)
    return [
        compare(model, running, generator.standard_normal((batch, *input.shape), dtype=np.float32), path) for batch in batches
    ]


def compare(model: nn.Module, running: Any, images: np.ndarray, path: str | Path) -> Check:
    """Both on one batch of images [B, C, H, W]."""
    with torch.inference_mode():
        expected = model(torch.from_numpy(images)).numpy()
    try:
        got = running.run(["logits"], {"input": images})[0]
    except ORT_ERRORS as error:
        raise DanluError(f"{path} fails in onnxruntime at batch {len(images)}: {ort_reason(error)}") from error
    if got.shape != expected.shape:
        raise DanluError(f"{path} gives {list(got.shape)} at batch {len(images)} where torch gives {list(expected.shape)}")
    if not np.isfinite(expected).all():
        raise DanluError(f"the network itself gives NaN or infinite logits at batch {len(images)}; its weights are unusable")
    difference = float(np.abs(got - expected).max())
    check = Check(len(images), difference, RELATIVE * float(np.abs(expected).max()) + ABSOLUTE)
    if not difference <= check.tolerance:  # a NaN is no agreement
        allowed = f"at most {check.tolerance:.3g} is allowed"
        raise DanluError(f"{path} differs from torch by {difference:.3g} at batch {len(images)}; {allowed}")
    return check
