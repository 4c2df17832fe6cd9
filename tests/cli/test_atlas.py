"""`danlu atlas build`: the site is written, said, and bad words are wrong usage."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from danlu.atlas import site
from danlu.atlas.entries import nets
from danlu.cli import atlas, show

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
app.command("atlas")(atlas.run)
app.command("show")(show.run)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [page for page in nets() if page.name == "lenet5"]
    monkeypatch.setattr(site, "nets", lambda: found)
    monkeypatch.setattr(site, "all_edits", list)
    monkeypatch.setattr(site, "all_layers", list)


def test_it_writes_the_site(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["atlas", "build", "--out", str(tmp_path / "a"), "--json"])
    assert done.exit_code == 0, done.stderr
    index = Path(json.loads(done.stdout)["index"])
    assert index == tmp_path / "a" / "index.html"
    assert "lenet5" in index.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("atlas", "draw"), "build"),
        (("atlas", "build", "--measured", "none.json"), "there is no file none.json"),
        (("atlas", "build", "--out", "."), "has other files in it"),
    ],
)
def test_bad_input_is_wrong_usage(words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("mine")
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 2
    assert said in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_show_says_what_a_net_came_from_and_led_to() -> None:
    done = CliRunner().invoke(app, ["show", "resnet18", "--json"])
    value = json.loads(done.stdout)
    assert "highway" in [kin["family"] for kin in value["came_from"]]
    assert "densenet" in [kin["family"] for kin in value["led_to"]]
    assert "highway" in CliRunner().invoke(app, ["show", "resnet18"]).stdout
