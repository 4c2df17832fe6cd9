"""Literals of a recipe against type annotations: whether a value fits, and what would have been taken."""

import re
from collections.abc import Collection, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin


def fits(value: Any, hint: Any) -> bool:
    """Whether a literal is of an annotated type: Literal, numbers, text, None, unions, tuples, lists and dicts of these."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in inner)
    if origin in (Union, UnionType):
        return any(fits(value, choice) for choice in inner)
    if origin is tuple and inner[-1] is Ellipsis:
        return isinstance(value, tuple) and all(fits(item, inner[0]) for item in value)
    if origin is tuple:
        return isinstance(value, tuple | list) and len(value) == len(inner) and all(map(fits, value, inner))
    if origin in (Collection, Sequence, list):
        return isinstance(value, tuple | list | set) and all(fits(item, inner[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(key, inner[0]) and fits(item, inner[1]) for key, item in value.items())
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (None, NoneType):
        return value is None
    return isinstance(hint, type) and isinstance(value, hint)


def say(hint: Any) -> str:
    """An annotation as people read it: 'a whole number or None'."""
    origin, inner = get_origin(hint), get_args(hint)
    words = {int: "a whole number", float: "a number", str: "quoted text", bool: "True or False", NoneType: "None"}
    if origin in (Union, UnionType):
        return " or ".join(say(choice) for choice in inner)
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin is tuple:
        return "(" + ", ".join(say(choice) for choice in inner) + ")"
    if origin in (Collection, Sequence, list):
        return f"a list of {say(inner[0])}"
    if origin is dict:
        return f"a dict of {say(inner[0])} to {say(inner[1])}"
    return words.get(hint, str(hint))


def spell(hint: Any) -> str:
    """An annotation as people read it: int, int | None, 'a' | 'b', Collection[str]."""
    if get_origin(hint) is Literal:
        return " | ".join(repr(argument) for argument in get_args(hint))
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else re.sub(r"\b(\w+\.)+", "", str(hint))


def plain(value: Any) -> bool:
    """Whether a value is a number, text, True, False, None, or a list, tuple or dict of these: what JSON can hold."""
    if isinstance(value, dict):
        return all(plain(key) and plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str)
