"""Export a network to one small ONNX file that says how to feed it and what its answers mean.

Input `input` [batch, C, H, W] float32 normalised, output `logits` [batch, classes]; `batch` is a named free dimension.
"""

from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from ..data.spec import Input
from ..edits.fold_bn import fold_bn
from ..encodings import bake
from ..errors import DanluError, UsageError
from ..files import replacing
from .graph import name_by_module, pool_means, strip
from .metadata import make_metadata
from .quiet import no_collection, quiet_export
from .verify import verify

MOST_BYTES = 2_000_000_000  # a protobuf message, which an ONNX file is, holds at most 2 GiB


def export_onnx(
    model: nn.Module, path: str | Path, *, input: Input, classes: Sequence[str], recipe: str = "", check: bool = True
) -> Path:
    """Write `model` as it answers in eval mode and return the path; `model` itself is untouched.

    Parametrised weights become plain tensors, norms are folded into the layers before them, and the notes of the exporter
    (stack traces, shapes of inner tensors) are removed. With `check`, the file is compared with torch before it takes
    its name, so that a file that fails never replaces a good one.

    Raises: UsageError when the network does not map [B, C, H, W] to [B, len(classes)]; DanluError when the exporter cannot
    trace it, when it is larger than 2 GB, or when onnxruntime answers otherwise than torch.
    """
    path = Path(path)
    plain = prepare(model)
    check_answer(plain, input, classes)
    if sum(tensor.numel() * tensor.element_size() for tensor in plain.state_dict().values()) > MOST_BYTES:
        raise DanluError(f"the network has over 2 GB of weights; one ONNX file cannot hold them (for {path})")
    exported = convert(fold_bn(plain).model, input)
    name_by_module(exported)
    pool_means(exported)
    strip(exported)
    for value in (*exported.graph.input, *exported.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.helper.set_model_props(exported, make_metadata(input, classes, recipe))
    with replacing(path) as temp:
        temp.write_bytes(exported.SerializeToString())
        if check:
            verify(plain, temp, input)
    return path


def prepare(model: nn.Module) -> nn.Module:
    """A float32 copy on the CPU in eval mode, with parametrised weights (masks, codebooks, signs) as plain tensors."""
    return bake(model).cpu().float().eval()


def check_answer(model: nn.Module, input: Input, classes: Sequence[str]) -> None:
    """Raise UsageError unless the network gives one row of logits, one a class, for each image."""
    try:
        with torch.inference_mode():
            logits = model(torch.zeros(2, *input.shape))
    except RuntimeError as error:
        raise UsageError(f"the network does not take images of [C, H, W] = {list(input.shape)}: {first_line(error)}") from error
    got = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if got != [2, len(classes)]:
        raise UsageError(f"the network must give [2, {len(classes)}] logits for 2 images and {len(classes)} classes, got {got}")


def convert(model: nn.Module, input: Input) -> onnx.ModelProto:
    """The graph of `model` as torch's exporter and optimiser give it.

    About 1 s on one core for a net of 20 layers. Folding norms before tracing takes a quarter off; a quarter of what is left
    is torch reading its table of operators, which it does on every export.
    """
    example = torch.zeros(2, *input.shape)  # batch 2: torch.export takes a 1 for a constant
    try:
        with quiet_export(), no_collection(), torch.no_grad():
            program = torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False)
            exported = torch.onnx.export(
                program, dynamo=True, input_names=["input"], output_names=["logits"], optimize=True, verbose=False
            )
    except RuntimeError as error:  # every error of torch.export and torch.onnx is one
        raise DanluError(f"torch cannot export this {type(model).__name__} to ONNX: {first_line(error)}") from error
    if exported is None:
        raise DanluError(f"torch gave no ONNX program for this {type(model).__name__}")
    return exported.model_proto


def first_line(error: Exception) -> str:
    """The first line with words of a message that may have hundreds."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
