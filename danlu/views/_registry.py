"""Where views register: `@views(images=500, paper="arxiv:...")`.

    view(subject, *, options...) -> View

A view looks at a trained network with some images, and gives numbers with a figure. `images` is how many images it takes where
none are asked for, `paper` the source. The options are keyword-only and literal: "translation(shift=8)".
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..registry import Registry
from .subject import Subject


@dataclass(frozen=True)
class View:
    """What a view saw: `values` are plain JSON, `said` is lines for people, `figures` are (name, title, caption, plotly figure).

    A figure is as in danlu/report: {"switches", "views", "height", "phone"} or with "square" for the heights.
    """

    values: dict[str, Any]
    said: tuple[str, ...]
    figures: tuple[tuple[str, str, str, dict[str, Any]], ...]


views: Registry[Callable[..., View]] = Registry("view")

__all__ = ["Subject", "View", "views"]
