"""The site: every entry has a page that is whole and leads nowhere outside, results are shown, and no other folder is written."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from danlu.atlas import build_atlas, site
from danlu.atlas.entries import Page, all_edits, all_layers, nets, source
from danlu.atlas.lineage import GROUPS, LINEAGE
from danlu.atlas.lineage_map import BOX_H, BOX_W, draw, positions
from danlu.atlas.measured import load_measured
from danlu.errors import UsageError

ROWS = [
    {"name": "resnet20", "recipe": "resnet20", "params": 269722, "macs": 40551040, "accuracy": 0.5, "latency_ms": 1.5},
    {"name": "resnet20 | se", "recipe": "resnet20 | se(reduction=8)", "params": 280000, "macs": 41000000, "accuracy": 0.52},
    {"name": "lenet5", "recipe": "lenet5(size=32)", "params": 62006, "macs": 651720, "accuracy": 0.4, "latency_ms": 0.1},
]
PROTOCOL = {
    "images": 5000, "val_images": 500, "test_images": 2500, "epochs": 4, "batch_size": 32, "optimizer": "adamw", "lr": 0.001,
    "precision": "bf16",
}  # fmt: skip
MACHINE = {"processor": "a <cpu>", "cores": 7, "versions": {"torch": "2.x"}}
ABOUT = {"command": "python benchmarks/atlas.py", "date": "2026-01-01", "seed": 0, "machine": MACHINE}


class Links(HTMLParser):
    """The addresses and ids of a page, and its unclosed elements."""

    VOID = frozenset(("meta", "link", "input", "br", "img", "hr"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for key, value in attrs:
            if key in ("href", "src") and value and not value.startswith("data:"):
                self.links.append(value)
            if key == "id" and value:
                self.ids.add(value)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def few() -> list[Page]:
    wanted = {"resnet20", "lenet5", "googlenet"}
    return [page for page in nets() if page.name in wanted]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, few: list[Page]) -> Path:
    """A site with three nets and everything else."""
    home = tmp_path_factory.mktemp("site")
    results = home / "results.json"
    results.write_text(json.dumps({**ABOUT, "protocol": PROTOCOL, "rows": ROWS}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site, "nets", lambda: few)
        index = build_atlas(home / "atlas", measured=results)
    assert index == home / "atlas" / "index.html"
    return home / "atlas"


def test_every_entry_has_a_page(folder: Path, few: list[Page]) -> None:
    pages = [*few, *all_edits(), *all_layers()]
    written = {str(path.relative_to(folder)) for path in folder.rglob("*.html")}
    assert written == {"index.html", *(page.href for page in pages)}
    for page in pages:
        assert page.name in (folder / page.href).read_text()


def test_every_link_arrives_and_none_leaves_but_to_a_source(folder: Path) -> None:
    papers = {page.paper[1] for page in [*nets(), *all_edits(), *all_layers()]}
    known = {path: Links(path.read_text()) for path in folder.rglob("*.html")}
    for path, page in known.items():
        assert page.open == [], path
        for link in page.links:
            if link.startswith("https://"):
                assert link in papers or path.parent.name in ("edit", "net", "layer"), link
                continue
            where, _, anchor = link.partition("#")
            target = (path.parent / where).resolve() if where else path
            assert target.is_file(), f"{path.name} -> {link}"
            assert not anchor or anchor in known[target].ids, f"{path.name} -> {link}"


def test_measured_results_are_shown_and_escaped(folder: Path) -> None:
    index = (folder / "index.html").read_text()
    assert "50.0 %" in index
    assert "+2.0" in index, "what an edit changes is told in points"
    assert "a &lt;cpu&gt;" in index
    assert "<cpu>" not in index
    assert "±2.0 points" in index, "1.96 sqrt(0.25 / 2500)"
    figures = json.loads(re.search(r'<script type="application/json" id="figures">(.*?)</script>', index, re.S).group(1))
    front = figures["pareto"]["views"]["macs"]["data"][0]
    assert list(zip(front["x"], front["y"], strict=True)) == [(651720, 40.0), (40551040, 50.0)]


def test_without_results_nothing_is_claimed(few: list[Page], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "nets", lambda: few)
    monkeypatch.setattr(site, "load_measured", lambda path: load_measured(tmp_path / "none") if path else site.Measured())
    text = build_atlas(tmp_path / "a").read_text()
    assert "Nothing has been measured yet" in text
    assert "plotly" not in text


def test_it_is_written_again_but_into_no_other_folder(folder: Path, few: list[Page], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(site, "nets", lambda: few)
    (folder / "net" / "gone.html").write_text("an entry that is no more")
    build_atlas(folder)
    assert not (folder / "net" / "gone.html").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "index.html").write_text("my own page")
    with pytest.raises(UsageError, match="has other files in it"):
        build_atlas(mine)
    assert [path.name for path in mine.iterdir()] == ["index.html"]
    with pytest.raises(UsageError, match="is a file"):
        build_atlas(mine / "index.html")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"), ("[]", "no list of rows"), ('{"rows": [1]}', "no list of rows"), ("{}", "no list of rows"),
        ('{"rows": [{"name": "x", "accuracy": "high"}]}', "accuracy of x must be a number"),
        ('{"rows": [{"name": "x", "macs": -1}]}', "macs of x must be a number"),
        ('{"rows": []}', "does not say its command, date"),
        (json.dumps({**ABOUT, "protocol": PROTOCOL, "machine": {}, "rows": []}), "does not say its processor"),
        (json.dumps({**ABOUT, "protocol": {"lr": 1}, "rows": []}), "does not say its images"),
    ],
)  # fmt: skip
def test_results_of_another_form_are_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(UsageError, match=said):
        load_measured(tmp_path / "r.json")


def test_missing_results_name_what_writes_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"benchmarks/atlas\.py --out"):
        load_measured(tmp_path / "r.json")


def test_the_lineage_has_no_box_over_another_and_time_runs_down() -> None:
    placed = positions()
    assert set(placed) == set(LINEAGE)
    boxes = list(placed.items())
    for i, (a, (ax, ay)) in enumerate(boxes):
        for b, (bx, by) in boxes[i + 1 :]:
            assert abs(ax - bx) >= BOX_W or abs(ay - by) >= BOX_H, (a, b)
            if LINEAGE[a].year < LINEAGE[b].year:
                assert ay < by, (a, b)
    drawn = draw({})
    assert drawn.count("<rect") == len(LINEAGE)
    assert drawn.count('class="edge') == sum(len(idea.grew) for idea in LINEAGE.values())
    assert all(title.replace("'", "&#x27;") in drawn for title in GROUPS.values())


@pytest.mark.parametrize(
    ("paper", "link"),
    [
        ("arxiv:1512.03385", "https://arxiv.org/abs/1512.03385"), ("doi:10.1/x", "https://doi.org/10.1/x"),
        ("https://example.org/x", "https://example.org/x"),
    ],
)  # fmt: skip
def test_sources_are_links(paper: str, link: str) -> None:
    assert source(paper)[1] == link
