"""Saved models: model.json (recipe, classes, input, SHA-256) beside model.safetensors; loading rebuilds the net from the recipe.

The recipe is run again up to the edits that need weights; those (pruned channels, folded norms) are recovered from the shapes
of the stored tensors, so that no edit has to repeat a decision it made from weights that are gone.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from .. import __version__
from ..data.spec import Input
from ..edits._registry import edits
from ..edits.recipe import parse, show
from ..errors import DanluError, UsageError
from ..files import replacing, sha256, write_json

FORMAT = 1
MAX_JSON_BYTES = 16_000_000


@dataclass(frozen=True)
class Saved:
    """A model as it was stored, with what is needed to feed it and to read its answers."""

    model: nn.Module
    input: Input
    classes: tuple[str, ...]
    recipe: str


def save(model: nn.Module, path: str | Path, *, input: Input, classes: Sequence[str]) -> Path:
    """Store `model` and return the path of the file that `load` takes.

    `path` is a folder (model.safetensors and model.json are written into it), a `.safetensors` file (its .json is
    written beside it) or an `.onnx` file (exported and checked). The model must carry a recipe: nets made by
    `danlu.create` and edited by `danlu.edit` do.

    Raises: UsageError for another suffix or a model without a recipe.
    """
    path = Path(path)
    recipe = getattr(model, "danlu_recipe", None)
    if path.suffix == ".onnx":
        from ..deploy import export_onnx

        return export_onnx(model, path, input=input, classes=classes, recipe=recipe or "")
    if path.suffix not in ("", ".safetensors"):
        raise UsageError(f"cannot tell the format of {path}; use a folder, a .safetensors or an .onnx file")
    if recipe is None:
        raise UsageError("this model has no recipe, so it could not be rebuilt; make it with danlu.create, or save it as .onnx")
    tensors_path = path if path.suffix else path / "model.safetensors"
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    # Tied weights share memory, which safetensors refuses; each name gets its own copy.
    seen: set[int] = set()
    for name, tensor in tensors.items():
        if tensor.untyped_storage().data_ptr() in seen and tensor.numel():
            tensors[name] = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
    with replacing(tensors_path) as temp:
        save_file(tensors, str(temp))
    about = {
        "format": FORMAT,
        "danlu": __version__,
        "recipe": recipe,
        "num_classes": len(classes),
        "classes": list(classes),
        "input": input.to_json(),
        "sha256": sha256(tensors_path),
    }
    write_json(tensors_path.with_suffix(".json"), about)
    return tensors_path


def find(path: Path) -> tuple[Path, Path]:
    """The .json and .safetensors of a saved model named by its folder or by either file."""
    base = path / "model.json" if path.is_dir() else path.with_suffix(".json")
    tensors = base.with_suffix(".safetensors")
    for file in (base, tensors):
        if not file.is_file():
            hint = "give a run folder, or a .safetensors with its .json beside it"
            raise UsageError(f"{path} is not a saved model: {file} is missing; {hint}")
    return base, tensors


def read_about(path: Path) -> dict[str, Any]:
    """The checked contents of model.json."""
    if path.stat().st_size > MAX_JSON_BYTES:
        raise UsageError(f"{path} has {path.stat().st_size} bytes; a saved model's description has at most {MAX_JSON_BYTES}")
    try:
        about = json.loads(path.read_text())
        version = about["format"]
        _ = about["recipe"] + about["sha256"], list(about["classes"]), Input.from_json(about["input"])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UsageError(f"{path} is not the description of a saved model ({type(error).__name__}: {error})") from error
    if version != FORMAT:
        raise UsageError(f"{path} has format {version}; this danlu {__version__} reads format {FORMAT}")
    return dict(about)


def load_saved(path: str | Path, *, trust: bool = False) -> Saved:
    """Rebuild a stored model, in eval mode, with its input, classes and recipe.

    A recipe whose base is `module:function` would run that function, so it is refused unless `trust` is given.

    Raises: UsageError for a missing, damaged or foreign file; DanluError when the tensors do not match their SHA-256.
    """
    about_path, tensors_path = find(Path(path))
    about = read_about(about_path)
    if sha256(tensors_path) != about["sha256"]:
        raise DanluError(f"{tensors_path} does not match the SHA-256 in {about_path.name}: damaged, or of another model")
    steps = parse(about["recipe"])
    if ":" in steps[0].name and not steps[0].name.startswith("timm:") and not trust:
        raise UsageError(f"{about_path} would run {steps[0].name}; load it with trust=True (--trust) if you trust its origin")
    try:
        tensors = load_file(str(tensors_path))
    except (SafetensorError, OSError, ValueError) as error:
        raise UsageError(f"{tensors_path} cannot be read as safetensors: {error}") from error
    built = [step for step in steps[1:] if "weights" not in edits[step.name].facts.get("needs", ())]
    input = Input.from_json(about["input"])
    from ..edits.reshape import fit_shapes
    from ..zoo import create

    with torch.device("cpu"):
        model = create(show([steps[0], *built]), num_classes=len(about["classes"]), in_channels=input.channels)
    model = fit_shapes(model, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
    model.load_state_dict(tensors)
    model.danlu_recipe = about["recipe"]
    return Saved(model.eval(), input, tuple(about["classes"]), about["recipe"])


def load(path: str | Path, *, trust: bool = False) -> nn.Module:
    """Rebuild a stored model, in eval mode. See `load_saved` for its classes and input."""
    return load_saved(path, trust=trust).model
