"""MNIST-style IDX files: train-images-idx3-ubyte(.gz) with train-labels-idx1-ubyte(.gz), and t10k.

Format: big-endian; two zero bytes, the type (8 = unsigned byte), the number of dimensions, 4 bytes per dimension, the data.
Source: http://yann.lecun.com/exdb/mnist/
"""

import gzip
import re
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...errors import UsageError
from ._arrays import ArrayReader, Part, check_memory
from ._base import key_of, stamp

_IMAGES = re.compile(r"(?P<part>.*?)[-_.]?images[-_.]idx3[-_.]ubyte(?P<gz>\.gz)?")
_PARTS = {"train": "train", "t10k": "test", "test": "test", "val": "val"}
MAX_GZIP_RATIO = 1100  # deflate can do no better than 1032


def image_files(folder: Path) -> list[Path]:
    """The IDX image files in a folder."""
    return sorted(path for path in folder.iterdir() if _IMAGES.fullmatch(path.name) and path.is_file())


class IdxReader(ArrayReader):
    """A folder of IDX files. Classes are named by their numbers."""

    def __init__(self, folder: Path) -> None:
        self._files = []
        for path in image_files(folder):
            labels = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
            other = labels.with_suffix("") if labels.suffix == ".gz" else labels.with_name(labels.name + ".gz")
            found = [candidate for candidate in (labels, other) if candidate.is_file()]
            if not found:
                raise UsageError(f"{path}: its labels {labels.name} are missing")
            self._files.append((path, found[0]))
        stamps = [f"{p.name} {stamp(p)}" for pair in self._files for p in pair]
        super().__init__(folder.resolve().name, str(folder), key_of("idx", folder.resolve(), *stamps))

    def load(self) -> tuple[Mapping[str, Part], None]:
        parts: dict[str, Part] = {}
        for images, labels in self._files:
            match = _IMAGES.fullmatch(images.name)
            prefix = match["part"] if match else ""
            part = next((split for word, split in _PARTS.items() if word in prefix.casefold()), "images")
            if part in parts:
                raise UsageError(f"{images}: a second file of {part} images; keep one data set in a folder")
            parts[part] = Part(read_idx(images, 3)[..., None], [str(label) for label in read_idx(labels, 1)])
        if (len(parts) > 1 and "images" in parts) or set(parts) <= {"val", "test"}:
            raise UsageError(f"{self.where}: found {', '.join(sorted(parts))} images; name the files train-..., t10k-...")
        return parts, None


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Read one IDX file of unsigned bytes.

    Raises UsageError when the header, the length or the compression is wrong; the length is checked before memory is taken.
    """
    packed = path.stat().st_size
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            head = file.read(4 + 4 * dimensions)
            if len(head) < 4 + 4 * dimensions or head[:4] != bytes((0, 0, 8, dimensions)):
                raise UsageError(
                    f"{path}: not an IDX file of {dimensions}-dimensional unsigned bytes (header {head[:4].hex() or 'empty'})"
                )
            shape = struct.unpack(f">{dimensions}I", head[4:])
            size = int(np.prod([int(n) for n in shape], dtype=object))
            if size > packed * (MAX_GZIP_RATIO if path.suffix == ".gz" else 1):
                raise UsageError(f"{path}: truncated, declares {size:,} bytes in a file of {packed:,}; get it again")
            check_memory(str(path), size)
            data = file.read(size)
            if len(data) != size or file.read(1):
                raise UsageError(
                    f"{path}: declares {size:,} bytes, holds {'more' if len(data) == size else f'{len(data):,}'}; get it again"
                )
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path}: damaged ({error}); get it again") from error
    return np.frombuffer(data, np.uint8).reshape(shape)
