"""What the pages tell of each net, edit and layer, gathered from the registries."""

import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..edits import edits
from ..nn import layers
from ..registry import Entry
from ..zoo import models
from .lineage import idea_of


@dataclass(frozen=True)
class Page:
    """An entry with its own page: `kind` is "net", "edit" or "layer"; `href` its place in the site."""

    kind: str
    entry: Entry[Any]
    group: str
    family: str

    @property
    def name(self) -> str:
        """As it is called in recipes."""
        return self.entry.name

    @property
    def href(self) -> str:
        """Relative to the root of the site."""
        return f"{self.kind}/{self.name}.html"

    @property
    def idea(self) -> str:
        """The first paragraph of the file it is written in, on one line."""
        return first_paragraph(inspect.getmodule(self.entry.build))

    @property
    def about(self) -> str:
        """The rest of that file's docstring."""
        module = inspect.getmodule(self.entry.build)
        return (inspect.getdoc(module) or "").partition("\n\n")[2] if module else ""

    @property
    def paper(self) -> tuple[str, str]:
        """(text, link) of its source."""
        return source(str(self.entry.facts["paper"]))


def first_paragraph(thing: Any) -> str:
    """The first paragraph of a docstring, on one line."""
    return re.sub(r"\s+", " ", (inspect.getdoc(thing) or "").partition("\n\n")[0]).strip()


def source(paper: str) -> tuple[str, str]:
    """A reference as (text, link): arxiv:1512.03385 and doi:... become addresses."""
    if paper.startswith("arxiv:"):
        return paper.replace("arxiv:", "arXiv:"), f"https://arxiv.org/abs/{paper.removeprefix('arxiv:')}"
    if paper.startswith("doi:"):
        return paper, f"https://doi.org/{paper.removeprefix('doi:')}"
    return paper, paper


def nets() -> list[Page]:
    """The networks: by group, then year, then as they are registered."""
    found = []
    for entry in models:
        family = family_of(entry)
        found.append(Page("net", entry, idea_of(family).group, family))
    return found


def structure_edits() -> list[Page]:
    """The edits that change what a net computes, before it has learned."""
    return [page for page in all_edits() if not page.entry.facts["needs"]]


def all_edits() -> list[Page]:
    """Every edit; its group says whether it is a structure edit or a compression edit."""
    groups = {entry.name: "compression" if entry.facts["needs"] else "structure" for entry in edits}
    return [Page("edit", entry, groups[entry.name], entry.name) for entry in edits]


def all_layers() -> list[Page]:
    """Every layer of danlu's own."""
    return [Page("layer", entry, "layer", family_of(entry)) for entry in layers]


def family_of(entry: Entry[Any]) -> str:
    """The file an entry is written in."""
    return str(entry.build.__module__).rpartition(".")[2]


def card(page: Page) -> str:
    """The text of the card of an edit."""
    return Path(inspect.getfile(page.entry.build)).with_name(f"{page.name}.md").read_text(encoding="utf-8")


def first_of_each_family(pages: Iterable[Page]) -> dict[str, Page]:
    """Family -> the page of its first net."""
    found: dict[str, Page] = {}
    for page in pages:
        found.setdefault(page.family, page)
    return found
