"""A plotly figure as one HTML file that needs no network."""

from pathlib import Path
from typing import Any

from .errors import UsageError
from .files import write_text


def check_plot(path: Path) -> None:
    """Raise UsageError unless the plot is to be an HTML file."""
    if path.suffix != ".html":
        raise UsageError(f"the plot is written as .html, got {path}")


def write_figure(figure: Any, path: Path) -> None:
    """Write a figure of plotly with all it needs, atomically."""
    write_text(path, figure.to_html(include_plotlyjs=True, full_html=True))
