"""The atlas as an offline site: an index to search, a page for each net, edit and layer; nothing is loaded from anywhere."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from ..cost import profile
from ..errors import UsageError
from ..files import write_text
from ..report.page import asset, embedded, plotly_js
from . import lineage_map, plots, tables
from .diagram import diagram
from .entries import Page, all_edits, all_layers, card, first_of_each_family, first_paragraph, nets
from .lineage import GROUPS, idea_of, led_to
from .measured import Measured, load_measured

MARK = "danlu-atlas"  # in every page: by it a folder is known as one that may be written again
ASSETS = {"style.css": ("style.css", "atlas.css"), "atlas.js": ("tables.js", "plots.js", "page.js", "atlas.js")}


def build_atlas(
    out: str | Path, *, measured: str | Path | None = None, on_page: Callable[[int, int, str], None] | None = None
) -> Path:
    """Write the site into the folder `out` and return the path of its index.

    `measured` is a file of results of `benchmarks/atlas.py`; without one, the results that come with danlu are shown.
    `on_page(i, n, name)` is called before each page. The folder must be new, empty, or an atlas written before, whose pages
    are replaced; pages of entries that are no more go.

    Raises: UsageError for a folder with other files in it, and for results of another form.
    """
    folder = Path(out)
    _check_folder(folder)
    results = load_measured(measured)
    pages = [*nets(), *all_edits(), *all_layers()]
    for kind in ("net", "edit", "layer"):
        if (folder / kind).is_dir():
            shutil.rmtree(folder / kind)
    for name, parts in ASSETS.items():
        write_text(folder / "assets" / name, "".join(_asset(part) for part in parts))
    write_text(folder / "assets" / "plotly.js", plotly_js())
    for i, page in enumerate(pages):
        if on_page is not None:
            on_page(i, len(pages), page.name)
        write_text(folder / page.href, _render(page, results))
    write_text(folder / "index.html", _index(results))
    return folder / "index.html"


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; the atlas is written into a folder")
    if folder.is_dir() and any(folder.iterdir()):
        index = folder / "index.html"
        if not index.is_file() or MARK not in index.read_text(encoding="utf-8", errors="replace")[:1000]:
            raise UsageError(f"{folder} has other files in it; name a new folder, or one that an atlas was written into before")


def _asset(name: str) -> str:
    own = Path(__file__).parent / "templates" / name
    return own.read_text(encoding="utf-8") if own.is_file() else asset(name)


@cache
def _environment() -> Environment:
    """Strict and escaping; the tables and plots are the report's."""
    made = Environment(
        loader=ChoiceLoader([PackageLoader("danlu.atlas", "templates"), PackageLoader("danlu.report", "templates")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["mark"] = MARK
    return made


@cache
def _markdown() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table")


def markdown(text: str) -> Markup:
    """Markdown, such as a card or a docstring, as HTML; raw HTML in it is escaped."""
    return Markup(
        _markdown().render(text).replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
    )


def _index(results: Measured) -> str:
    found, rows = nets(), results.rows
    figure = plots.pareto(found, rows)
    figures = {"pareto": figure} if figure else {}
    first = first_of_each_family(found)
    return _environment().get_template("index.html.j2").render(
        root="", title="danlu: the atlas", groups=GROUPS, figures=figures, figures_json=embedded(figures),
        nets=tables.nets(found, rows), edits=tables.edits(all_edits(), rows), layers=tables.layers(all_layers()),
        lineage=Markup(lineage_map.draw({family: page.href for family, page in first.items()})),
        counts={"nets": len(found), "edits": len(all_edits()), "layers": len(all_layers())},
        about=results.about, slack=_slack(results.about), measured=sum("accuracy" in rows.get(page.name, {}) for page in found),
    )  # fmt: skip


def _slack(about: dict[str, Any]) -> str:
    """Half of the widest 95 % interval that so many test images leave around an accuracy, in points."""
    return f"{98 / about['protocol']['test_images'] ** 0.5:.1f}" if about else ""


def _render(page: Page, results: Measured) -> str:
    shown: dict[str, Any] = {
        "root": "../", "title": f"{page.name}: danlu atlas", "page": page, "figures": {}, "figures_json": embedded({}),
        "options": tables.options(page), "about": markdown(page.about), "paper": page.paper, "groups": GROUPS,
        "what": markdown(first_paragraph(page.entry.build)), "measured": [], "facts_list": [], "grew": [], "led": [],
        "drawing": None, "rows": None, "card": None,
    }  # fmt: skip
    if page.kind == "net":
        shown |= _of_net(page, results)
    elif page.kind == "edit":
        shown["card"] = markdown(card(page).partition("\n")[2])
    return _environment().get_template("entry.html.j2").render(**shown)


def _of_net(page: Page, results: Measured) -> dict[str, Any]:
    """Its drawing, its layers, its place in the history, and what was measured of it."""
    first = first_of_each_family(nets())
    shape = page.entry.facts["input"]
    with torch.device("meta"):
        model = page.entry.build().eval()

    def linked(pairs: Any) -> list[tuple[str, str, str]]:
        return [(family, f"../{first[family].href}", new) for family, new in pairs if family in first]

    return {
        "facts_list": tables.facts(page), "measured": tables.measured(results.rows.get(page.name, {})),
        "grew": linked(idea_of(page.family).grew), "led": linked(led_to(page.family)),
        "drawing": Markup(diagram(model, shape)), "rows": tables.rows(profile(model, shape)),
    }  # fmt: skip
