"""What an exported file says about itself: class names, and how an image becomes its input.

classes  JSON list of names, in the order of the logits
mean     JSON list, one number a channel, in [0, 1] pixel units: x = (pixel / 255 - mean) / std
std      JSON list, likewise
curve    only where the normalisation is no straight line: JSON [C][256], what stands for pixel / 255 at each grey level
size     JSON [H, W] in pixels
resize   stretch | short_side_crop
recipe   the text the network was built from
danlu    the version that wrote the file
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..data.spec import Input
from ..errors import UsageError

JSON_KEYS = ("classes", "mean", "std", "size")
TEXT_KEYS = ("resize", "recipe", "danlu")


def make_metadata(input: Input, classes: Sequence[str], recipe: str) -> dict[str, str]:
    """The properties that `export_onnx` writes."""
    values: dict[str, Any] = {
        "classes": list(classes),
        "mean": list(input.mean),
        "std": list(input.std),
        "size": list(input.size),
    }
    stored = {key: json.dumps(value, ensure_ascii=False) for key, value in values.items()}
    if input.curve:
        stored["curve"] = json.dumps(input.curve)
    return stored | {"resize": input.resize, "recipe": recipe, "danlu": __version__}


def parse_metadata(stored: Mapping[str, str], path: str | Path) -> dict[str, Any]:
    """The properties of the file `path` with their JSON decoded.

    Raises: UsageError when one is missing or damaged: the file was not exported by danlu.
    """
    try:
        found: dict[str, Any] = {key: json.loads(stored[key]) for key in JSON_KEYS}
        found |= {key: stored[key] for key in TEXT_KEYS}
        if "curve" in stored:
            found["curve"] = json.loads(stored["curve"])
        metadata_input(found)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UsageError(f"{path} says nothing usable of its classes and input ({error}); export it with danlu export") from error
    return found


def metadata_input(metadata: Mapping[str, Any]) -> Input:
    """The Input that a file's metadata describes."""
    return Input.from_json({**metadata, "channels": len(metadata["mean"])})
