"""Checkpoints: one safetensors file each, with the state as JSON in its header and a SHA-256 over both.

    last.safetensors       the newest
    previous.safetensors   the one before it, kept until the newest is safe on disk
    best.safetensors       the weights alone with the best validation so far, under the model's own names

A checkpoint is one file, so that there is no moment at which its parts disagree: a crash leaves the new file, or the old one
under either name. Nothing is ever pickled.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import DanluError
from ..files import replacing, write_bytes

FORMAT = "1"
Tensors = dict[str, Tensor]


class Checkpoints:
    """The checkpoints of a run in `folder`. `log` is told when one cannot be used."""

    def __init__(self, folder: Path, log: Callable[[str], None]) -> None:
        self.folder = folder
        self._log = log
        self.last, self.previous, self.best = (folder / f"{name}.safetensors" for name in ("last", "previous", "best"))
        self._last_is_whole = False

    def clear(self) -> None:
        """Forget the checkpoints of another training, so that none of them is ever fallen back to."""
        for path in (self.last, self.previous, self.best):
            path.unlink(missing_ok=True)

    def write(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Make `tensors` and `facts` the newest checkpoint. Raises DanluError when the disk refuses; the old one stays."""
        tensors = portable(tensors)
        text = json.dumps(facts, allow_nan=False)
        data = save(tensors, {"format": FORMAT, "state": text, "sha256": digest(text, tensors)})
        with replacing(self.last) as temp:
            temp.write_bytes(data)
            # From here to the end of the block the newest whole checkpoint has the name `previous`; so a damaged one may not
            # take that name.
            if self._last_is_whole:
                os.replace(self.last, self.previous)
        self._last_is_whole = True

    def write_best(self, weights: Tensors) -> None:
        """Store the best weights."""
        write_bytes(self.best, save(portable(weights)))

    def read(self) -> tuple[Tensors, dict[str, Any]] | None:
        """The newest checkpoint that is whole; None where none was ever written.

        Raises DanluError when there are checkpoints and none of them is whole.
        """
        found = [path for path in (self.last, self.previous) if path.exists()]
        for path in found:
            try:
                tensors, facts = load(path)
            except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
                self._log(f"checkpoint {path} cannot be used ({error}); going back to the one before it")
                continue
            self._last_is_whole = path == self.last
            return tensors, facts
        if found:
            raise DanluError(f"no checkpoint in {self.folder} is whole; start the training again without resuming")
        return None


def load(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """One checkpoint, checked against its SHA-256. Raises ValueError where it differs."""
    with safe_open(str(path), framework="pt") as file:
        about = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    if about.get("format") != FORMAT:
        raise ValueError(f"its format is {about.get('format')}, this version reads {FORMAT}")
    if digest(about["state"], tensors) != about["sha256"]:
        raise ValueError("its content does not match its SHA-256")
    return tensors, dict(json.loads(about["state"]))


def digest(text: str, tensors: Tensors) -> str:
    """Hex SHA-256 over the state's text and every tensor's name, type, shape and bytes."""
    hasher = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        hasher.update(f"\0{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        hasher.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return hasher.hexdigest()


def portable(tensors: Tensors) -> Tensors:
    """On the CPU, contiguous, no two sharing memory (tied weights do): what safetensors stores."""
    copies: Tensors = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        place = tensor.untyped_storage().data_ptr()
        copies[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return copies
