"""Run an exported file in onnxruntime: open it, read what it says of itself, prepare an image, predict a split."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from google.protobuf.message import DecodeError
from onnxruntime.capi import onnxruntime_pybind11_state as state
from PIL import Image, ImageOps

from ..errors import UsageError
from .metadata import metadata_input, parse_metadata

if TYPE_CHECKING:
    from ..data import Split

# onnxruntime's errors have no base class of their own.
ORT_ERRORS = (state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NoModel, state.NoSuchFile,
              state.NotFound, state.NotImplemented, state.RuntimeException)  # fmt: skip


def session(path: str | Path, *, threads: int | None = None) -> ort.InferenceSession:
    """Open an ONNX file on the CPU: operators one after another, `threads` within one (as many as torch uses, if not given).

    Raises: UsageError when the file is missing or onnxruntime cannot run it.
    """
    path = existing(path)
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be at least 1, got {threads}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # errors come as exceptions
    # The threads of an idle session would go on spinning on the cores that another session is being timed on.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        reason = ort_reason(error).removeprefix(f"Load model from {path} failed:")
        raise UsageError(f"{path} is not an ONNX file that onnxruntime {ort.__version__} can run: {reason}") from error


def ort_reason(error: Exception) -> str:
    """What onnxruntime says, without its codes: '[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : reason'."""
    return str(error).splitlines()[0].split(" : ", 3)[-1]


def load_graph(path: str | Path) -> onnx.ModelProto:
    """The graph of an ONNX file.

    Raises: UsageError when the file is missing or is not ONNX.
    """
    path = existing(path)
    try:
        model = onnx.load(str(path), format="protobuf")
    except DecodeError as error:
        raise UsageError(f"{path} is not an ONNX file: {error}") from error
    if not model.graph.node:  # protobuf reads an empty file as an empty model
        raise UsageError(f"{path} is not an ONNX file: it has no graph")
    return model


def read_metadata(path: str | Path) -> dict[str, Any]:
    """`classes`, `mean`, `std`, `size`, `resize`, `recipe` and `danlu` of an exported file, and its `curve` if any, decoded.

    Raises: UsageError when the file is missing, is not ONNX or was not exported by danlu.
    """
    return parse_metadata({prop.key: prop.value for prop in load_graph(path).metadata_props}, path)


def preprocess(image: str | Path | bytes | Image.Image, metadata: Mapping[str, Any]) -> np.ndarray:
    """An image as the file's input: decoded and resized as in training, then `normalise`d.

    `image` is a file, the bytes of one, or a Pillow image. Shape: float32 [1, C, H, W].
    Raises: UsageError when the image cannot be read.
    """
    from ..data import decode, resize

    input = metadata_input(metadata)
    pixels = decode(as_tiff(image) if isinstance(image, Image.Image) else image, input.channels)
    return normalise(resize(pixels, input).transpose(2, 0, 1)[None], metadata)


def as_tiff(image: Image.Image) -> bytes:
    """A Pillow image as the bytes of a file that holds the same pixels, for the one decoder."""
    upright = ImageOps.exif_transpose(image)
    if "transparency" in upright.info:
        upright = upright.convert("RGBA")
    buffer = io.BytesIO()
    upright.save(buffer, "TIFF")
    return buffer.getvalue()


def normalise(pixels: np.ndarray, metadata: Mapping[str, Any]) -> np.ndarray:
    """x = (pixel / 255 - mean) / std, or what a curve says. Shape: uint8 [B, C, H, W] -> float32 [B, C, H, W]."""
    mean, std = (np.asarray(metadata[key], np.float32).reshape(1, -1, 1, 1) for key in ("mean", "std"))
    if metadata.get("curve"):
        curve = np.asarray(metadata["curve"], np.float32)
        levels = np.stack([row[pixels[:, channel]] for channel, row in enumerate(curve)], 1)
    else:
        levels = pixels.astype(np.float32) / np.float32(255)
    return np.ascontiguousarray((levels - mean) / std)


def predict(path: str | Path, split: "Split", *, threads: int | None = None, batch_size: int = 256) -> np.ndarray:
    """The logits of an exported file for every image of a split, normalised as the file asks. Shape: float32 [N, K].

    Raises: UsageError when the images are not of the file's size and channels.
    """
    running = session(path, threads=threads)
    metadata = parse_metadata(running.get_modelmeta().custom_metadata_map, path)
    expected = metadata_input(metadata).shape
    logits = []
    for start in range(0, len(split), batch_size):
        pixels = split.images(np.arange(start, min(start + batch_size, len(split)))).numpy()
        if pixels.shape[1:] != expected:
            raise UsageError(f"{path} takes images of [C, H, W] = {list(expected)}, the data has {list(pixels.shape[1:])}")
        logits.append(running.run(["logits"], {"input": normalise(pixels, metadata)})[0])
    return np.concatenate(logits) if logits else np.empty((0, len(metadata["classes"])), np.float32)


def existing(path: str | Path) -> Path:
    """The path of a file that exists. Raises: UsageError otherwise."""
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"{path} is a folder, not an ONNX file" if path.is_dir() else f"{path} does not exist")
    return path
