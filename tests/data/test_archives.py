"""Archives give exactly what the folder gives; damaged, tricky and exploding ones are refused."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from danlu.data import load_data
from danlu.data.sources import open_reader, tarred, zipped
from danlu.errors import UsageError


def packed(root: Path, kind: str) -> Path:
    """Archive a folder, under one wrapping folder."""
    path = root.parent / f"photos.{kind}"
    files = sorted(root.rglob("*.png"), reverse=True)
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file, file.relative_to(root.parent))
    else:
        with tarfile.open(path, f"w:{kind.partition('.')[2]}") as archive:
            for file in files:
                archive.add(file, "./" + str(file.relative_to(root.parent)))
    return path


@pytest.fixture
def photos(make_set) -> Path:
    return make_set({"train/a": 6, "train/b": 5, "test/a": 2, "test/b": 3})


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_an_archive_is_the_same_data_set_as_its_folder(photos: Path, kind: str) -> None:
    folder = load_data(photos)
    archive = load_data(packed(photos, kind))
    assert archive.name == folder.name == "photos"
    assert archive.fingerprint == folder.fingerprint
    assert archive.input == folder.input
    for split in ("train", "val", "test"):
        a, b = getattr(archive, split), getattr(folder, split)
        assert list(a.names) == list(b.names)
        assert a.labels.tolist() == b.labels.tolist()
        assert np.array_equal(a.take(range(len(a))), b.take(range(len(b))))
    assert sorted(p.name for p in photos.parent.iterdir()) == sorted(["photos", f"photos.{kind}"])  # nothing extracted


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_another_size_is_read_from_the_archive_again(photos: Path, kind: str) -> None:
    path = packed(photos, kind)
    load_data(path)
    again = load_data(path, size=16)  # the listing comes from the cache, the pixels do not
    assert np.array_equal(again.train.take(range(6)), load_data(photos, size=16).train.take(range(6)))


def test_streaming_from_zip_and_plain_tar_but_not_from_a_compressed_one(photos: Path) -> None:
    expected = load_data(photos).train.take(range(4))
    for kind in ("zip", "tar"):
        for _ in range(2):  # the second time with the listing from the cache
            source = load_data(packed(photos, kind), stream_above=10)
            assert source.train.streams
            assert np.array_equal(source.train.take(range(4)), expected)
    with pytest.raises(UsageError, match="make it a zip or a plain tar"):
        load_data(packed(photos, "tar.gz"), stream_above=10)


def test_of_two_members_with_one_name_the_last_counts(tmp_path: Path) -> None:
    def png(value: int) -> bytes:
        buffer = io.BytesIO()
        Image.new("L", (4, 4), value).save(buffer, "PNG")
        return buffer.getvalue()

    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        for value in (10, 20):
            for label in "ab":
                for i in range(3):
                    info = tarfile.TarInfo(f"{label}/{i}.png")
                    data = png(value + i)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
    source = load_data(tmp_path / "t.tar")
    assert source.health.images == 6
    assert int(source.train.images([0]).min()) >= 20


@pytest.mark.parametrize("name", ["../a/x.png", "/a/x.png", "a/../../x.png", "C:/a/x.png", "..\\a\\x.png"])
def test_names_that_leave_the_archive_are_refused(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("a/ok.png", b"x")
        archive.writestr(zipfile.ZipInfo(name), b"x")
    for path in (tmp_path / "t.tar", tmp_path / "z.zip"):
        with pytest.raises(UsageError, match="points outside the archive"):
            open_reader(path).listing()


def test_links_in_a_tar_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    Image.new("L", (4, 4)).save(secret)
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            info = tarfile.TarInfo("a/x.png")
            info.type, info.linkname = kind, str(secret)
            tar.addfile(info)
    with pytest.raises(UsageError, match="no images found"):
        open_reader(tmp_path / "t.tar").listing()


def test_bombs_are_refused_before_they_expand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (zipped, tarred):
        monkeypatch.setattr(module, "FREE_BYTES", 1 << 20)
    zeros = bytes(8 << 20)
    with zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/x.png", zeros)
    with pytest.raises(UsageError, match="declares 8,388,608 bytes"):
        open_reader(tmp_path / "z.zip").listing()
    for name in ("a/x.png", "a/readme.txt"):
        with tarfile.open(tmp_path / "t.tar.xz", "w:xz") as tar:
            info = tarfile.TarInfo(name)
            info.size = len(zeros)
            tar.addfile(info, io.BytesIO(zeros))
        with pytest.raises(UsageError, match="refused"):
            open_reader(tmp_path / "t.tar.xz").listing()


def test_encrypted_zip_is_refused(tmp_path: Path, photos: Path) -> None:
    path = packed(photos, "zip")
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        data[at + 8] |= 1  # the flag in the central directory
        at = data.find(b"PK\x01\x02", at + 4)
    path.write_bytes(data)
    with pytest.raises(UsageError, match="encrypted"):
        load_data(path)


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz"])
def test_archives_cut_short_are_damaged(photos: Path, kind: str) -> None:
    path = packed(photos, kind)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UsageError, match="damaged"):
        load_data(path)


def test_a_damaged_member_is_an_unreadable_image(make_set) -> None:
    root = make_set({"a": 20, "b": 20})
    path = packed(root, "zip")
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("photos/a/003.png").header_offset
    data = bytearray(path.read_bytes())
    data[offset + 60 : offset + 70] = bytes(10)
    path.write_bytes(data)
    source = load_data(path)
    assert [bad["name"] for bad in source.health.unreadable] == ["a/003.png"]
    assert source.health.images == 39
