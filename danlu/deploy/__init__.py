"""Where does it run? ONNX export, its verification, int8, onnxruntime and latency."""

from .bench import Timing, bench, interleave
from .calibration import calibration_batches
from .int8 import Int8Report, int8_report, quantize_int8
from .onnx import export_onnx
from .runtime import predict, preprocess, read_metadata, session
from .verify import Check, verify

__all__ = [
    "Check",
    "Int8Report",
    "Timing",
    "bench",
    "calibration_batches",
    "export_onnx",
    "int8_report",
    "interleave",
    "predict",
    "preprocess",
    "quantize_int8",
    "read_metadata",
    "session",
    "verify",
]
