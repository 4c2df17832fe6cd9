"""Options from a recipe against the annotations of an entry: a wrong type is said before a net is built from it."""

import inspect
import re
import types
from collections.abc import Callable
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..errors import UsageError
from ..registry import Entry

COUNTS = ("in_channels", "num_classes")


def takes(hint: Any, value: Any) -> bool:
    """Whether a literal is of the annotated type; an integer is a float too, True is not a number."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(takes(argument, value) for argument in arguments)
    if origin is Literal:
        return any(value == argument and type(value) is type(argument) for argument in arguments)
    if isinstance(origin, type):
        return isinstance(value, origin)
    if hint is None or hint is type(None):
        return value is None
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint) if isinstance(hint, type) else True


def spell(hint: Any) -> str:
    """An annotation as people read it: int, int | None, 'a' | 'b', Collection[str]."""
    if get_origin(hint) is Literal:
        return " | ".join(repr(argument) for argument in get_args(hint))
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else re.sub(r"\b(\w+\.)+", "", str(hint))


def check_options(entry: Entry[Callable[..., Any]], options: dict[str, Any]) -> None:
    """Raise UsageError unless every option is a parameter of `entry` and has its type; counts must be above zero."""
    entry.check(options)
    hints = get_type_hints(entry.build)
    for name, value in options.items():
        hint = hints.get(name, Any)
        if not takes(hint, value):
            default = entry.options()[name].default
            example = "" if default is inspect.Parameter.empty else f", such as {name}={default!r}"
            raise UsageError(f"{entry.name}: {name} must be {spell(hint)}{example}; got {value!r}")
        if name in COUNTS and value < 1:
            raise UsageError(f"{entry.name}: {name} must be at least 1, got {value!r}")
