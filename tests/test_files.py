"""Atomic writes: a failure leaves the old file whole and nothing beside it."""

import errno
import json
import os
from pathlib import Path

import pytest

from danlu.errors import DanluError
from danlu.files import replacing, sha256, write_json, write_text


def test_write_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "a.txt"
    write_text(file, "one")
    write_text(file, "two")
    assert file.read_text() == "two"
    assert os.listdir(file.parent) == ["a.txt"]


def test_a_failing_writer_keeps_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_text(file, "old")

    def half() -> None:
        with replacing(file) as temp:
            temp.write_text("new")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half"):
        half()
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_text(file, "old")
    with pytest.raises(DanluError, match=r"could not write .*a\.txt.*old file"), replacing(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert file.read_text() == "old"


def test_json_refuses_what_json_cannot_say(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert os.listdir(tmp_path) == []
    write_json(tmp_path / "a.json", {"x": 1})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1}


def test_sha256_of_a_known_text(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
