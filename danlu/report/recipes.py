"""Recipes on the page: broken at their bars, so that a long one stays readable in a hover box."""

import textwrap
from html import escape

WIDTH = 56
LINES = 8


def wrapped(text: str, width: int = WIDTH) -> str:
    """Escaped text with `<br>` at most every `width` characters, in at most eight lines."""
    lines = textwrap.wrap(text, width, break_on_hyphens=False) or [""]
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], "..."]
    return "<br>".join(escape(line) for line in lines)


def short(text: str, most: int = 18) -> str:
    """A label of at most `most` characters, escaped for plotly (which reads some HTML)."""
    return escape(text if len(text) <= most else text[: most - 1].rstrip() + "…")
