"""danlu check: the report for people and as JSON, and the exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from danlu.cli.check import run


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    app = typer.Typer()
    app.command()(run)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label, count in (("a[1]", 12), ("b", 9)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (8, 6, 3), dtype=np.uint8)).save(tmp_path / "photos" / label / f"{i}.png")
    return tmp_path / "photos"


def test_json_is_one_object_with_everything(check: Callable[..., Any]) -> None:
    result = check("digits", "--json")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert answer["ok"] is True
    assert answer["health"]["images"] == 1797
    assert answer["input"]["size"] == [8, 8]
    assert sum(answer["health"]["counts"]["test"].values()) == 269
    assert result.stderr == ""


def test_report_for_people(check: Callable[..., Any], photos: Path) -> None:
    (photos / "b" / "0.png").unlink()
    (photos / "b" / "notes.txt").write_text("x")
    (photos / "b" / "8.png").write_bytes((photos / "a[1]" / "0.png").read_bytes())
    result = check(photos, "--size", "4")
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    assert "20 images, 2 classes" in text
    assert "a[1] │ 8 │ 2 │ 2" in text
    assert "min 6 x 8, median 6 x 8, max 6 x 8" in text
    assert "input: 4 x 4, 3 channel(s), stretch" in text
    assert "a[1]/0.png = b/8.png" in text
    assert "warning 1 files ignored" in text
    assert "good to train on" in result.stderr
    assert check(photos, "--quiet").stderr == ""


def test_bad_data_shows_what_was_found_and_exits_2(check: Callable[..., Any], photos: Path) -> None:
    for i in range(3):
        (photos / "b" / f"{i}.png").write_bytes(b"")
    result = check(photos)
    assert result.exit_code == 2
    assert "b/2.png: empty file" in result.stdout
    assert result.stderr.startswith(f"danlu: {photos}: 3 of 21 images (14%) cannot be read")
    assert result.stderr.count("\n") == 1
    answer = json.loads(check(photos, "--json").stdout)
    assert answer["ok"] is False
    assert len(answer["health"]["unreadable"]) == 3


def test_nothing_there_exits_2(check: Callable[..., Any], tmp_path: Path) -> None:
    result = check(tmp_path / "nowhere")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "no such file or folder" in result.stderr


def test_names_that_are_no_text_can_be_shown(check: Callable[..., Any], photos: Path) -> None:
    bad = bytes(photos / "b") + b"/\xff.png"
    with open(bad, "wb") as file:
        file.write(b"")
    result = check(photos)
    assert result.exit_code == 0
    assert r"b/\udcff.png: empty file" in result.stdout
    assert json.loads(check(photos, "--json").stdout)["health"]["unreadable"][0]["name"] == "b/\udcff.png"
