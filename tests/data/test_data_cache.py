"""The cache: used again, noticed when stale, rebuilt when damaged, safe with two processes, and honest about a full disk."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from danlu.data import Source, cache, images, load_data, passes
from danlu.data.cache import sums_of
from danlu.errors import DanluError


def everything(source: Source) -> np.ndarray:
    return np.concatenate([s.take(range(len(s))).numpy() for s in (source.train, source.val, source.test)])


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def photos(make_set) -> Path:
    return make_set({"a": 8, "b": 8})


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """From here on, decoding anything fails."""

    def refuse(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(passes, "decode", refuse)
    monkeypatch.setattr(passes, "read_headers", refuse)
    return monkeypatch


def test_second_use_decodes_nothing(photos: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    first = load_data(photos)
    assert [path.suffix for path in files(own_cache)] == [".pixels", ".json"]
    calls = []
    monkeypatch.setattr(images, "decode_all", lambda *a, **k: calls.append(a) or iter(()))
    second = load_data(photos)
    assert not calls
    assert np.array_equal(everything(first), everything(second))
    assert first.fingerprint == second.fingerprint
    assert first.health.to_json() == second.health.to_json()
    assert first.input == second.input


def test_pixels_in_the_file_are_the_decoded_images(photos: Path) -> None:
    source = load_data(photos)
    for split in (source.train, source.val, source.test):
        for name, image in zip(split.names, split.take(range(len(split))).numpy(), strict=True):
            assert np.array_equal(image, np.asarray(Image.open(photos / name).copy()))


def test_a_changed_image_is_noticed_and_old_files_go(photos: Path, own_cache: Path) -> None:
    before = load_data(photos)
    old = files(own_cache)
    victim = photos / "a" / "000.png"
    info = victim.stat()
    pixels = np.asarray(Image.open(victim).copy())
    Image.fromarray(255 - pixels).save(victim)
    os.utime(victim, ns=(info.st_atime_ns, info.st_mtime_ns))  # even under its old date
    after = load_data(photos)
    assert after.fingerprint != before.fingerprint
    assert not np.array_equal(everything(before), everything(after))
    assert not set(old) & set(files(own_cache))
    assert len(files(own_cache)) == 2


@pytest.mark.parametrize("damage", ["cut", "longer", "header", "sums", "pixels", "zeros"])
def test_damaged_pixels_are_rebuilt_with_a_warning(
    photos: Path, own_cache: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = everything(load_data(photos))
    (path,) = own_cache.rglob("*.pixels")
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[:-100]
    elif damage == "longer":
        data += b"x"
    elif damage == "header":
        data[2] ^= 255
    elif damage == "sums":
        data[cache.HEADER_BYTES + 3] ^= 1
    elif damage == "pixels":
        data[-5] ^= 1
    else:
        data = bytearray(len(data))
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING, "danlu.data"):
        assert np.array_equal(everything(load_data(photos)), expected)
    assert "is damaged" in caplog.text
    caplog.clear()
    load_data(photos)
    assert not caplog.text


@pytest.mark.parametrize("damage", ["cut", "byte", "columns"])
def test_a_damaged_scan_is_rebuilt_with_a_warning(
    photos: Path, own_cache: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = load_data(photos)
    (path,) = own_cache.rglob("*.json")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-10])
    elif damage == "byte":
        path.write_bytes(path.read_bytes().replace(b"000.png", b"00x.png", 1))
    else:
        body = json.loads(path.read_bytes().partition(b"\n")[2])
        body["widths"] = body["widths"][:-1]
        text = json.dumps(body).encode()
        path.write_bytes(cache._checksum(text) + b"\n" + text)
    assert load_data(photos).fingerprint == first.fingerprint
    assert "is damaged" in caplog.text


def test_another_size_is_resized_from_native_pixels_to_the_same_bytes(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = load_data(photos)
    with monkeypatch.context() as patch:
        patch.setattr(passes, "decode", None)  # may not be called
        small = source.at(7)
    assert list(small.test.names) == list(source.test.names)
    os.environ["DANLU_CACHE"] += "-fresh"
    assert np.array_equal(everything(load_data(photos, size=7)), everything(small))


def test_two_processes_at_once(photos: Path, own_cache: Path) -> None:
    code = "import sys; from danlu.data import load_data; print(load_data(sys.argv[1]).train.take(range(9)).long().sum().item())"
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    runs = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", code, str(photos)], env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    totals = [process.communicate(timeout=60)[0] for process in runs]
    assert [process.returncode for process in runs] == [0, 0]
    assert totals[0] == totals[1] == f"{load_data(photos).train.take(range(9)).long().sum().item()}\n"
    assert len(files(own_cache)) == 2


def test_a_full_disk_is_told_and_leaves_nothing(photos: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(cache.os, "pwrite", no_space)
        with pytest.raises(DanluError, match=r"No space left on device; set the environment variable DANLU_CACHE") as caught:
            load_data(photos)
    assert caught.value.exit_code == 1
    assert files(own_cache) == []
    with monkeypatch.context() as patch:
        patch.setattr(cache.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 100}))
        with pytest.raises(DanluError, match=r"needs .* KB, 100 B are free"):
            load_data(photos)
    assert files(own_cache) == []
    load_data(photos)


def test_a_cache_folder_that_cannot_be_made(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DanluError, match="cannot make the cache folder"):
        load_data(photos)


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path))
    assert cache.cache_folder() == tmp_path
    monkeypatch.delenv("DANLU_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache.cache_folder() == tmp_path / "x" / "danlu"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / ".cache" / "danlu"


def test_what_a_killed_process_left_is_removed_after_a_day(photos: Path, own_cache: Path) -> None:
    load_data(photos)
    (folder,) = own_cache.iterdir()
    fresh, old = folder / ".x.pixels.1.tmp", folder / ".x.pixels.2.tmp"
    for path in (fresh, old):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    load_data(photos, size=5)
    assert fresh.exists()
    assert not old.exists()


def test_built_in_digits_write_nothing(own_cache: Path) -> None:
    load_data("digits")
    assert files(own_cache) == []


def test_stream_limit_from_the_environment(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DANLU_STREAM_ABOVE", "1KB")
    assert load_data(photos).train.streams
    monkeypatch.setenv("DANLU_STREAM_ABOVE", "1GB")
    assert not load_data(photos).train.streams
    monkeypatch.setenv("DANLU_STREAM_ABOVE", "lots")
    with pytest.raises(DanluError, match="DANLU_STREAM_ABOVE"):
        load_data(photos)


def test_sums_are_exact() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 300, 300, 3), dtype=np.uint8)
    wide = pixels.astype(object)
    found = sums_of(pixels)
    assert found[3, 0].tolist() == wide[3].sum((0, 1)).tolist()
    assert found[4, 1].tolist() == (wide[4] ** 2).sum((0, 1)).tolist()
