"""Saved models: model.json (recipe, classes, input, SHA-256) beside model.safetensors; loading rebuilds the net from the recipe.

The recipe's structure edits are run again. What the others did is recovered from what is stored, so that no edit has to repeat
a decision it made from weights that are gone: pruned channels and folded norms from the shapes of the tensors, factored and
merged layers from a description of them ("layers"), masks and codebooks from their arguments ("encodings").
"""

import json
import math
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
from ..edits.blueprint import blueprint, rebuild
from ..edits.recipe import parse, show
from ..edits.reshape import fit_shapes
from ..encodings import encode, encoded, encodings
from ..encodings.base import check_settled
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

    `path` is a folder (model.safetensors and model.json are written into it), a `.safetensors` file (its .json is written
    beside it), a `.danlu` file (as small as it gets, for deployment) or an `.onnx` file (exported and checked). The model
    must carry a recipe: nets made by `danlu.create` and edited by `danlu.edit` do.

    Raises: UsageError for another suffix or a model without a recipe.
    """
    path = Path(path)
    recipe = getattr(model, "danlu_recipe", None)
    if path.suffix == ".onnx":
        from ..deploy import export_onnx

        return export_onnx(model, path, input=input, classes=classes, recipe=recipe or "")
    if path.suffix == ".danlu":
        from .pack import pack_model

        return pack_model(model, path, input=input, classes=classes, trust=True).path
    if path.suffix not in ("", ".safetensors"):
        raise UsageError(f"cannot tell the format of {path}; use a folder, a .safetensors, a .danlu or an .onnx file")
    if recipe is None:
        raise UsageError("this model has no recipe, so it could not be rebuilt; make it with danlu.create, or save it as .onnx")
    check_settled(model)
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
    layers = restructured(model, recipe, len(classes), input.channels)
    encoded_as = describe_encodings(model)
    about = {
        "format": FORMAT,
        "danlu": __version__,
        "recipe": recipe,
        "num_classes": len(classes),
        "classes": list(classes),
        "input": input.to_json(),
        **({"layers": layers} if layers else {}),
        **({"encodings": encoded_as} if encoded_as else {}),
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
            hint = "give a run folder, a .danlu file, or a .safetensors with its .json beside it"
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
    """Rebuild a stored model, in eval mode, with its input, classes and recipe, from what `save` wrote.

    A recipe whose base is `module:function` would run that function, so it is refused unless `trust` is given.

    Raises: UsageError for a missing, damaged or foreign file; DanluError when the tensors do not match their SHA-256.
    """
    if Path(path).suffix == ".danlu":
        from .unpack import unpack_model

        return unpack_model(path, trust=trust)
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
    input = Input.from_json(about["input"])
    with torch.device("cpu"):
        model = structure(about["recipe"], len(about["classes"]), input.channels)
    model = rebuild(model, about.get("layers", {}))
    kinds = about.get("encodings", {})
    check_encodings(kinds, tensors)
    model = fit_shapes(model, plain_shapes(tensors, kinds))
    attach(model, kinds)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise UsageError(f"{tensors_path} has tensors of another net: {str(error).splitlines()[-1].strip()}") from error
    model.danlu_recipe = about["recipe"]
    return Saved(model.eval(), input, tuple(about["classes"]), about["recipe"])


def structure(recipe: str, num_classes: int, in_channels: int) -> nn.Module:
    """The net that the base and the structure edits of a recipe give."""
    from ..zoo import create

    base, *steps = parse(recipe)
    built = [step for step in steps if "weights" not in edits[step.name].facts.get("needs", ())]
    return create(show([base, *built]), num_classes=num_classes, in_channels=in_channels)


def restructured(model: nn.Module, recipe: str, num_classes: int, in_channels: int) -> dict[str, Any]:
    """The layers that edits of the recipe put in, when one of them says that it does (its fact `layers`)."""
    if not any(edits[step.name].facts.get("layers") for step in parse(recipe)[1:] if step.name in edits):
        return {}
    with torch.device("meta"):
        reference = structure(recipe, num_classes, in_channels)
    return blueprint(model, reference)


def describe_encodings(model: nn.Module) -> dict[str, Any]:
    """The encodings of each tensor: kind, arguments, and the shape of the weight."""
    found = {}
    for name, module, tensor, chain in encoded(model):
        shape = list(getattr(module, tensor).shape)
        parts = [{"kind": type(part).__name__, "options": part.options()} for part in chain]
        found[f"{name}.{tensor}".lstrip(".")] = {"shape": shape, "chain": parts}
    return found


def check_encodings(kinds: Any, tensors: dict[str, torch.Tensor]) -> None:
    """Raise UsageError unless each described encoding has the tensors that are stored: no description makes memory be taken."""
    where = "the encodings in the description"
    if not isinstance(kinds, dict):
        raise UsageError(f"{where} are not a mapping, got {type(kinds).__name__}")
    for name, about in kinds.items():
        path, _, tensor = str(name).rpartition(".")
        prefix = f"{path}.parametrizations.{tensor}.".removeprefix(".")
        stored = {key.removeprefix(prefix): tuple(value.shape) for key, value in tensors.items() if key.startswith(prefix)}
        try:
            shape = tuple(int(n) for n in about["shape"])
            wanted: dict[str, tuple[int, ...]] = {}
            for i, part in enumerate(about["chain"]):
                with torch.device("meta"):
                    encoding = encodings[part["kind"]].build(**part["options"], shape=shape)
                wanted |= {f"{i}.{key}": tuple(value.shape) for key, value in encoding.state_dict().items()}
        except (TypeError, KeyError, ValueError, RuntimeError, AttributeError, IndexError) as error:
            raise UsageError(f"{where} of {name} are not readable ({type(error).__name__}: {error})") from error
        original = stored.pop("original", None)
        if original is None or stored != wanted or math.prod(shape) not in {math.prod(s) for s in (original, *stored.values())}:
            raise UsageError(f"{where} of {name} are of other tensors than those stored: {wanted} of {shape}, stored {stored}")


def plain_shapes(tensors: dict[str, torch.Tensor], kinds: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes the net would have without encodings, by tensor name."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items() if "parametrizations." not in name}
    return shapes | {name: tuple(about["shape"]) for name, about in kinds.items()}


def attach(model: nn.Module, kinds: dict[str, Any]) -> None:
    """Put untrained encodings on the tensors of a rebuilt net; their values come from the state dict."""
    for name, about in kinds.items():
        path, _, tensor = name.rpartition(".")
        for part in about["chain"]:
            encoding = encodings[part["kind"]].build(**part["options"], shape=tuple(about["shape"]))
            encode(model.get_submodule(path), tensor, encoding)


def load(path: str | Path, *, trust: bool = False) -> nn.Module:
    """Rebuild a stored model, in eval mode. See `load_saved` for its classes and input."""
    return load_saved(path, trust=trust).model
