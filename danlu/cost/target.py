"""What a MODEL argument means: a recipe, a user's module:function, or a saved model; on meta where nothing needs numbers."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ..edits import edit, edits, parse, show
from ..edits.recipe import Call
from ..errors import DanluError, UsageError
from ..zoo import create, models
from .count import FORWARD_ERRORS

DEFAULT_INPUT = (3, 224, 224)


class Unfilled(TorchFunctionMode):
    """Skips filling tensors: on meta there is nothing to fill, yet torch would load its compiler to say so."""

    FILLS = frozenset(
        [torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.fill_, torch.Tensor.zero_]
        + [function for name, function in vars(nn.init).items() if name.endswith("_") and not name.startswith("_")]
    )

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Return the tensor that was to be filled as it is."""
        if func in self.FILLS:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Target:
    """A model to profile, the input [C, H, W] it is meant for, and what was said about building it."""

    model: nn.Module
    input: tuple[int, ...]
    note: str = ""


def parse_input(text: str) -> tuple[int, ...]:
    """'3,224,224' or '3x224x224' -> (3, 224, 224). Raises UsageError."""
    parts = re.split(r"\s*[,x]\s*", text.strip())
    if len(parts) < 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"input {text!r} not understood; write channels, height and width like 3,224,224")
    return tuple(int(part) for part in parts)


def find_target(
    where: str,
    *,
    input: tuple[int, ...] | None = None,
    classes: int | None = None,
    real: bool = False,
    trust: bool = False,
    seed: int = 0,
) -> Target:
    """The model that `where` names.

    `input` defaults to the saved model's, the last fit_input's, the net's published one, else 3x224x224. `classes` defaults to
    the net's own. With `real` the weights hold numbers (for a recipe random ones, from `seed`), which timing needs. A folder
    that happens to have the name of a net is taken only if it holds a saved model.

    Raises: UsageError for a recipe, file or folder that cannot be taken.
    """
    path = Path(where)
    if path.exists() and (where not in models or (path / "model.json").is_file()):
        return _saved(path, input, classes, trust)
    if path.suffix in (".safetensors", ".json") or ("/" in where and not re.search(r"[|(:]", where)):
        raise UsageError(f"{where} does not exist; give a recipe, module:function, a run folder, a .safetensors or an .onnx file")
    steps = parse(where)
    shape = input or _input_of(steps)
    counts = {"num_classes": _classes_of(steps[0]) if classes is None else classes, "in_channels": shape[0]}
    weighted = [i for i, step in enumerate(steps) if i and "weights" in edits[step.name].facts.get("needs", ())]
    split = weighted[0] if weighted else len(steps)
    built, rest = show(steps[:split]), show(steps[split:]) if split < len(steps) else ""
    if not real and not rest and ":" not in steps[0].name:
        try:
            with torch.device("meta"), Unfilled():
                return Target(create(built, **counts), shape)
        except DanluError:
            raise
        except FORWARD_ERRORS as error:
            note = f"built with real weights, since the recipe needs values ({str(error).splitlines()[0]})"
    else:
        note = ""
    model = create(built, **counts, seed=seed)
    if rest:
        model = edit(model, rest, example=torch.zeros(1, *shape)).model
    return Target(model, shape, note)


def _saved(path: Path, input: tuple[int, ...] | None, classes: int | None, trust: bool) -> Target:
    from ..codec.saved import load_saved

    saved = load_saved(path, trust=trust)
    if classes is not None and classes != len(saved.classes):
        raise UsageError(f"{path} has {len(saved.classes)} classes; --classes {classes} is for recipes")
    return Target(saved.model, input or saved.input.shape)


def _classes_of(base: Call) -> int:
    """The entry's own number of classes, so that its published facts are met."""
    if base.name not in models:
        return 1000
    default = models[base.name].options()["num_classes"].default
    return int(default) if isinstance(default, int) else 1000


def _input_of(steps: list[Call]) -> tuple[int, ...]:
    """Published channels and size, unless a fit_input in the recipe says another size."""
    base = steps[0]
    shape: tuple[int, ...] = DEFAULT_INPUT
    if base.name in models:
        shape = models[base.name].facts["input"]
        if "size" in base.options and "size" in models[base.name].options():
            shape = (shape[0], base.options["size"], base.options["size"])
    if isinstance(base.options.get("in_channels"), int):
        shape = (base.options["in_channels"], *shape[1:])
    for step in steps[1:]:
        if step.name == "fit_input" and "size" in step.options:
            size = step.options["size"]
            shape = (shape[0], *((size, size) if isinstance(size, int) else size))
    return shape
