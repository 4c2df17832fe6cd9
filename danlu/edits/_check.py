"""Checks the literal options of a recipe step against the signature of its function, before any work starts."""

import inspect
from collections.abc import Collection, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..errors import UsageError, unknown
from ..registry import Entry
from ._registry import CONTEXT
from .recipe import Call


def option_errors(entry: Entry[Any], call: Call) -> list[str]:
    """Everything wrong with the options of one step: unknown, missing, of another type, not among the choices."""
    errors: list[str] = []
    options = {name: option for name, option in entry.options().items() if name not in CONTEXT}
    hints = get_type_hints(entry.build)
    for name, value in call.options.items():
        if name in CONTEXT:
            errors.append(f"{entry.name}: {name} is given by the program, not written in a recipe")
        elif name not in options:
            errors.append(str(unknown(f"option of {entry.name}", name, options)) if options else f"{entry.name} has no options")
        elif not fits(value, hints[name]):
            errors.append(_mismatch(f"{entry.name}: {name}", value, hints[name]))
    for name, option in options.items():
        if option.default is inspect.Parameter.empty and name not in call.options:
            errors.append(f"{entry.name} needs {name}, e.g. {entry.name}({name}=...)")
    return errors


def fits(value: Any, hint: Any) -> bool:
    """Whether a literal is of an annotated type: Literal, numbers, text, None, unions, tuples and lists of these."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in inner)
    if origin in (Union, UnionType):
        return any(fits(value, choice) for choice in inner)
    if origin is tuple:
        return isinstance(value, tuple | list) and len(value) == len(inner) and all(map(fits, value, inner))
    if origin in (Collection, Sequence, list):
        return isinstance(value, tuple | list) and all(fits(item, inner[0]) for item in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (None, NoneType):
        return value is None
    return isinstance(value, hint)


def check_choice(what: str, got: object, hint: Any) -> None:
    """Raise UsageError unless `got` is one of the choices of a Literal: for edits called from Python, unchecked so far."""
    if not fits(got, hint):
        raise UsageError(_mismatch(what, got, hint))


def _mismatch(what: str, value: object, hint: Any) -> str:
    choices = get_args(hint)
    if get_origin(hint) is Literal:
        if isinstance(value, str):
            return str(unknown(what, value, choices))
        return f"{what} is one of {', '.join(map(repr, choices))}, got {value!r}"
    return f"{what} takes {_say(hint)}, got {value!r}"


def _say(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    words = {int: "a whole number", float: "a number", str: "quoted text", bool: "True or False", NoneType: "None"}
    if origin in (Union, UnionType):
        return " or ".join(_say(choice) for choice in inner)
    if origin is tuple:
        return "(" + ", ".join(_say(choice) for choice in inner) + ")"
    if origin in (Collection, Sequence, list):
        return f"a list of {_say(inner[0])}"
    return words.get(hint, str(hint))
