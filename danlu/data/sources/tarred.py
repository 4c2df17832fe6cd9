"""A tar archive of class folders: plain (read at any place) or compressed (read from front to back). Nothing is extracted."""

import contextlib
import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import UsageError
from ..layout import Listing, class_folders
from ._base import Reader, key_of, stamp
from .zipped import FREE_BYTES, MAX_RATIO, check_name, check_size

_DAMAGE = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError)


class TarReader(Reader):
    """A tar archive; `.gz`, `.bz2`, `.xz` are told by content. A compressed one is `sequential`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.name.split(".tar")[0].split(".t")[0], str(path), key_of("tar", path.resolve(), stamp(path)))
        self._path = path
        self._members: list[tarfile.TarInfo] = []
        try:
            tarfile.open(path, "r:").close()
        except tarfile.TarError:
            self.sequential = True
        self._file: int | None = None

    def listing(self) -> Listing:
        members: dict[str, tarfile.TarInfo] = {}
        folders = []
        packed = self._path.stat().st_size
        with self._opened() as archive:
            for info in archive:
                name = info.name.removeprefix("./")
                check_name(self.where, name)
                if archive.offset > FREE_BYTES + MAX_RATIO * packed:
                    raise UsageError(f"{self.where}: refused, {packed:,} bytes expand to over {archive.offset:,}")
                if info.isdir():
                    folders.append(name)
                elif info.isreg() and not info.issparse():
                    check_size(self.where, name, info.size, packed)
                    members[name] = info
        listing, prefix = class_folders(self.where, list(members), folders)
        self._members = [members[prefix + name] for name in listing.names]
        return listing

    def read(self, i: int) -> bytes:
        if self._file is None:
            self._file = os.open(self._path, os.O_RDONLY)
        info = self._members[i]
        data = os.pread(self._file, info.size, info.offset_data)
        if len(data) != info.size:
            raise OSError(f"archive ends inside {info.name}")
        return data

    def stream(self, wanted: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        index = {self._members[i].offset_data: i for i in wanted}
        with self._opened() as archive:
            for info in archive:
                if info.offset_data in index:
                    file = archive.extractfile(info)
                    if file is not None:
                        yield index[info.offset_data], file.read()

    def __del__(self) -> None:
        file = getattr(self, "_file", None)
        if file is not None:
            os.close(file)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tarfile.TarFile]:
        try:
            with tarfile.open(self._path, "r:*") as archive:
                yield archive
        except UsageError:
            raise
        except _DAMAGE as error:
            raise UsageError(f"{self.where}: damaged tar archive ({error}); make it again") from error
