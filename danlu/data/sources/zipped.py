"""A zip archive of class folders, read in place: nothing is extracted to disk."""

import stat
import zipfile
from pathlib import Path

from ...errors import UsageError
from ..decoding import MAX_FILE_BYTES
from ..layout import Listing, class_folders
from ._base import Reader, key_of, stamp

MAX_RATIO = 500  # deflate reaches about 1030 on zeros; real pictures stay below 3, blank bitmaps are small
FREE_BYTES = 64 << 20  # what may expand at any ratio


class ZipReader(Reader):
    """A zip archive. Opened when first needed, so that a cached set does not read its directory again."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.stem, str(path), key_of("zip", path.resolve(), stamp(path)))
        self._path = path
        self._zip: zipfile.ZipFile | None = None
        self._members: list[zipfile.ZipInfo] = []

    def listing(self) -> Listing:
        try:
            self._zip = zipfile.ZipFile(self._path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise UsageError(f"{self.where}: damaged zip archive ({error}); make it again") from error
        members = {}
        folders = []
        for info in self._zip.infolist():
            check_name(self.where, info.filename)
            if info.is_dir():
                folders.append(info.filename.rstrip("/"))
            elif not stat.S_ISLNK(info.external_attr >> 16):
                members[info.filename] = info  # of two with one name the last counts, as in extraction
        listing, prefix = class_folders(self.where, list(members), folders)
        self._members = [members[prefix + name] for name in listing.names]
        for info in self._members:
            if info.flag_bits & 1:
                raise UsageError(f"{self.where}: {info.filename} is encrypted; make the archive without a password")
            check_size(self.where, info.filename, info.file_size, info.compress_size)
        return listing

    def read(self, i: int) -> bytes:
        if self._zip is None:
            raise UsageError(f"{self.where}: read before it was listed")
        return self._zip.read(self._members[i])


def check_name(where: str, name: str) -> None:
    """Raise UsageError for a name that would leave the archive's own tree."""
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or (len(parts[0]) == 2 and parts[0][1] == ":"):
        raise UsageError(f"{where}: refused, entry {name!r} points outside the archive; make it from relative paths")


def check_size(where: str, name: str, size: int, packed: int) -> None:
    """Raise UsageError for an entry that declares more bytes than an image file has, or that expands like a bomb."""
    if size > MAX_FILE_BYTES or size > FREE_BYTES + MAX_RATIO * packed:
        raise UsageError(
            f"{where}: refused, entry {name!r} declares {size:,} bytes, packed in {packed:,}; no image file expands like that"
        )
