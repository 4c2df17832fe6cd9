"""Run an exported file in onnxruntime: open it, read its metadata, prepare an image, predict a split."""

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
import torch
from onnxruntime.capi import onnxruntime_pybind11_state as state

from ..data.spec import Input
from ..errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..data import Split

# onnxruntime's errors share no base class but Exception.
UNREADABLE = (state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NoModel, state.NoSuchFile,
              state.NotFound, state.NotImplemented, state.RuntimeException)  # fmt: skip
JSON_KEYS = ("classes", "mean", "std", "size")


def session(path: str | Path, *, threads: int | None = None) -> ort.InferenceSession:
    """Open an ONNX file on the CPU: sequential, one thread between operators, `threads` within one (default: torch's number).

    Raises: UsageError when the file is missing or onnxruntime cannot take it.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"{path} is not a file" if path.exists() else f"{path} does not exist")
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be at least 1, got {threads}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    # The threads of an idle session would spin on the cores that another session is being timed on.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except UNREADABLE as error:
        reason = str(error).splitlines()[0].rpartition("] : ")[2]
        raise UsageError(f"{path} is not an ONNX file that onnxruntime {ort.__version__} can run ({reason})") from error
