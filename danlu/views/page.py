"""The page of a view: one HTML file that needs nothing but a browser, in the dress of the reports."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from ..files import write_text
from ..report.page import asset, embedded, plotly_js
from ._registry import View


def write_page(view: View, path: Path, title: str, idea: str, facts: Sequence[tuple[str, str]]) -> Path:
    """Write the page atomically and return its path."""
    write_text(path, render(view, title, idea, facts))
    return path


def render(view: View, title: str, idea: str, facts: Sequence[tuple[str, str]]) -> str:
    """The page as text; everything that comes from the user is escaped."""
    figures = {name: figure for name, _, _, figure in view.figures}
    return environment().get_template("view.html.j2").render(
        title=title, idea=with_code(idea), said=view.said, drawn=[found[:3] for found in view.figures], figures=figures,
        facts_list=list(facts), figures_json=embedded(figures), style=asset("style.css"), plotly=plotly_js(),
        script=Markup(asset("plots.js") + asset("page.js")),
    )  # fmt: skip


def with_code(text: str) -> Markup:
    """A line of a docstring as HTML, `names` as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


@cache
def environment() -> Environment:
    """Strict and escaping; plots are the report's."""
    return Environment(
        loader=ChoiceLoader([PackageLoader("danlu.views", "templates"), PackageLoader("danlu.report", "templates")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
