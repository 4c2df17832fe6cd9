"""Checks the literal options of a recipe step against the signature of its function, before any work starts."""

import importlib
import inspect
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ..errors import UsageError, unknown
from ..literals import fits, say
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
        elif name in entry.facts.get("reads", {}):
            errors += _unread(entry, entry.facts["reads"][name], value)
    for name, option in options.items():
        if option.default is inspect.Parameter.empty and name not in call.options:
            errors.append(f"{entry.name} needs {name}, e.g. {entry.name}({name}=...)")
    return errors


def _unread(entry: Entry[Any], reader: str, text: str) -> list[str]:
    """What is wrong with an option that is itself a name with options: by its reader, written "package.module:function"."""
    module, _, function = reader.partition(":")
    try:
        getattr(importlib.import_module(module), function)(text)
    except UsageError as error:
        return [f"{entry.name}: {error}"]
    return []


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
    return f"{what} takes {say(hint)}, got {value!r}"
