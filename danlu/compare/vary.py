"""What varies: `optimizer=sgd,adam` is one axis of the grid, each value as the setting takes it.

Commas, spaces and bars inside brackets and quotes belong to the value: `mix=none,mixup(alpha=0.2) | cutout(size=8)` has two.
"""

import ast
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

from ..errors import UsageError, unknown
from ..literals import fits, say
from ..train import TrainConfig

RECIPE, EDIT = "recipe", "edit"
BUDGET = ("epochs", "seconds", "steps")
HINTS = {**get_type_hints(TrainConfig), RECIPE: str, EDIT: str}
EMPTY = {field.name for field in fields(TrainConfig) if field.default is not MISSING and field.default == ""} | {EDIT}
WORDS = {"none": None, "true": True, "false": False}
OPEN, CLOSE = "([{", ")]}"
EXAMPLE = "optimizer=sgd,adam"


def split_values(text: str) -> list[str]:
    """Split at the commas outside brackets and quotes. Raises UsageError where these do not match."""
    values, open_ones, quote, start = [], [], "", 0
    for i, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in OPEN:
            open_ones.append(CLOSE[OPEN.index(char)])
        elif char in CLOSE:
            if not open_ones or open_ones.pop() != char:
                raise UsageError(f"{text!r} has a {char!r} that closes nothing")
        elif char == "," and not open_ones:
            values.append(text[start:i])
            start = i + 1
    if open_ones or quote:
        raise UsageError(f"{text!r} lacks a closing {quote or open_ones[-1]!r}")
    return [value.strip() for value in (*values, text[start:])]


def read_settings(texts: Iterable[str], option: str = "--vary") -> dict[str, list[Any]]:
    """`["lr=0.1,0.01", "schedule=step,exp"]` -> {"lr": [0.1, 0.01], "schedule": ["step", "exp"]}.

    Raises UsageError for text of another form, an unknown setting, one named twice, and values that it does not take.
    """
    found: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise UsageError(f"{option} {text!r} is not understood; write setting=value,value, e.g. {EXAMPLE}")
        name = check_name(name)
        if name in found:
            raise UsageError(f"{option} {name} is given twice; write all its values at once: {name}=...,...")
        found[name] = [read_value(name, value) for value in split_values(rest)]
    return found


def check_name(name: str) -> str:
    """The name of a setting that may differ between runs; dashes count as underscores. Raises UsageError for another."""
    name = name.replace("-", "_")
    if name in BUDGET or name == "time":
        raise UsageError(f"{name} cannot vary: all runs have one budget, given as epochs, steps or time")
    if name == "seed":
        raise UsageError("seed cannot vary: every combination is trained with the same seeds; say how many with seeds")
    if name not in HINTS:
        raise unknown("setting", name, [known for known in HINTS if known not in (*BUDGET, "seed")])
    return name


def read_value(name: str, text: str) -> Any:
    """A value from text. `none` is nothing where the setting can be left out. Raises UsageError where it does not fit."""
    if name in EMPTY and text.lower() == "none":
        return ""
    if HINTS[name] is str:
        quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" and text[0] not in text[1:-1]
        return check_value(name, text[1:-1] if quoted else text)
    value: Any = WORDS.get(text.lower(), text)
    if isinstance(value, str):
        try:
            value = ast.literal_eval(text)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            value = text
    return check_value(name, value)


def check_value(name: str, value: Any) -> Any:
    """The value, a list as a tuple where the setting is one. Raises UsageError where it is of another type."""
    if name == "milestones":
        value = tuple(value) if isinstance(value, list | tuple) else value
        if not fits(value, HINTS[name]):
            raise UsageError(f"milestones takes lists of shares in brackets, such as (0.5,0.75), got {value!r}")
    elif not fits(value, HINTS[name]):
        raise UsageError(f"{name} takes {say(HINTS[name])}, got {value!r}")
    if value == "" and name not in EMPTY:
        raise UsageError(f"{name} has an empty value; write {name}=value,value")
    return value


def check_vary(vary: Mapping[str, Iterable[Any]]) -> dict[str, list[Any]]:
    """The axes with checked values. Raises UsageError for none at all, an unknown name, and an empty or repeated value."""
    if not vary:
        raise UsageError(f"say what varies, e.g. --vary {EXAMPLE}")
    axes: dict[str, list[Any]] = {}
    for given, values in vary.items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise UsageError(f"{given} varies over a list of values, got {values!r}")
        name = check_name(given)
        axes[name] = []
        for value in (check_value(name, value) for value in values):
            if value in axes[name]:
                raise UsageError(f"{name} has the value {show_value(value)} twice")
            axes[name].append(value)
        if not axes[name]:
            raise UsageError(f"{name} varies over no value at all")
    return axes


def show_value(value: Any) -> str:
    """A value as it was written: `none` for nothing."""
    return "none" if value is None or value == "" else str(value)
