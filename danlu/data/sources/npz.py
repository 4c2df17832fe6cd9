"""A NumPy archive: x_train, y_train (x_val, y_val, x_test, y_test), or images, labels; `classes` names the labels."""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...errors import UsageError
from ..decoding import to_8bit
from ..layout import LAYOUTS
from ._arrays import ArrayReader, Part, check_memory
from ._base import key_of, stamp

_PAIRS = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels")),
    "val": (("x_val", "y_val"), ("x_valid", "y_valid"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
    "images": (("images", "labels"), ("x", "y")),
}


class NpzReader(ArrayReader):
    """An .npz file. Images are [N, H, W] or [N, H, W, 1, 3 or 4]; labels are whole numbers or names, [N] or [N, 1]."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.stem, str(path), key_of("npz", path.resolve(), stamp(path)))
        self._path = path

    def load(self) -> tuple[Mapping[str, Part], Sequence[str] | None]:
        try:
            shapes = declared(self._path)
            pairs = self._pairs(shapes)
            check_memory(self.where, sum(shapes[key][1] for pair in pairs.values() for key in pair))
            with np.load(self._path, allow_pickle=False) as arrays:
                names = next((arrays[key].tolist() for key in ("classes", "class_names") if key in shapes), None)
                raw = {part: (arrays[x], arrays[y]) for part, (x, y) in pairs.items()}
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError) as error:
            if isinstance(error, UsageError):
                raise
            raise UsageError(f"{self.where}: damaged or not a plain .npz ({error})") from error
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise UsageError(f"{self.where}: classes must be a list of texts")
        if names is not None and len(set(names)) != len(names):
            raise UsageError(f"{self.where}: classes holds a name twice")
        for part, (x, _) in raw.items():
            _check_images(f"{self.where}: {pairs[part][0]}", x)
        filled = [x for x, _ in raw.values() if x.size]
        if not filled:
            raise UsageError(f"{self.where}: no images found, the arrays are empty")
        span = (min(float(x.min()) for x in filled), max(float(x.max()) for x in filled))  # one rule for all splits
        parts = {}
        for part, (x, y) in raw.items():
            try:
                images = _to_rgb_or_grey(x, span)
            except ValueError as error:
                raise UsageError(f"{self.where}: {pairs[part][0]} {error}") from error
            parts[part] = Part(images, _class_names(f"{self.where}: {pairs[part][1]}", y, names))
        return parts, names

    def _pairs(self, shapes: Mapping[str, object]) -> dict[str, tuple[str, str]]:
        """Which array holds what, from the names in the file."""
        found = {}
        by_name = {key.casefold(): key for key in shapes}
        for part, spellings in _PAIRS.items():
            for x, y in spellings:
                if part not in found and x in by_name and y in by_name:
                    found[part] = (by_name[x], by_name[y])
        if "train" in found:
            found.pop("images", None)
        if "train" not in found and set(found) != {"images"}:
            raise UsageError(
                f"{self.where}: unknown layout, it holds the arrays {', '.join(sorted(shapes)) or '(none)'}\n{LAYOUTS}"
            )
        return found


def _check_images(what: str, x: np.ndarray) -> None:
    if x.dtype.kind not in "uifb":
        raise UsageError(f"{what} must hold numbers, got {x.dtype}")
    if x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[3] not in (1, 3, 4)) or 0 in x.shape[1:]:
        hint = "; put the channels last: transpose(0, 2, 3, 1)" if x.ndim == 4 and x.shape[1] in (1, 3, 4) else ""
        raise UsageError(f"{what} must be [N, H, W] or [N, H, W, 1, 3 or 4], got {list(x.shape)}{hint}")


def _to_rgb_or_grey(x: np.ndarray, span: tuple[float, float]) -> np.ndarray:
    """Shape: [N, H, W] or [N, H, W, 1, 3 or 4] of any number type -> uint8 [N, H, W, 1 or 3]. Raises ValueError for NaN."""
    x = x[..., None] if x.ndim == 3 else x
    small = x.dtype.kind in "ui" and span[0] >= 0 and span[1] <= 255  # 8-bit values in a wider type
    out = np.empty((*x.shape[:3], 1 if x.shape[3] == 1 else 3), np.uint8)
    for start in range(0, len(x), 1024):  # in pieces: the rescaling works in float64
        piece = x[start : start + 1024]
        piece = piece.astype(np.uint8) if small else to_8bit(piece, span)
        if piece.shape[3] == 4:
            alpha = piece[..., 3:].astype(np.uint32)
            piece = ((piece[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
        out[start : start + 1024] = piece
    return out


def _class_names(what: str, y: np.ndarray, names: Sequence[str] | None) -> list[str]:
    """The class name of each label: its text, its number, or the name at its number."""
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.ndim != 1 or y.dtype.kind not in "uibU":
        raise UsageError(f"{what} must hold one class number or name per image, got {y.dtype} {list(y.shape)}")
    if y.dtype.kind != "U" and names is not None:
        if y.size and not (int(y.min()) >= 0 and int(y.max()) < len(names)):
            raise UsageError(f"{what} holds {int(y.min())}..{int(y.max())}, but classes has {len(names)} names")
        return [names[int(label)] for label in y.tolist()]
    labels = [label if isinstance(label, str) else str(int(label)) for label in y.tolist()]
    strange = sorted(set(labels) - set(names)) if names is not None else []
    if strange:
        raise UsageError(f"{what} holds {strange[0]!r}, which is not in classes")
    return labels


def declared(path: Path) -> dict[str, tuple[tuple[int, ...], int]]:
    """Shape and bytes of every array, from the headers alone.

    Raises UsageError for pickled objects and where an array's length is not what its header declares.
    """
    shapes = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.filename.endswith(".npy"):
                continue
            with archive.open(info) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
                size = int(np.prod([int(n) for n in shape], dtype=object)) * dtype.itemsize
                key = info.filename.removesuffix(".npy")
                if dtype.hasobject:
                    raise UsageError(f"{path}: {key} holds pickled objects, which are never loaded; save plain numbers or texts")
                if info.file_size - file.tell() != size:
                    raise UsageError(f"{path}: {key} declares {size:,} bytes, holds {info.file_size - file.tell():,}")
                shapes[key] = (shape, size)
    return shapes
