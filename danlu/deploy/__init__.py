"""Where does it run? ONNX export, its verification, int8, onnxruntime and latency."""

from .bench import Timing, bench, interleave
from .calibration import calibration_batches
from .exits import ExitRunner, export_exits, export_segments
from .int8 import Int8Report, int8_report, quantize_int8
from .onnx import export_onnx
from .runtime import predict, preprocess, read_metadata, session
from .thresholds import ExitReport, ExitSpeed, calibrate_exits, race_exits
from .verify import Check, verify

__all__ = [
    "Check",
    "ExitReport",
    "ExitRunner",
    "ExitSpeed",
    "Int8Report",
    "Timing",
    "bench",
    "calibrate_exits",
    "calibration_batches",
    "export_exits",
    "export_onnx",
    "export_segments",
    "int8_report",
    "interleave",
    "predict",
    "preprocess",
    "quantize_int8",
    "race_exits",
    "read_metadata",
    "session",
    "verify",
]
