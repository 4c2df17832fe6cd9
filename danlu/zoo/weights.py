"""Weight files into a net: all tensors must fit, save the classifier, whose classes may be others; or only those that fit."""

import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import UsageError

SAFETENSORS = (".safetensors",)
PICKLED = (".pth", ".pt")
WRAPPERS = ("state_dict", "model_state_dict", "model")
PREFIXES = ("module.", "_orig_mod.")
# Counters, not weights: absent from old files, or left in the file by tools that count operations.
COUNTERS = ("num_batches_tracked", "total_ops", "total_params")
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Report:
    """What became of each tensor, by name.

    `matched` were loaded; all others of the net are left as initialised. `missing` are not in the file, `unexpected` not in the
    net; unless loaded partially both can only be counters, which are no weights. `reshaped` have another shape in the file;
    unless loaded partially that is the classifier, for another number of classes.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...]

    def __str__(self) -> str:
        text = f"{len(self.matched)} tensors loaded"
        others = {
            "of another shape in the file": self.reshaped,
            "not in the file": self.missing,
            "not in the net": self.unexpected,
        }
        for what, names in others.items():
            weights = [name for name in names if not name.endswith(COUNTERS)]
            if weights:
                left = "" if names is self.unexpected else "left as initialised, "
                text += f"; {len(weights)} {left}{what}: {_first(weights)}"
        return text

    def to_json(self) -> dict[str, list[str]]:
        """The names, as lists."""
        return {what: list(names) for what, names in vars(self).items()}


def load_weights(model: nn.Module, path: str | Path, *, partial: bool = False) -> Report:
    """Copy the tensors of a .safetensors, .pth or .pt file into `model`; nothing is copied unless everything fits.

    With `partial` those are copied that fit by name and shape, one at least, and the report names the others: for a net that
    shares its trunk with another, or was changed since.

    A pickled file is read with torch's weights-only reader, so that it cannot run code. A `{"state_dict": ...}` wrapper and
    the prefixes of DataParallel (`module.`) and torch.compile (`_orig_mod.`) are removed. When the classifier, the last linear
    or convolutional layer, differs in its class count only, it keeps its initialisation and the report names it.

    Raises: UsageError for a file that cannot be read or holds no tensors, and for weights of another net: names and shapes.
    """
    path = Path(path)
    tensors = _read(path)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    missing = [name for name in wanted if name not in found]
    unexpected = [name for name in found if name not in wanted]
    misshapen = [name for name in wanted if name in found and wanted[name] != found[name]]
    reshaped = misshapen if partial or _only_classes_differ(_classifier(model), misshapen, wanted, found) else []
    wrong = {
        "not in the file": [f"{name} {list(wanted[name])}" for name in missing if not name.endswith(COUNTERS)],
        "not in the net": [f"{name} {list(found[name])}" for name in unexpected if not name.endswith(COUNTERS)],
        "of another shape": [f"{n} is {list(found[n])}, wanted {list(wanted[n])}" for n in misshapen if n not in reshaped],
    }
    if any(wrong.values()) and not partial:
        listed = "; ".join(f"{len(names)} {what}: {_first(names)}" for what, names in wrong.items() if names)
        raise UsageError(f"{path} holds the weights of another net; {listed}; partial=True, --weights-partial, loads what fits")
    matched = {name: tensors[name] for name in wanted if name in found and name not in reshaped}
    if all(name.endswith(COUNTERS) for name in matched):
        raise UsageError(f"{path} has no tensor for this net, which has {len(wanted)}")
    model.load_state_dict(matched, strict=False)
    return Report(tuple(matched), tuple(missing), tuple(unexpected), tuple(reshaped))


def _first(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _classifier(model: nn.Module) -> str:
    """The name of the last linear or convolutional layer; empty when there is none."""
    names = [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)]
    return names[-1] if names else ""


def _only_classes_differ(layer: str, misshapen: Iterable[str], wanted: Shapes, found: Shapes) -> bool:
    """Whether the misshapen tensors are all of `layer`'s, and differ in the first dimension only, by one class count."""
    own = {f"{layer}.weight", f"{layer}.bias"} & wanted.keys()
    return (
        set(misshapen) == own
        and all(wanted[name][1:] == found[name][1:] for name in own)
        and len({found[name][0] for name in own}) == 1
    )


def _read(path: Path) -> dict[str, Tensor]:
    """The named tensors of a file, on the CPU, without wrapper and prefixes."""
    suffix = path.suffix.lower()
    if suffix not in (*SAFETENSORS, *PICKLED):
        raise UsageError(f"cannot tell the format of weights {str(path)!r}; allowed: {', '.join((*SAFETENSORS, *PICKLED))}")
    if not path.is_file():
        raise UsageError(f"weights {str(path)!r}: there is no such file")
    content = _read_safetensors(path) if suffix in SAFETENSORS else _read_pickled(path)
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content:
        raise UsageError(f"{path} holds no named tensors (a {type(content).__name__}); save model.state_dict() instead")
    other = [str(name) for name, value in content.items() if not isinstance(name, str) or not isinstance(value, Tensor)]
    if other:
        raise UsageError(f"{path} holds more than named tensors: {_first(other)}; save model.state_dict() instead")
    tensors = dict(content)
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(str(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as safetensors ({error}); it is damaged or of another format") from error


def _read_pickled(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"{path} is damaged, or holds Python objects, which could run code; save model.state_dict() instead"
        ) from error
    except Exception as error:
        # The reader meets a damaged file with whatever error its bytes happen to cause.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"{path} cannot be read as a torch file ({reason}); it is damaged or of another format") from error
