"""The recipe grammar: `name(arg=literal, ...) | name | ...`. Literals only, parsed with `ast`, never evaluated.

    resnet18(width=0.5) | swap_activation(to="silu") | fold_bn

A literal is a number, quoted text, True, False, None, or a list, tuple or dict of these: what JSON can hold, since
recipes are stored in JSON. A base from outside the zoo keeps its colon: `module:function(...)` or `timm:NAME`.
"""

import ast
import math
import warnings
from dataclasses import dataclass, field
from typing import Any

from ..errors import UsageError

MAX_CHARACTERS = 10_000


@dataclass(frozen=True)
class Call:
    """One step of a recipe: a name and its literal options. `str()` gives the text back."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        inside = ", ".join(f"{key}={value!r}" for key, value in self.options.items())
        return f"{self.name}({inside})" if inside else self.name


def split_steps(text: str) -> list[str]:
    """Split at the bars that stand outside brackets and quotes."""
    steps: list[str] = []
    depth, quote, start, escaped = 0, "", 0, False
    for i, char in enumerate(text):
        if escaped:
            escaped = False
        elif quote:
            escaped = char == "\\"
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "|" and depth == 0:
            steps.append(text[start:i])
            start = i + 1
    steps.append(text[start:])
    return [step.strip() for step in steps]


def parse(text: str) -> list[Call]:
    """Parse a whole recipe.

    Raises: UsageError for an empty step, an option without a name, or a value that is not a literal.
    """
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"a recipe has at most {MAX_CHARACTERS} characters, got {len(text)}")
    steps = split_steps(text)
    if any(not step for step in steps):
        raise UsageError(f"recipe {_quote(text)} has an empty step; write name | name | ...")
    return [parse_step(step) for step in steps]


def show(calls: list[Call]) -> str:
    """The recipe as text; `parse(show(calls)) == calls`."""
    return " | ".join(str(call) for call in calls)


def _quote(text: str, most: int = 200) -> str:
    return repr(text if len(text) <= most else text[:most] + "...")


def parse_step(text: str) -> Call:
    """Parse one step; the name of a base from outside the zoo includes its colon."""
    where = f"recipe step {_quote(text)}"
    head, colon, tail = text.partition(":")
    prefix = ""
    if colon and "(" not in head:
        prefix, text = head.strip() + ":", tail.strip()
        if not all(part.isidentifier() for part in head.strip().split(".")):
            raise UsageError(f"{where}: {head!r} before the colon is not a module name")
    node = _expression(text, where)
    if isinstance(node, ast.Call):
        function, arguments, keywords = node.func, node.args, node.keywords
    else:
        function, arguments, keywords = node, [], []
    name = _dotted(function)
    if not name or ("." in name and not prefix):
        raise UsageError(f"{where} does not start with a name")
    name = prefix + name
    if arguments:
        raise UsageError(f"{where}: options are written by name, e.g. {name}(size=32)")
    options: dict[str, Any] = {}
    for keyword in keywords:
        if keyword.arg is None:
            raise UsageError(f"{where}: ** is not allowed")
        if keyword.arg in options:
            raise UsageError(f"{where}: option {keyword.arg!r} is given twice")
        options[keyword.arg] = _literal(keyword.value, f"{where}: {keyword.arg}")
    return Call(name, options)


def _expression(text: str, where: str) -> ast.expr:
    try:
        with warnings.catch_warnings():
            # An odd escape in quoted text warns; that is no reason to print, or to stop where warnings are errors.
            warnings.simplefilter("ignore")
            return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"{where} is not of the form name(arg=literal, ...)") from error


def _dotted(node: ast.expr) -> str:
    """`a.b.c` of names and attributes only; empty for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _literal(node: ast.expr, where: str) -> Any:
    try:
        value = ast.literal_eval(node)
        allowed = _is_plain(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        allowed = False
    if not allowed:
        kinds = "a finite number, quoted text, True, False, None, or a list, tuple or dict of these"
        raise UsageError(f"{where} is not a literal: write {kinds}")
    return value


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(key) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    if isinstance(value, float):
        return math.isfinite(value)  # 1e999 reads as infinity, which has no literal to be written back with
    if isinstance(value, int):
        return value.bit_length() <= 256  # a hexadecimal giant has more decimal digits than Python agrees to print
    return value is None or isinstance(value, str)
