"""Where do the images come from? One layout a file; `open_reader` tells them apart."""

import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from ...errors import UsageError
from ..layout import IMAGE_SUFFIXES, LAYOUTS
from ._base import Reader
from .digits import DigitsReader
from .folder import FolderReader
from .idx import IdxReader, image_files
from .npz import NpzReader
from .table import TableReader
from .tarred import TarReader
from .zipped import ZipReader

BUILT_IN: dict[str, Callable[[], Reader]] = {"digits": DigitsReader}

__all__ = ["BUILT_IN", "Reader", "open_reader"]


def open_reader(where: str | Path) -> Reader:
    """The reader for a path, or for the name of a built-in set; for a folder of that name write ./digits.

    Raises UsageError when there is nothing, or nothing that is understood.
    """
    path = Path(where).expanduser()
    name = str(where)
    if name in BUILT_IN and (isinstance(where, str) or not path.exists()):
        return BUILT_IN[name]()
    try:
        if path.is_dir():
            return IdxReader(path) if image_files(path) else FolderReader(path)
        if not path.exists():
            raise UsageError(f"{where}: no such file or folder; built in: {', '.join(BUILT_IN)}")
        return _open_file(path)
    except OSError as error:
        raise UsageError(f"cannot read {where}: {error.strerror or error}") from error


def _open_file(path: Path) -> Reader:
    suffix = path.suffix.casefold()
    if not path.is_file():
        raise UsageError(f"{path}: neither a file nor a folder")
    if suffix in (".csv", ".tsv"):
        return TableReader(path)
    if zipfile.is_zipfile(path):
        return NpzReader(path) if suffix == ".npz" else ZipReader(path)
    if tarfile.is_tarfile(path):
        return TarReader(path)
    if suffix in (".zip", ".npz") or ".tar" in path.suffixes or suffix in (".tgz", ".tbz2", ".txz"):
        raise UsageError(f"{path}: damaged, or not the archive its name says; make it again")
    what = "one image" if suffix in IMAGE_SUFFIXES else "a single file of an unknown kind"
    raise UsageError(f"{path}: unknown layout, {what}; give the folder that holds the class folders\n{LAYOUTS}")
