"""Class folders on disk, flat or split in train, val and test."""

import os
import stat
from pathlib import Path

from ...errors import UsageError
from ..decoding import Header, header
from ..layout import Listing, class_folders, is_hidden
from ._base import Reader, key_of


class FolderReader(Reader):
    """A folder of class folders. Links to folders are followed, each folder is entered once."""

    def __init__(self, path: Path) -> None:
        self._root = path
        self._files, self._folders, stamps = walk(path)
        root = path.resolve()
        super().__init__(root.name, str(path), key_of("folder", root, *sorted(stamps), *sorted(self._folders)))
        self._paths: list[Path] = []

    def listing(self) -> Listing:
        listing, prefix = class_folders(self.where, self._files, self._folders)
        self._paths = [self._root / (prefix + name) for name in listing.names]
        return listing

    def read(self, i: int) -> bytes:
        return self._paths[i].read_bytes()

    def header(self, i: int, content: object = None) -> Header:
        return header(self._paths[i])  # reads the first kilobytes only


def walk(root: Path) -> tuple[list[str], list[str], list[str]]:
    """Regular files below `root`, folders, and a stamp for each file; paths are relative, with /. Hidden ones are left out."""
    files: list[str] = []
    folders: list[str] = []
    stamps: list[str] = []
    seen = {os.path.realpath(root)}
    todo = [""]
    while todo:
        base = todo.pop()
        try:
            with os.scandir(root / base) as entries:
                for entry in entries:
                    path = f"{base}/{entry.name}" if base else entry.name
                    if is_hidden(entry.name):
                        continue
                    try:
                        info = entry.stat()
                    except OSError:
                        stamps.append(f"{path} broken")  # a link to nowhere
                        files.append(path)
                        continue
                    if stat.S_ISDIR(info.st_mode):
                        real = os.path.realpath(entry.path)
                        if real not in seen:
                            seen.add(real)
                            folders.append(path)
                            todo.append(path)
                    elif stat.S_ISREG(info.st_mode):  # not a pipe, on which reading would wait for ever
                        files.append(path)
                        stamps.append(f"{path} {info.st_size} {info.st_mtime_ns} {info.st_ctime_ns}")
        except OSError as error:
            raise UsageError(f"cannot read folder {root / base}: {error.strerror or error}") from error
    return files, folders, stamps
