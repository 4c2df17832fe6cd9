"""Options from a recipe against the annotations of an entry: a wrong type is said before a net is built from it."""

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

from ..errors import UsageError
from ..literals import fits, spell
from ..registry import Entry

COUNTS = ("in_channels", "num_classes")


def check_options(entry: Entry[Callable[..., Any]], options: dict[str, Any]) -> None:
    """Raise UsageError unless every option is a parameter of `entry` and has its type; counts must be above zero."""
    entry.check(options)
    hints = get_type_hints(entry.build)
    for name, value in options.items():
        hint = hints.get(name, Any)
        if not fits(value, hint):
            default = entry.options()[name].default
            example = "" if default is inspect.Parameter.empty else f", such as {name}={default!r}"
            raise UsageError(f"{entry.name}: {name} must be {spell(hint)}{example}; got {value!r}")
        if name in COUNTS and value < 1:
            raise UsageError(f"{entry.name}: {name} must be at least 1, got {value!r}")
