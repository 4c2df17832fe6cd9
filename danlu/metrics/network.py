"""A trained network that looks at image files: what it sees in them judges generated images.

    see = network("runs/0001-resnet20")         a run folder, a .safetensors, a .danlu or an .onnx file that danlu wrote
    see(paths, at="penultimate")                what its last linear layer or convolution takes in, [N, D]
    see(paths)                                  its outputs, [N, K]

Images are decoded, resized and normalised as in the network's training. Of an .onnx file, `at` names any tensor of the graph.

Source: Heusel et al. 2017, https://arxiv.org/abs/1706.08500 (features before the classifier); Salimans et al. 2016,
https://arxiv.org/abs/1606.03498 (its outputs).
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..data import Input, decode, resize
from ..errors import UsageError, unknown
from .features import PENULTIMATE, features, rows

LOGITS = "logits"
WEIGHTED = ("Gemm", "MatMul", "Conv", "ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul")


class See(Protocol):
    """Features of image files. Shape: N paths -> float32 [N, D]."""

    def __call__(self, paths: Sequence[Path], at: str | None = None) -> Tensor: ...


def network(path: str | Path, *, device: str = "cpu", batch_size: int = 64, trust: bool = False) -> See:
    """The eyes of a saved model. Raises: UsageError for a file that danlu did not write, or a batch size below 1."""
    if batch_size < 1:
        raise UsageError(f"batch_size must be 1 or more, got {batch_size}")
    return _exported(Path(path), batch_size) if Path(path).suffix == ".onnx" else _saved(Path(path), device, batch_size, trust)


def _saved(path: Path, device: str, batch_size: int, trust: bool) -> See:
    from ..codec import load_saved

    saved = load_saved(path, trust=trust)
    net = saved.model.to(device)

    def see(paths: Sequence[Path], at: str | None = None) -> Tensor:
        return torch.cat(
            [features(net, torch.from_numpy(x), at=at, batch_size=len(x)) for x in fed(paths, saved.input, batch_size)]
        )

    return see


def _exported(path: Path, batch_size: int) -> See:
    import onnx

    from ..deploy.metadata import metadata_input
    from ..deploy.runtime import load_graph, read_metadata, session

    input, model = metadata_input(read_metadata(path)), load_graph(path)

    def see(paths: Sequence[Path], at: str | None = None) -> Tensor:
        wanted = LOGITS if at is None else at
        if at == PENULTIMATE:
            wanted = next((node.input[0] for node in reversed(model.graph.node) if node.op_type in WEIGHTED), LOGITS)
        made = {name for node in model.graph.node for name in node.output}
        if wanted not in made:
            raise unknown(f"tensor of {path}", wanted, [*made, PENULTIMATE])
        shown = onnx.ModelProto()
        shown.CopyFrom(model)
        if wanted not in {output.name for output in shown.graph.output}:
            shown.graph.output.append(onnx.helper.make_empty_tensor_value_info(wanted))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "shown.onnx")
            onnx.save(shown, str(file))
            running = session(file)
        found = []
        for x in fed(paths, input, batch_size):
            found.append(rows(torch.from_numpy(np.asarray(running.run([wanted], {"input": x})[0])), len(x)))
        return torch.cat(found)

    return see


def fed(paths: Sequence[Path], input: Input, batch_size: int) -> Iterator[np.ndarray]:
    """Batches of images as a network takes them. Shape: N paths -> float32 [B, C, H, W] each."""
    from ..deploy.runtime import normalise

    for start in range(0, len(paths), batch_size):
        pixels = [resize(decode(path, input.channels), input) for path in paths[start : start + batch_size]]
        yield normalise(np.stack(pixels).transpose(0, 3, 1, 2), input.to_json())
